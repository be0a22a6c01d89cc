package e2e

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

const secretsOf = "/v1/projects/" + sandbox.Payments + "/secrets"

// TestAuditInRedisAlone keeps the log in a Redis stream: it is searched there, by command and by the API, and writes are
// refused while Redis is away.
func TestAuditInRedisAlone(t *testing.T) {
	t.Parallel()
	server := redis.Start(t)
	g := harness.Start(t, harness.Options{Redis: server.URL(), Config: "audit: {flush: 10ms, sql: redacted, sinks: [{redis: {stream: \"gateway:audit\"}, required: true}]}\n"})
	ada := g.JWT("ada")
	if a := g.Do(ada, "POST", "/v1/projects/"+sandbox.Payments+"/database/query", `{"query":"select 'hunter2' -- 4711"}`); a.StatusCode != http.StatusCreated {
		t.Fatalf("answered %d %s", a.StatusCode, a.Text)
	}
	stdout, stderr, err := g.Run("audit", "search", "--operation", "v1-run-a-query", "--phase", "all", "--format", "json")
	if err != nil || strings.Count(stdout, `"sql":"select ?"`) != 2 || strings.Contains(stdout, "hunter2") || strings.Contains(stdout, "4711") {
		t.Errorf("search printed %s%s%v, want an intent and an outcome with the statement and no literal", stdout, stderr, err)
	}
	if a := g.Get(ada, "/-/api/audit"); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `"v1-run-a-query"`) {
		t.Errorf("/-/api/audit: %d %s", a.StatusCode, a.Text)
	}
	if _, stderr, err := g.Run("audit", "search", "--source", "files"); err == nil || !strings.Contains(stderr, "no file sink") {
		t.Errorf("a search of files that are not there: %v %s", err, stderr)
	}
	server.Pause()
	if a := g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("while Redis hangs a write is answered %d %s", a.StatusCode, a.Text)
	}
	server.Resume()
	waitFor(t, "writes to be served again", func() bool {
		return g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`).StatusCode == http.StatusCreated
	})
}

// TestAuditOnAFullDisk takes the room for the log away from the running gateway and gives it back.
func TestAuditOnAFullDisk(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	if a := g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`); a.StatusCode != http.StatusCreated {
		t.Fatalf("answered %d %s", a.StatusCode, a.Text)
	}
	room := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(g.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	room(1 << 10)
	before := len(g.Upstream.Requests())
	a := g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"w"}]`)
	if a.StatusCode != http.StatusServiceUnavailable || a.Problem(t).Code != "audit_unavailable" {
		t.Errorf("a write that cannot be recorded is answered %d %s", a.StatusCode, a.Text)
	}
	if n := len(g.Upstream.Requests()); n != before {
		t.Error("it reached upstream")
	}
	if a := g.Get(ada, "/v1/projects/"+sandbox.Payments); a.StatusCode != http.StatusOK {
		t.Errorf("a read while there is room in memory is answered %d", a.StatusCode)
	}
	if ready, err := http.Get(g.AdminURL + "/readyz"); err != nil || ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %v, %v, want 503", ready, err)
	}
	room(unix.RLIM_INFINITY)
	waitFor(t, "writes to be served again", func() bool {
		return g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"w"}]`).StatusCode == http.StatusCreated
	})
	if stdout, stderr, err := g.Run("audit", "verify"); err != nil || !strings.Contains(stdout, "recovered") {
		t.Errorf("verify: %s%s%v", stdout, stderr, err)
	}
}

// TestAuditFileDeleted removes the file that is being written.
func TestAuditFileDeleted(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`)
	if err := os.Remove(auditFile(t, g)); err != nil {
		t.Fatal(err)
	}
	a := g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`)
	if a.StatusCode != http.StatusCreated {
		t.Errorf("answered %d %s", a.StatusCode, a.Text)
	}
	if n := len(g.Audit(a.Header.Get("X-Request-Id"))); n != 2 {
		t.Errorf("%d records of the next write, want 2", n)
	}
	if stdout, _, err := g.Run("audit", "verify"); err == nil || !strings.Contains(stdout, "removed") || !strings.Contains(stdout, "vanished") {
		t.Errorf("verify: %s%v, want the loss reported", stdout, err)
	}
}

// TestTokenCommandsAreRecorded: what an operator does on the command line is in the log, beside a running gateway.
func TestTokenCommandsAreRecorded(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	if _, stderr, err := g.Run("token", "revoke", token); err != nil {
		t.Fatal(err, stderr)
	}
	operatorDid(t, g, "gateway-token-create", "gateway-token-revoke")
	if stdout, stderr, err := g.Run("audit", "verify"); err != nil {
		t.Errorf("verify: %s%s%v", stdout, stderr, err)
	}
}

// operatorDid checks the records of what was done on the command line: an intent and a good outcome of each operation, each
// with a detail that tells what, and no secret.
func operatorDid(t *testing.T, g *harness.Gateway, operations ...string) {
	t.Helper()
	var got, want []string
	for r, err := range audit.Search(t.Context(), g.Path("state/audit"), audit.Filter{Chain: "audit-operator"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Phase)+" "+r.Operation+" "+r.Outcome)
		what := strings.Split(r.Operation, "-")[1]
		if r.Caller.Kind != "operator" || r.Caller.Subject == "" || !strings.Contains(r.Detail, what) || strings.Contains(r.Detail, "sbp_") {
			t.Errorf("record %+v", r)
		}
	}
	for _, operation := range operations {
		want = append(want, "intent "+operation+" ", "outcome "+operation+" ok")
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}
