package clients_test

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// pasted are the lines that the demo prints to be pasted, by how they begin, and what then is shown.
var pasted = []struct {
	begins string
	shows  []string
	exit   int
}{
	{"curl ", []string{sandbox.Payments, sandbox.Ledger}, 0},
	{"curl ", []string{`"code":"denied"`, "Team payments may not do v1-get-project (read) on project " + sandbox.Billing}, 0},
	{"SUPABASE_PROFILE=", []string{sandbox.Payments, sandbox.Ledger}, 0},
	{"echo ", []string{`"serverInfo":{"name":"supabase"`}, 0},
	{"gateway ", []string{"v1-get-project", "the policy refuses this call"}, 1},
}

var (
	demoToken = regexp.MustCompile(`sbp_[0-9a-f]{40}`)
	readyURL  = regexp.MustCompile(`http://\S+/readyz`)
)

func TestEveryLineOfTheDemoWorksWhenPasted(t *testing.T) {
	needClients(t)
	t.Parallel()
	welcome, binary := startDemo(t)
	var lines []string
	_, paste, found := strings.Cut(welcome, "Paste into another terminal:")
	if !found {
		t.Fatalf("the demo prints nothing to paste:\n%s", welcome)
	}
	for line := range strings.Lines(paste) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) != len(pasted) {
		t.Fatalf("the demo prints %d lines to paste, want %d: %q", len(lines), len(pasted), lines)
	}
	home := t.TempDir()
	for i, line := range lines {
		want := pasted[i]
		// In this folder npx finds the clients that are installed in it, and needs no network.
		got := run(t, folder(), []string{"HOME=" + home, "DO_NOT_TRACK=1", "npm_config_offline=true"}, "sh", "-c", line)
		if begins := strings.Replace(line, binary, "gateway", 1); !strings.HasPrefix(begins, want.begins) {
			t.Errorf("line %d is %q, want one that begins with %q", i+1, line, want.begins)
		}
		if missing := containsAll(got.output(), want.shows); got.exit != want.exit || missing != nil {
			t.Errorf("%s\nexit code %d, want %d; missing %q in:\n%s", line, got.exit, want.exit, missing, got.output())
		}
		if strings.Contains(got.output(), sandbox.FieldApp) {
			t.Errorf("%s\nshows a project of nobody's:\n%s", line, got.output())
		}
	}
	if token := demoToken.FindString(welcome); token == "" || strings.Count(welcome, token) < 4 {
		t.Errorf("the token %q is not in every line", token)
	}
}

// startDemo runs the demo until the test ends and returns what it printed and how it calls itself.
func startDemo(t *testing.T) (welcome, binary string) {
	t.Helper()
	binary = harness.Binary(t)
	command := exec.Command(binary, "demo", "--listen", "127.0.0.1:0")
	// A program in the folder for temporary files was made by `go run`, and would call itself so.
	command.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	for scanner := bufio.NewScanner(output); scanner.Scan(); {
		welcome += scanner.Text() + "\n"
		if strings.Contains(scanner.Text(), " explain ") { // the last line
			awaitReady(t, readyURL.FindString(welcome))
			return welcome, binary
		}
	}
	t.Fatalf("the demo ended before it was ready:\n%s", welcome)
	return "", ""
}

// awaitReady waits until a gateway says that it is ready: the demo prints its lines a moment before.
func awaitReady(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		response, err := http.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the demo is not ready: %v", err)
		}
	}
}
