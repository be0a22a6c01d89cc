package deploy_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

// blocks are the parts of the docs that have blocks of shell, and who types them. The tutorial is typed where the clients are.
var blocks = map[string]map[string]func(*testing.T, harness.Section){
	"README.md": {"Run it": typeRunIt},
	"docs/install.md": {
		"Docker":                             typeDocker,
		"Compose: with Redis and Prometheus": typeCompose,
		"Kubernetes: the Helm chart":         typeKubernetes,
		"systemd":                            typeSystemd,
	},
	"docs/operating.md": {},
	"docs/alerts.md":    {},
}

// untyped are the lines that no test here can type, and why.
var untyped = map[string]string{
	"go run ./cmd/gateway demo":             "runs until it is interrupted: the tests of the clients start it and paste what it prints",
	"make test":                             "runs this very test",
	"helm test gateway --namespace gateway": "starts a pod: needs a cluster",
	"docker compose --file deploy/compose/compose.yaml up --build --detach":                                                      "the images of Redis and Prometheus come from a registry",
	"docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=VERSION --tag REGISTRY/gateway:VERSION --push .": "pushes to a registry; both architectures are built by another test",
}

// inText are the commands that stand in the text, not in a block, with what is filled in where a reader would.
var inText = map[string]string{
	"gateway check --config FILE":                                         "gateway check --config gateway.yaml",
	"gateway check --config gateway.yaml":                                 "gateway check --config gateway.yaml",
	"gateway version":                                                     "gateway version",
	"gateway health":                                                      "gateway health --url http://ADMIN/readyz",
	"gateway health --url http://127.0.0.1:9090/healthz":                  "gateway health --url http://ADMIN/healthz",
	"curl -s http://ADMIN/readyz":                                         "curl -s http://ADMIN/readyz",
	"curl -X PUT --data debug http://127.0.0.1:9090/log/level":            "curl -X PUT --data debug http://ADMIN/log/level",
	"gateway audit search --config FILE --since 1h":                       "gateway audit search --config gateway.yaml --since 1h",
	"gateway audit verify":                                                "gateway audit verify --config gateway.yaml",
	"gateway audit verify DIR":                                            "gateway audit verify state/audit",
	"gateway explain --config gateway.yaml --audit DIR --policy NEW.yaml": "gateway explain --config gateway.yaml --audit state/audit --policy policy.yaml",
	"gateway token list":                                                  "gateway token list --config gateway.yaml",
	"gateway token revoke":                                                "gateway token revoke --config gateway.yaml \"$(gateway token list --config gateway.yaml | awk 'NR == 2 {print $1}')\"",
	"gateway completion bash|zsh|fish|powershell":                         "for shell in bash zsh fish powershell; do gateway completion $shell; done",
	"gateway completion bash --help":                                      "gateway completion bash --help",
	"man -l docs/man/gateway.1":                                           "man -l ROOT/docs/man/gateway.1",
	"kubectl create secret generic gateway-seal --from-literal=seal-key=\"$(openssl rand -hex 32)\"": "kubectl create secret generic gateway-seal --from-literal=seal-key=\"$(openssl rand -hex 32)\" --dry-run=client",
	"systemctl reload gateway": "", // typed with the block of its section
	"systemctl status gateway": "",
	"helm upgrade":             "helm upgrade --help",
}

// command is what of a page's text a reader would type.
var command = regexp.MustCompile(`^(gateway|curl|helm|kubectl|man|systemctl|docker|make|openssl|go run|promtool) `)

func TestWhatTheDocsTellToTypeDoesWhatTheySay(t *testing.T) {
	harness.Need(t, []string{"bash", "curl", "openssl", "podman", "runc", "busybox", "kubectl", "man", "systemctl", "systemd-analyze"}, nil)
	t.Parallel()
	left, said := maps.Clone(untyped), maps.Clone(inText)
	for page, typists := range blocks {
		found := map[string]bool{}
		for _, section := range harness.Page(t, page) {
			section.Shell = withoutUntyped(section.Shell, left)
			for _, text := range section.Inline {
				if _, skipped := untyped[text]; skipped {
					delete(left, text)
				} else if _, typed := inText[text]; !typed && command.MatchString(text) {
					t.Errorf("%s, %s: nobody types %q", page, section.Title, text)
				}
				delete(said, text)
			}
			if strings.TrimSpace(section.Shell) == "" {
				continue
			}
			found[section.Title] = true
			if typist := typists[section.Title]; typist != nil {
				t.Run(page+"/"+section.Title, func(t *testing.T) { t.Parallel(); typist(t, section) })
			} else {
				t.Errorf("%s: nobody types what stands below %q:\n%s", page, section.Title, section.Shell)
			}
		}
		for title := range typists {
			if !found[title] {
				t.Errorf("%s: nothing is to be typed below %q any more", page, title)
			}
		}
	}
	for _, line := range slices.Concat(slices.Sorted(maps.Keys(left)), slices.Sorted(maps.Keys(said))) {
		t.Errorf("%q stands in the docs no more: take it off the list", line)
	}
}

// withoutUntyped takes the lines out of a script that are on the list, and them off what is left of it.
func withoutUntyped(script string, left map[string]string) string {
	var typed []string
	for line := range strings.Lines(script) {
		text, _, _ := strings.Cut(line, "  #")
		if text = strings.TrimSpace(text); untyped[text] != "" {
			delete(left, text)
		} else {
			typed = append(typed, line)
		}
	}
	return strings.Join(typed, "")
}

func TestCommandsInTheTextOfTheDocsWork(t *testing.T) {
	harness.Need(t, []string{"bash", "curl", "openssl", "kubectl", "man"}, nil)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	g.Token("payments")
	s := newShell(t, g.Dir)
	for _, text := range slices.Sorted(maps.Keys(inText)) {
		script := strings.NewReplacer("http://ADMIN", g.AdminURL, "ROOT", harness.Root()).Replace(inText[text])
		if script == "" {
			continue
		}
		if out := s.types(t, script); strings.TrimSpace(out) == "" {
			t.Errorf("%s prints nothing", text)
		}
	}
}

// shell types what the docs say in a folder, with programs of the test's own before those of the machine.
type shell struct{ dir, programs, home string }

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	s := &shell{dir: dir, programs: t.TempDir(), home: t.TempDir()}
	for name, path := range map[string]string{"gateway": harness.Binary(t), "helm": goTool(t, "helm")} {
		if err := os.Symlink(path, filepath.Join(s.programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// program puts a script in the place of a program.
func (s *shell) program(t *testing.T, name, script string) {
	t.Helper()
	path := filepath.Join(s.programs, name)
	if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// types fails the test at the first command that fails, and returns what a reader would have seen.
func (s *shell) types(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // the test's own has ended when it cleans up
	defer cancel()
	bash := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	bash.Dir = s.dir
	bash.Env = append(os.Environ(), "PATH="+s.programs+":"+os.Getenv("PATH"), "HOME="+s.home, "PAGER=cat")
	bash.WaitDelay = time.Second // what was started may hold the output open
	output, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nwas typed, and this was seen:\n%s", err, script, output)
	}
	return string(output)
}
