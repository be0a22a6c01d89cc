package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// typed are the parts of a page that a reader types.
var typed = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestTheCommandsOfTheAuditPage types each command of docs/audit.md where an operator would: beside gateway.yaml.
func TestTheCommandsOfTheAuditPage(t *testing.T) {
	t.Parallel()
	harness.Need(t, []string{"bash", "openssl", "sha256sum"}, nil)
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	safe := t.TempDir()
	reader := &auditReader{t: t, dir: t.TempDir(), bin: filepath.Dir(harness.Binary(t))}
	page = []byte(strings.NewReplacer("/safe/place", safe, "ada@corp.example", "ada@acme.example", "abcdefghijklmnopqrst", sandbox.Payments).Replace(string(page)))
	for _, part := range typed.FindAllSubmatch(page, -1) {
		reader.lines = append(reader.lines, strings.Split(strings.TrimSpace(string(part[1])), "\n")...)
	}

	reader.types("openssl genpkey")
	reader.types("openssl pkey")
	key, err := os.ReadFile(filepath.Join(reader.dir, "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	g := harness.Start(t, harness.Options{
		Config: "audit: {key: {file: audit.key}, flush: 10ms, sinks: [{file: {dir: data/audit}, required: true}]}\n",
		Files:  map[string]string{"audit.key": string(key)},
	})
	reader.dir = g.Dir
	ada := g.JWT("ada")
	g.Get(ada, "/v1/projects/"+sandbox.Payments)
	g.Get(ada, "/v1/projects/"+sandbox.FieldApp) // which is refused
	g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`)
	waitFor(t, "the three outcomes", func() bool {
		stdout, _, _ := g.Run("audit", "search", "--format", "json")
		return strings.Count(stdout, "\n") >= 3
	})

	if out := reader.types("gateway audit verify"); !strings.Contains(out, "chain audit:") || !strings.Contains(out, "whole:") || strings.Contains(out, "warning") {
		t.Errorf("verify says %s", out)
	}
	if out := reader.types("gateway audit search --config"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "403 denied") {
		t.Errorf("the search for refusals shows %s, want a heading and the one refusal", out)
	}
	found := reader.types("gateway audit search ./data/audit")
	if strings.Count(found, "\n") != 2 || strings.Count(found, `"project":"`+sandbox.Payments+`"`) != 2 {
		t.Errorf("the search for Ada's calls shows %s, want the read and the write", found)
	}
	hash, _, _ := strings.Cut(reader.types("sed -n 2p"), " ")
	if next := reader.types("sed -n 3p"); !strings.HasSuffix(next, `"prev":"`+hash+"\"}\n") {
		t.Errorf("the hash of line 2 is %s, line 3 is %s", hash, next)
	}
	if line := reader.follows("gateway audit tail -f", func() { g.Get(ada, "/v1/projects/"+sandbox.Payments) }); !strings.Contains(line, "v1-get-project") {
		t.Errorf("tail shows %q, want the read", line)
	}
	if len(reader.lines) > 0 {
		t.Errorf("nobody has typed %q", reader.lines)
	}
}

// auditReader types the lines of a page, each once, into a shell in a folder.
type auditReader struct {
	t        testing.TB
	dir, bin string // bin is where the program lies
	lines    []string
}

// command makes the command of the line that begins so.
func (r *auditReader) command(ctx context.Context, begins string) *exec.Cmd {
	r.t.Helper()
	for i, line := range r.lines {
		if strings.HasPrefix(line, begins) {
			r.lines = append(r.lines[:i], r.lines[i+1:]...)
			command := exec.CommandContext(ctx, "bash", "-euc", "set -o pipefail; "+line)
			command.Dir, command.Env = r.dir, append(os.Environ(), "PATH="+r.bin+":"+os.Getenv("PATH"))
			return command
		}
	}
	r.t.Fatalf("the page has no command %q", begins)
	return nil
}

func (r *auditReader) types(begins string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	command := r.command(ctx, begins)
	out, err := command.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s: %v\n%s", begins, err, out)
	}
	return string(out)
}

// follows types a command that does not end, lets something happen until it prints a line below its heading, and ends it.
func (r *auditReader) follows(begins string, happen func()) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	command := r.command(ctx, begins)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) } // the shell and what it runs
	out, err := command.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	printed := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Scan()
		lines.Scan()
		printed <- lines.Text()
	}()
	for {
		happen()
		select {
		case line := <-printed:
			cancel()
			_ = command.Wait() // it was killed
			return line
		case <-time.After(20 * time.Millisecond): // it cannot tell when it begins to follow
		}
	}
}
