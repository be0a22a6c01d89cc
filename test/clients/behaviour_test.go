package clients_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// What the clients do behind a gateway, and where each is tested. Where no client that npm has does a thing, the test
// sends what was recorded of those that do.
//
//  1. Empty answers stay empty: TestEmptyAnswersGainNothing, and the MCP server's apply_migration.
//  2. The reset is in seconds, a 429 says when to come back: TestCLIThatMustWaitLongIsToldOnce. So does a credential that
//     rests: TestCLIIsToldOnceThatTheGatewaysCredentialIsRefused.
//  3. A function's body depends on Accept: TestFunctionBodyIsWhatWasAskedFor.
//  4. Terraform polls: TestHealthKeepsItsRepeatedParameters, TestProjectIsSeenToBecomeHealthy.
//  5. Writes show at other paths: TestWritesShowAtOtherPaths, TestMCPServerReadsBackAtOnceWhatItWrote.
//  6. Bodies on DELETE, large uploads: TestDeleteKeepsItsBody, TestEszipOf12MBArrivesWhole; chunked multipart is in
//     test/e2e, with 200 MB.
//  7. Commands end with asking for the project: TestCLIWorksWhereTheProjectItselfIsRefused.
//  8. A slash too many: TestManagementJSWithASlashTooManyIsTold.
//  9. `supabase login`: in test/browser, with the page that it opens.
//  10. Encodings: TestCompressedAnswersAreTheSame.
//  11. Newer operations: the CLI's "config diff" and "logs" in cli_test.go, TestLogsThatAreGoneStayGone.
//  12. What goes to Postgres asks for a role first: TestCLIGetsItsLoginRole.

func TestEmptyAnswersGainNothing(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	for path, test := range map[string]struct {
		method, body string
		status       int
		length       []string
	}{
		"/secrets":         {"POST", `[{"name":"A","value":"b"}]`, 201, []string{"0"}},
		"/config/realtime": {"PATCH", `{"max_channels_per_client":50}`, 204, nil},
	} {
		a := g.Do(ada, test.method, "/v1/projects/"+sandbox.Payments+path, test.body)
		if a.StatusCode != test.status || a.Text != "" || !slices.Equal(a.Header.Values("Content-Length"), test.length) {
			t.Errorf("%s %s: %d %q with length %q, want an empty %d with %q", test.method, path, a.StatusCode, a.Text, a.Header.Values("Content-Length"), test.status, test.length)
		}
		if kind := a.Header.Values("Content-Type"); kind != nil || a.TransferEncoding != nil {
			t.Errorf("%s %s: an empty answer of type %q, sent %v", test.method, path, kind, a.TransferEncoding)
		}
	}
}

func TestCLIThatMustWaitLongIsToldOnce(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{
		Config:  "limits: {max_wait: 1s}",
		Sandbox: func(c *sandbox.Config) { c.Limits.ResetUnit = sandbox.Milliseconds },
	})
	token := g.Token("payments")
	g.Upstream.Limits().Spend("platform-bot", "project:"+sandbox.Payments, "", 120)

	began := time.Now()
	got := newCLI(t, g, token, nil).run(t, "secrets list"+onPayments)
	if got.exit == 0 || !strings.Contains(got.output(), "429") || !strings.Contains(got.output(), "queue_timeout") {
		t.Errorf("exit code %d, want a refusal with 429 and its code:\n%s", got.exit, got.output())
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the CLI took %v, so it waited", took)
	}
	a := g.Get(token, "/v1/projects/"+sandbox.Payments+"/secrets")
	for _, name := range []string{"Retry-After", "X-RateLimit-Reset"} {
		if seconds, err := strconv.Atoi(a.Header.Get(name)); a.StatusCode != 429 || err != nil || seconds < 1 || seconds > 60 {
			t.Errorf("%d with %s %q, want 429 with 1 to 60 seconds", a.StatusCode, name, a.Header.Get(name))
		}
	}
	g.Audit(a.Problem(t).RequestID)
	commands := slices.DeleteFunc(g.AllAudit(), func(r audit.Record) bool {
		return r.Phase != audit.Outcome || r.Operation != "v1-list-all-secrets"
	})
	if len(commands) != 2 { // the CLI's and this test's own
		t.Errorf("the gateway was asked %d times, want once by the CLI: it does not come back when told to wait long", len(commands)-1)
	}
}

// The CLI repeats a read five times after a 5xx, unless it is told to come back later than it cares to wait.
func TestCLIIsToldOnceThatTheGatewaysCredentialIsRefused(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	if err := g.Upstream.Faults().Add(sandbox.Fault{Kind: sandbox.FaultStatus, Status: http.StatusUnauthorized}); err != nil {
		t.Fatal(err)
	}
	token := g.Token("payments")
	got := newCLI(t, g, token, nil).run(t, "secrets list"+onPayments)
	if got.exit == 0 || !strings.Contains(got.output(), "your token is fine") {
		t.Errorf("exit code %d, want the gateway's explanation:\n%s", got.exit, got.output())
	}
	g.Audit(g.Get(token, "/v1/projects/"+sandbox.Payments+"/functions").Problem(t).RequestID)
	commands := slices.DeleteFunc(g.AllAudit(), func(r audit.Record) bool {
		return r.Phase != audit.Outcome || r.Operation != "v1-list-all-secrets"
	})
	if len(commands) != 1 {
		t.Errorf("the CLI asked %d times, want once", len(commands))
	}
}

func TestFunctionBodyIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada, path := g.JWT("ada"), "/v1/projects/"+sandbox.Payments+"/functions/hello-world/body"
	for range 2 {
		for accept, want := range map[string]string{"multipart/form-data": "multipart/form-data; boundary=", "*/*": "application/vnd.denoland.eszip"} {
			a := g.Get(ada, path, "Accept", accept)
			if kind := a.Header.Get("Content-Type"); a.StatusCode != 200 || !strings.HasPrefix(kind, want) || len(a.Text) == 0 {
				t.Errorf("Accept: %s brings %d %s of %d bytes, want %s", accept, a.StatusCode, kind, len(a.Text), want)
			}
		}
	}
}

func TestHealthKeepsItsRepeatedParameters(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada, path := g.JWT("ada"), "/v1/projects/"+sandbox.Payments+"/health?services="
	names := regexp.MustCompile(`"name":"([a-z]+)"`)
	for _, services := range []string{"db&services=auth&services=rest", "auth&services=db"} {
		a := g.Get(ada, path+services)
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.Text)
		}
		if requests := g.Upstream.Requests(); requests[len(requests)-1].Target != path+services {
			t.Errorf("upstream was asked %s, want %s", requests[len(requests)-1].Target, path+services)
		}
		var order []string
		for _, name := range names.FindAllStringSubmatch(a.Text, -1) {
			order = append(order, name[1])
		}
		if got := strings.Join(order, "&services="); got != services {
			t.Errorf("the answer is about %s, want %s: %s", got, services, a.Text)
		}
	}
}

func TestProjectIsSeenToBecomeHealthy(t *testing.T) {
	t.Parallel()
	const settle = 500 * time.Millisecond
	g := harness.Start(t, harness.Options{Sandbox: func(c *sandbox.Config) { c.Settle = settle }})
	grace, project := g.JWT("grace"), "/v1/projects/"+sandbox.Ledger
	if a := g.Do(grace, "POST", project+"/pause", ""); a.StatusCode != 200 {
		t.Fatalf("pausing: %d %s", a.StatusCode, a.Text)
	}
	for _, path := range []string{project, project + "/health?services=auth&services=db"} {
		if a := g.Get(grace, path); a.StatusCode != 200 || strings.Contains(a.Text, "ACTIVE_HEALTHY") {
			t.Errorf("while it pauses, %s says %d %s", path, a.StatusCode, a.Text)
		}
	}
	becomes := func(path, status string) {
		t.Helper()
		// A client polls for minutes; the gateway may be behind by the two seconds that it keeps such an answer.
		for deadline := time.Now().Add(settle + 10*time.Second); ; time.Sleep(100 * time.Millisecond) {
			a := g.Get(grace, path)
			if strings.Contains(a.Text, `"status":"`+status+`"`) {
				return
			}
			if age, _ := strconv.Atoi(a.Header.Get("Age")); age > 2 || time.Now().After(deadline) {
				t.Fatalf("%s still says %s, aged %d s, want %s", path, a.Text, age, status)
			}
		}
	}
	becomes(project, "INACTIVE")
	if a := g.Do(grace, "POST", project+"/restore", ""); a.StatusCode != 200 {
		t.Fatalf("restoring: %d %s", a.StatusCode, a.Text)
	}
	becomes(project, "ACTIVE_HEALTHY")
	becomes(project+"/health?services=auth&services=db", "ACTIVE_HEALTHY")
}

func TestWritesShowAtOtherPaths(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	branches, functions, function := call{"listAllBranches", sandbox.Payments}, call{"listAllFunctions", sandbox.Payments}, call{"getAFunction", sandbox.Payments, "hello-world"}
	type object = map[string]any
	got := management(t, g.URL, g.Token("payments"),
		branches, functions, function, // are stored from now on
		call{"updateABranchConfig", sandbox.PaymentsRefundFlow, object{"branch_name": "refunds-2"}},
		branches,
		call{"pauseAProject", sandbox.PaymentsStaging},
		branches,
		call{"bulkUpdateFunctions", sandbox.Payments, []object{{"id": "1", "slug": "hello-world", "name": "renamed", "status": "ACTIVE", "version": 2}}},
		functions, function,
	)
	for i, r := range got {
		if r.Status >= 300 {
			t.Fatalf("call %d: %d %s", i, r.Status, r.Error)
		}
	}
	for i, want := range map[int]string{4: `"name":"refunds-2"`, 6: `"preview_project_status":"PAUSING"`, 8: `"name":"renamed"`, 9: `"name":"renamed"`} {
		if data := string(got[i].Data); !strings.Contains(data, want) && !strings.Contains(data, strings.Replace(want, "PAUSING", "INACTIVE", 1)) {
			t.Errorf("after the write, call %d reads %s, want %s", i, data, want)
		}
	}
}

func TestDeleteKeepsItsBody(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	results := management(t, g.URL, g.Token("payments"),
		call{"listAllNetworkBans", sandbox.Payments},
		call{"deleteNetworkBans", sandbox.Payments, map[string]any{"ipv4_addresses": []string{"203.0.113.7"}}},
		call{"listAllNetworkBans", sandbox.Payments})
	if before, after := string(results[0].Data), string(results[2].Data); !strings.Contains(before, "203.0.113.7") || strings.Contains(after, "203.0.113.7") {
		t.Errorf("bans before %s and after %s, with %+v between", before, after, results[1])
	}
}

func TestEszipOf12MBArrivesWhole(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	bundle := make([]byte, 12<<20)
	_, _ = rand.Read(bundle) // never fails, see crypto/rand
	path := "/v1/projects/" + sandbox.Payments + "/functions?slug=large&name=large&entrypoint_path=file%3A%2F%2F%2Fsrc%2Findex.ts"
	a := g.Do(g.JWT("ada"), "POST", path, string(bundle), "Content-Type", "application/vnd.denoland.eszip")
	if a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", a.StatusCode, a.Text)
	}
	sum := sha256.Sum256(bundle)
	requests := g.Upstream.Requests()
	if got := requests[len(requests)-1]; got.BodySHA256 != hex.EncodeToString(sum[:]) || got.Target != path {
		t.Errorf("upstream received %d bytes at %s, not what was sent", got.BodyBytes, got.Target)
	}
}

func TestCLIWorksWhereTheProjectItselfIsRefused(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	stdout, stderr, err := g.Run("token", "create", "--subject", "rotation", "--team", "payments", "--scope", "secrets:read", "--name", "test")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	token := strings.TrimSpace(stdout)
	if a := g.Get(token, "/v1/projects/"+sandbox.Payments); a.StatusCode != http.StatusForbidden {
		t.Fatalf("the token may read the project: %d", a.StatusCode)
	}
	got := newCLI(t, g, token, nil).run(t, "secrets list"+onPayments)
	if got.exit != 0 || !strings.Contains(got.stdout, "STRIPE_WEBHOOK_ENDPOINT") {
		t.Errorf("exit code %d:\n%s", got.exit, got.output())
	}
}

func TestCompressedAnswersAreTheSame(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	grace := g.JWT("grace")
	for range 2 { // a miss, then a hit
		plain := g.Get(grace, "/v1/projects", "Accept-Encoding", "identity")
		packed := g.Get(grace, "/v1/projects", "Accept-Encoding", "gzip, deflate, br, zstd")
		text := packed.Text
		switch coding := packed.Header.Get("Content-Encoding"); coding {
		case "":
		case "gzip":
			reader, err := gzip.NewReader(strings.NewReader(packed.Text))
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		default:
			t.Errorf("Content-Encoding: %s, which the tests cannot read", coding)
		}
		if plain.StatusCode != 200 || plain.Header.Get("Content-Encoding") != "" || text != plain.Text {
			t.Errorf("%d, compressed %q, uncompressed %q", plain.StatusCode, text, plain.Text)
		}
		if !strings.Contains(strings.Join(packed.Header.Values("Vary"), ","), "Accept-Encoding") || packed.ProtoMajor != 1 {
			t.Errorf("Vary %q over %s", packed.Header.Values("Vary"), packed.Proto)
		}
	}
}

func TestLogsThatAreGoneStayGone(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Sandbox: func(c *sandbox.Config) { c.Logs410 = true }})
	ada, endpoints := g.JWT("ada"), "/v1/projects/"+sandbox.Payments+"/analytics/endpoints/"
	if a := g.Get(ada, endpoints+"logs.all"); a.StatusCode != http.StatusGone || !strings.Contains(a.Text, "message") {
		t.Errorf("logs.all: %d %s, want upstream's 410", a.StatusCode, a.Text)
	}
	if a := g.Get(ada, endpoints+"logs?sql=select+id+from+logs"); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, "edge_logs line 1") {
		t.Errorf("logs: %d %s", a.StatusCode, a.Text)
	}
}

func TestCLIGetsItsLoginRole(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	c := newCLI(t, g, g.Token("payments"), nil)

	// There is no database behind the stand-in. The CLI is ended once it has its role and goes on without the gateway.
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	var output bytes.Buffer
	command := exec.CommandContext(ctx, "node", supabaseCLI, "migration", "list", "--remote="+sandbox.Payments)
	command.Dir, command.Env = c.dir, append(c.environment, "PATH="+os.Getenv("PATH"))
	command.Stdout, command.Stderr = &output, &output
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) } // which the script passes on
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for !slices.ContainsFunc(g.Upstream.Requests(), func(r sandbox.Request) bool {
		return r.Method == "POST" && r.Target == "/v1/projects/"+sandbox.Payments+"/cli/login-role" && r.Status == http.StatusCreated
	}) {
		select {
		case err := <-ended:
			t.Fatalf("the CLI ended without asking for a role: %v\n%s", err, &output)
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	<-ended

	refusal := g.Do(g.Token("field"), "POST", "/v1/projects/"+sandbox.Payments+"/cli/login-role", `{"read_only":true}`)
	if p := refusal.Problem(t); refusal.StatusCode != http.StatusForbidden || !strings.Contains(p.Message, refused("v1-create-login-role (write)")) {
		t.Errorf("a role for somebody who is refused: %d %+v", refusal.StatusCode, p)
	}
}
