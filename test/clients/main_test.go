// Package clients_test runs the real clients, unmodified from npm, through a running gateway before the stand-in
// upstream, each as somebody who is allowed and as somebody who is not. What the gateway answers is tested elsewhere;
// here it is what people see.
//
// package.json names the clients and their versions, and `npm ci` in this folder installs them.
package clients_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// folder is where package.json is.
func folder() string { return filepath.Join(harness.Root(), "test", "clients") }

// module is a file of an installed package.
func module(path string) string { return filepath.Join(folder(), "node_modules", path) }

// Where the clients start. The CLI's command on the path is a script that starts another program; which one depends on
// the machine, so it is the script that tests run.
var (
	supabaseCLI = module("supabase/dist/supabase.js")
	mcpServer   = module("@supabase/mcp-server-supabase/dist/cli.js")
)

// needClients leaves the test out where the clients are not installed, but never in continuous integration.
func needClients(t testing.TB) {
	t.Helper()
	harness.Need(t, []string{"node", "npx"}, []string{supabaseCLI, mcpServer, module("supabase-management-js/package.json")})
}

// ran is what a command left behind.
type ran struct {
	stdout, stderr string
	exit           int
}

// output is all that a person would have seen.
func (r ran) output() string { return r.stdout + r.stderr }

// clientTime bounds every command. Clients that retry for longer have failed their test anyway.
const clientTime = 2 * time.Minute

// run runs a command in a folder, with nothing of this process's environment but what finds programs.
func run(t testing.TB, dir string, environment []string, name string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Env = dir, append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = time.Second // what the command started may hold its output open
	err := command.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, &stdout, &stderr)
	}
	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// stranger is a token of somebody who is in no team.
func stranger(t testing.TB, g *harness.Gateway) string {
	t.Helper()
	stdout, stderr, err := g.Run("token", "create", "--subject", "stranger", "--name", "test")
	if err != nil {
		t.Fatalf("minting a token: %v\n%s", err, stderr)
	}
	return strings.TrimSpace(stdout)
}

// containsAll reports which of the texts are missing.
func containsAll(text string, wanted []string) (missing []string) {
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			missing = append(missing, want)
		}
	}
	return missing
}
