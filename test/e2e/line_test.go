package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/test/harness"
)

// refs lists the refs of a list of projects.
func refs(t *testing.T, a harness.Answer) []string {
	t.Helper()
	var projects []struct{ Ref string }
	if err := json.Unmarshal([]byte(a.Text), &projects); err != nil {
		t.Fatalf("answer %d is no list: %v: %s", a.StatusCode, err, a.Text)
	}
	var refs []string
	for _, p := range projects {
		refs = append(refs, p.Ref)
	}
	slices.Sort(refs)
	return refs
}

func TestTwoTeamsSeeDifferentProjects(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada, bob := g.JWT("ada"), g.Token("field")
	for range 2 { // a miss, then a hit
		if got, want := refs(t, g.Get(ada, "/v1/projects")), []string{sandbox.Payments, sandbox.Ledger}; !slices.Equal(got, want) {
			t.Errorf("ada sees %v, want %v", got, want)
		}
		if got, want := refs(t, g.Get(bob, "/v1/projects")), []string{sandbox.FieldApp}; !slices.Equal(got, want) {
			t.Errorf("bob sees %v, want %v", got, want)
		}
	}
	if got := refs(t, g.Get(g.JWT("grace"), "/v1/projects")); len(got) != 8 {
		t.Errorf("grace sees %d projects, want 8", len(got))
	}
	if n := len(upstreamRequests(g, "/v1/projects")); n != 1 {
		t.Errorf("upstream was asked %d times, want once: one stored list serves all teams", n)
	}
	for who, path := range map[string]string{ada: "/v1/projects/" + sandbox.FieldApp, bob: "/v1/projects/" + sandbox.Payments} {
		a := g.Get(who, path)
		p := a.Problem(t)
		if a.StatusCode != http.StatusForbidden || p.Code != "denied" || p.Message == "" || len(p.Missing) == 0 {
			t.Errorf("the other team's project: %d %+v, want 403 with a reason and what is missing", a.StatusCode, p)
		}
	}
}

func TestUpstreamNeverSeesACallersTokenNorACallerUpstreams(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	tokens := []string{g.JWT("ada"), g.Token("payments")}
	for _, token := range tokens {
		for _, path := range []string{"/v1/projects", "/v1/projects/" + sandbox.Payments + "/functions", "/v1/projects/" + sandbox.Payments + "/secrets", "/v1/nothing"} {
			a := g.Get(token, path, "Cookie", "session=x", "X-Forwarded-For", "1.2.3.4", "Proxy-Authorization", "Basic eDp5")
			if dump := a.Text + strings.Join(flatten(a.Header), "\n"); strings.Contains(dump, harness.UpstreamToken) || a.Header.Get("X-Gotrue-Id") != "" || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("GET %s shows the shared account: %s", path, dump)
			}
		}
	}
	for _, r := range g.Upstream.Requests() {
		if got := r.Header.Values("Authorization"); !slices.Equal(got, []string{"Bearer " + harness.UpstreamToken}) {
			t.Errorf("upstream saw Authorization %q", got)
		}
		for _, value := range flatten(r.Header) {
			for _, token := range tokens {
				if strings.Contains(value, token) {
					t.Errorf("upstream saw a caller's token in %q", value)
				}
			}
		}
		for _, name := range []string{"Cookie", "X-Forwarded-For", "Proxy-Authorization", "Traceparent"} {
			if r.Header.Get(name) != "" {
				t.Errorf("upstream saw %s: %q", name, r.Header.Get(name))
			}
		}
	}
	log := g.Log()
	for _, secret := range append(tokens, harness.UpstreamToken) {
		if strings.Contains(log, secret) {
			t.Error("the log holds a token")
		}
	}
}

func TestErrorsOfTheContract(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Server: "max_body: 1KiB, "})
	ada := g.JWT("ada")
	project := "/v1/projects/" + sandbox.Payments
	for name, test := range map[string]struct {
		token, method, path, body string
		status                    int
		code                      string
	}{
		"no token":                           {"", "GET", "/v1/projects", "", 401, "unauthenticated"},
		"strangers learn nothing of paths":   {"", "GET", "/v1/nothing", "", 401, "unauthenticated"},
		"a mistyped minted token":            {"sbp_" + strings.Repeat("0", 40), "GET", "/v1/projects", "", 401, "unauthenticated"},
		"an expired token":                   {g.JWT("ada", idp.Expired()), "GET", "/v1/projects", "", 401, "unauthenticated"},
		"an unsigned token":                  {g.JWT("ada", idp.Unsigned()), "GET", "/v1/projects", "", 401, "unauthenticated"},
		"a person without a team":            {g.JWT("linus"), "GET", "/v1/projects", "", 403, "denied"},
		"an unknown path":                    {ada, "GET", "/v1/nothing", "", 404, "unknown_operation"},
		"a doubled slash":                    {ada, "GET", "//v1/projects", "", 404, "unknown_operation"},
		"a path outside":                     {ada, "GET", "/metrics", "", 404, "unknown_operation"},
		"an unknown method":                  {ada, "DELETE", "/v1/projects", "", 405, "method_not_allowed"},
		"an encoded slash":                   {ada, "GET", project + "%2fsecrets", "", 400, "bad_request"},
		"a body too large":                   {ada, "POST", project + "/secrets", strings.Repeat("x", 2000), 413, "body_too_large"},
		"OAuth is the gateway's":             {ada, "POST", "/v1/oauth/token", "x=y", 403, "denied"},
		"repeated keys where a body decides": {ada, "POST", project + "/database/query", `{"query":"select 1","read_only":true,"read_only":false}`, 400, "bad_request"},
		"only if cached":                     {ada, "GET", project + "/functions", "", 504, "not_cached"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.code == "not_cached" {
				headers = []string{"Cache-Control", "only-if-cached"}
			}
			a := g.Do(test.token, test.method, test.path, test.body, headers...)
			p := a.Problem(t)
			if a.StatusCode != test.status || p.Code != test.code || p.Message == "" {
				t.Errorf("%s %s: %d %+v, want %d %s", test.method, test.path, a.StatusCode, p, test.status, test.code)
			}
			if p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id") || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
				t.Errorf("request id %q, headers %v", p.RequestID, a.Header)
			}
			if test.status == 401 && !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("WWW-Authenticate = %q", a.Header.Get("WWW-Authenticate"))
			}
			if test.status == 405 && a.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if test.status == 413 {
				return // refused before the line begins
			}
			records := g.Audit(p.RequestID)
			if last := records[len(records)-1]; last.Status != test.status || last.Outcome != test.code {
				t.Errorf("audit says %d %s", last.Status, last.Outcome)
			}
			if !strings.Contains(g.Log(), p.RequestID) {
				t.Error("the request id is not in the log")
			}
		})
	}
}

func TestAWriteIsRecordedBeforeAndAfter(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	a := g.Do(g.JWT("ada"), "POST", "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"KEY","value":"hunter2"}]`)
	if a.StatusCode != http.StatusCreated {
		t.Fatalf("status %d: %s", a.StatusCode, a.Text)
	}
	records := g.Audit(a.Header.Get("X-Request-Id"))
	if len(records) != 2 || records[0].Phase != audit.Intent || records[1].Phase != audit.Outcome {
		t.Fatalf("records %+v, want an intent and an outcome", records)
	}
	r := records[1]
	if r.Caller.Subject != "ada" || r.Caller.Issuer != "corp" || r.Team != "payments" || r.Target.Project != sandbox.Payments || !r.Decision.Allow ||
		r.Credential != "shared" || r.Status != 201 || r.Upstream.Status != 201 || len(r.BodySHA256) != 64 || r.Decision.Rule != "policy.yaml:7 teams[0].allow[0]" {
		t.Errorf("outcome %+v", r)
	}
	data, err := os.ReadFile(auditFile(t, g))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "hunter2") {
		t.Error("the audit log holds a body")
	}
}

func TestEmptyAnswersStayEmptyAndComplete(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	created := g.Do(ada, "POST", "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"KEY","value":"v"}]`)
	if created.StatusCode != 201 || created.ContentLength != 0 || created.Header.Get("Content-Type") != "" || len(created.TransferEncoding) > 0 {
		t.Errorf("an empty 201 came with length %d, type %q, %v", created.ContentLength, created.Header.Get("Content-Type"), created.TransferEncoding)
	}
	deleted := g.Do(ada, "DELETE", "/v1/projects/"+sandbox.Payments+"/secrets", `["KEY"]`)
	if deleted.StatusCode != 200 {
		t.Errorf("DELETE with a body: %d %s", deleted.StatusCode, deleted.Text)
	}
	if got := g.Get(ada, "/v1/projects/"+sandbox.Payments+"/secrets"); strings.Contains(got.Text, `"KEY"`) {
		t.Error("the body of a DELETE did not reach upstream")
	}
}

func TestHeadersOfTheContract(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	path := "/v1/projects/" + sandbox.Payments + "/functions"
	miss, hit := g.Get(ada, path), g.Get(ada, path)
	if got := miss.Header.Get("Cache-Status"); !strings.HasPrefix(got, "gateway; fwd=uri-miss") {
		t.Errorf("Cache-Status of a miss = %q", got)
	}
	if got := hit.Header.Get("Cache-Status"); !strings.HasPrefix(got, "gateway; hit") || hit.Header.Get("Age") == "" {
		t.Errorf("Cache-Status of a hit = %q, Age %q", got, hit.Header.Get("Age"))
	}
	for _, a := range []harness.Answer{miss, hit} {
		if reset, err := strconv.Atoi(a.Header.Get("X-RateLimit-Reset")); err != nil || reset > 60 || a.Header.Get("X-RateLimit-Limit") != "120" || a.Header.Get("X-RateLimit-Remaining") == "" {
			t.Errorf("rate limit headers %v", a.Header)
		}
		if !strings.HasPrefix(a.Header.Get("Server-Timing"), "queue;dur=") {
			t.Errorf("Server-Timing = %q", a.Header.Get("Server-Timing"))
		}
	}
	if miss.Text != hit.Text {
		t.Error("hit and miss differ")
	}
	write := g.Do(ada, "POST", "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"A","value":"b"}]`)
	if got := write.Header.Get("Cache-Status"); got != "gateway; fwd=method; fwd-status=201" {
		t.Errorf("Cache-Status of a write = %q", got)
	}
	if after := g.Get(ada, path); strings.Contains(after.Header.Get("Cache-Status"), "hit") {
		t.Error("a write to the project left its stored answers in use")
	}
}

func TestProfileIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	a := g.Get(g.JWT("ada"), "/v1/profile")
	var profile struct {
		GotrueID     string `json:"gotrue_id"`
		PrimaryEmail string `json:"primary_email"`
	}
	if err := json.Unmarshal([]byte(a.Text), &profile); err != nil || profile.PrimaryEmail != "ada@acme.example" || len(profile.GotrueID) != 36 {
		t.Errorf("profile %s", a.Text)
	}
	if n := len(g.Upstream.Requests()); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}

// upstreamRequests are the requests that upstream received for one path.
func upstreamRequests(g *harness.Gateway, path string) []sandbox.Request {
	return slices.DeleteFunc(g.Upstream.Requests(), func(r sandbox.Request) bool {
		target, _, _ := strings.Cut(r.Target, "?")
		return target != path
	})
}

func flatten(h http.Header) []string {
	var lines []string
	for name, values := range h {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	return lines
}

// auditFile is the one file of the audit log.
func auditFile(t *testing.T, g *harness.Gateway) string {
	t.Helper()
	files, err := filepath.Glob(g.Path("state/audit/*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("audit files %v, %v", files, err)
	}
	return files[0]
}
