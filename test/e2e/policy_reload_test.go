package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// eventually waits until done; what changes is in another process, which tells nobody.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// operator reads a path of the admin listener.
func operator(t *testing.T, g *harness.Gateway, path string) (status int, text string) {
	t.Helper()
	response, err := http.Get(g.AdminURL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// reads is a policy that lets payments read one project.
func reads(project string) string {
	return "teams:\n  - name: payments\n    members: [{group: payments-eng}]\n    allow: [{projects: [" + project + "], scopes: [\"projects:read\"]}]\n"
}

func TestAChangedPolicyTakesEffectWithoutADroppedRequest(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: reads(sandbox.Payments)})
	ada := g.JWT("ada")
	readable := func(project string) func() bool {
		return func() bool { return g.Get(ada, "/v1/projects/"+project).StatusCode == http.StatusOK }
	}
	if !readable(sandbox.Payments)() || readable(sandbox.Ledger)() {
		t.Fatal("the first policy is not in force")
	}

	// The load: every request gets a whole answer, and one of the two that the policies give.
	var stop atomic.Bool
	var answered, refused atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				request, _ := http.NewRequest("GET", g.URL+"/v1/projects/"+sandbox.Payments, nil)
				request.Header.Set("Authorization", "Bearer "+ada)
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Errorf("a request was dropped: %v", err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				switch {
				case err != nil || !json.Valid(body):
					t.Errorf("an answer broke off: %v %q", err, body)
				case response.StatusCode == http.StatusOK:
					answered.Add(1)
				case response.StatusCode == http.StatusForbidden:
					refused.Add(1)
				default:
					t.Errorf("%d %s", response.StatusCode, body)
				}
			}
		})
	}
	defer load.Wait()
	defer stop.Store(true)

	g.Write("policy.yaml", reads(sandbox.Ledger))
	eventually(t, "the changed file is taken up by itself", readable(sandbox.Ledger))
	if readable(sandbox.Payments)() {
		t.Error("the old policy is in force beside the new one")
	}
	g.Write("policy.yaml", reads(sandbox.Payments))
	g.Signal(syscall.SIGHUP)
	eventually(t, "SIGHUP takes the file up", readable(sandbox.Payments))
	stop.Store(true)
	load.Wait()
	if answered.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d answers and %d refusals: the load did not see both policies", answered.Load(), refused.Load())
	}
}

func TestABadPolicyChangesNothingAndShows(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: reads(sandbox.Payments)})
	ada := g.JWT("ada")
	success := func(value string) func() bool {
		return func() bool {
			_, metrics := operator(t, g, "/metrics")
			return strings.Contains(metrics, "\ngateway_config_reload_success "+value+"\n")
		}
	}
	if !success("1")() {
		t.Error("gateway_config_reload_success is not 1 at the start")
	}
	for name, bad := range map[string]struct{ policy, says string }{
		"an unknown scope": {reads(sandbox.Ledger) + "    deny: [{projects: [\"*\"], scopes: [\"databse:read\"]}]\n", "databse:read"},
		"a failing test":   {reads(sandbox.Ledger) + "tests: [{as: {group: payments-eng}, call: GET /v1/projects/" + sandbox.Ledger + ", want: deny}]\n", "tests[0]"},
		"half a file":      {reads(sandbox.Ledger)[:40], "policy.yaml"},
	} {
		g.Write("policy.yaml", bad.policy)
		g.Signal(syscall.SIGHUP)
		eventually(t, name+" shows in the metric", success("0"))
		if status, text := operator(t, g, "/readyz"); status != http.StatusOK || !strings.Contains(text, bad.says) {
			t.Errorf("%s: /readyz %d %s, want 200 with %q: the policy before still holds", name, status, text, bad.says)
		}
		if a := g.Get(ada, "/v1/projects/"+sandbox.Payments); a.StatusCode != http.StatusOK {
			t.Errorf("%s: the policy before is not in force: %d %s", name, a.StatusCode, a.Text)
		}
		if a := g.Get(ada, "/v1/projects/"+sandbox.Ledger); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: a part of the bad file is in force: %d", name, a.StatusCode)
		}
		if !strings.Contains(g.Log(), bad.says) {
			t.Errorf("%s: the log does not say what is wrong", name)
		}
		g.Write("policy.yaml", reads(sandbox.Payments))
		g.Signal(syscall.SIGHUP)
		eventually(t, name+" is put right", success("1"))
	}
	if _, text := operator(t, g, "/readyz"); strings.Contains(text, "policy.yaml") {
		t.Errorf("/readyz still complains: %s", text)
	}
}
