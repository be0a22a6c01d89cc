package httpcache_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"corp.example/gateway/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// folder is where package.json is.
func folder() string { return filepath.Join(harness.Root(), "test", "httpcache") }

// suiteServer is the suite's own origin.
var suiteServer = filepath.Join(folder(), "node_modules", "http-cache-tests", "server", "server.mjs")

// outcome is what became of one of the suite's tests.
type outcome struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"` // required; optimal: better than RFC 9111 asks; check: how it is, without right or wrong
	Passed bool   `json:"passed"`
	Reason string `json:"reason"` // why it did not pass, in the suite's words
}

var listening = regexp.MustCompile(`^Listening on .*:([0-9]+)/$`)

// startOrigin runs the suite's origin for as long as the test and returns its URL.
func startOrigin(t *testing.T) string {
	t.Helper()
	origin := exec.CommandContext(t.Context(), "node", suiteServer)
	origin.Env = append(origin.Environ(), "npm_config_protocol=http", "npm_config_port=0", "npm_config_pidfile="+filepath.Join(t.TempDir(), "pid"))
	output, err := origin.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := origin.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		<-ended
		_ = origin.Wait() // it is killed when the test ends
	})
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		close(ended)
		t.Fatal("the suite's origin ended at once")
	}
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	port := listening.FindStringSubmatch(lines.Text())
	if port == nil {
		t.Fatalf("the suite's origin says %q and not where it listens", lines.Text())
	}
	return "http://127.0.0.1:" + port[1]
}

// runSuite runs the tests with the given ids, or all, through the gateway.
func runSuite(t *testing.T, g *harness.Gateway, origin, token string, ids ...string) map[string]outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	client := exec.CommandContext(t.Context(), "node", slices.Concat([]string{"run.mjs", g.URL, origin, token}, ids)...)
	client.Dir, client.Stdout, client.Stderr = folder(), &stdout, &stderr
	if err := client.Run(); err != nil {
		t.Fatalf("running the suite: %v\n%s%s", err, &stdout, &stderr)
	}
	var list []outcome
	if err := json.Unmarshal(stdout.Bytes(), &list); err != nil {
		t.Fatalf("the suite's outcome: %v\n%s%s", err, &stdout, &stderr)
	}
	outcomes := make(map[string]outcome, len(list))
	for _, o := range list {
		outcomes[o.ID] = o
	}
	return outcomes
}
