package clients_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

func TestEveryLineOfTheTutorialDoesWhatItSays(t *testing.T) {
	needClients(t)
	t.Parallel()
	script := "set -e -m\n"
	for _, section := range harness.Page(t, "docs/tutorial.md") {
		script += section.Shell
	}
	// As a reader types it, in a folder of its own: with the program built already, and on ports that are free.
	for _, address := range []string{"127.0.0.1:9901", "127.0.0.1:8443", "127.0.0.1:9090"} {
		script = strings.ReplaceAll(script, address, harness.FreeAddress(t))
	}
	admin := regexp.MustCompile(`admin: \{listen: "([^"]+)"`).FindStringSubmatch(script)
	script = strings.ReplaceAll(script, "gateway health;", "gateway health --url http://"+admin[1]+"/readyz;")
	script = strings.Replace(script, "make build\n", "", 1)
	dir := t.TempDir()
	if err := os.Symlink(harness.Binary(t), filepath.Join(dir, "gateway")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(folder(), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	got := run(t, dir, []string{"HOME=" + t.TempDir(), "DO_NOT_TRACK=1", "npm_config_offline=true"}, "bash", "-c", script)
	if got.exit != 0 {
		t.Fatalf("it ended with %d\n%s%s", got.exit, got.stdout, got.stderr)
	}
	for _, shown := range []string{
		sandbox.Payments, `"code":"denied"`, "#payments-platform", "decision  deny", // asking
		"REFERENCE ID",                                // the CLI's own list
		"v1-list-all-projects", "v1-list-all-secrets", // the audit log
	} {
		if !strings.Contains(got.stdout, shown) {
			t.Errorf("the tutorial does not show %q", shown)
		}
	}
	if strings.Contains(got.stdout, sandbox.Ledger) {
		t.Error("the tutorial shows a project that its team may not see")
	}
	if t.Failed() {
		t.Logf("%s%s", got.stdout, got.stderr)
	}
}
