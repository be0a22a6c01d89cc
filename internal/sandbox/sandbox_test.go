package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
)

const (
	token = "sbp_0000000000000000000000000000000000000000"
	owner = "ada"
	// An OAuth app that the tests' sandbox knows.
	appID     = "1f0b7d62-9a38-4c5e-b1d4-7e26f8a930c5"
	appSecret = "placeholder"
)

// newSandbox is one with the seed, a token of owner's and an OAuth app.
func newSandbox(t *testing.T, change ...func(*sandbox.Config)) *sandbox.Sandbox {
	t.Helper()
	config := sandbox.Config{
		Tokens: map[string]string{token: owner},
		OAuth:  sandbox.OAuthConfig{Clients: map[string]string{appID: appSecret}},
		Limits: sandbox.LimitConfig{Off: true},
	}
	for _, fn := range change {
		fn(&config)
	}
	s, err := sandbox.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send performs a request with the token, unless it brings its own.
func send(t *testing.T, s *sandbox.Sandbox, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	if _, given := r.Header["Authorization"]; !given {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestEveryRequestNeedsOneKnownToken(t *testing.T) {
	s := newSandbox(t)
	for name, given := range map[string][]string{
		"none":          {},
		"unknown":       {"Bearer sbp_1"},
		"empty":         {"Bearer "},
		"another kind":  {"Basic " + token},
		"without kind":  {token},
		"two":           {"Bearer " + token, "Bearer " + token},
		"with a suffix": {"Bearer " + token + " "},
	} {
		for _, path := range []string{"/v1/projects", "/v1/nonsense", "/v1/oauth/authorize/project-claim"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Header["Authorization"] = given
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized || w.Body.String() != `{"message":"Unauthorized"}` || w.Header().Get("X-Gotrue-Id") != "" {
				t.Errorf("%s token, %s: %d %s", name, path, w.Code, w.Body)
			}
		}
	}
}

func TestTokensOfOneOwnerShareAnID(t *testing.T) {
	s := newSandbox(t, func(c *sandbox.Config) { c.Tokens = map[string]string{"a": "ada", "b": "ada", "c": "bob"} })
	id := func(token string) string {
		r := httptest.NewRequest("GET", "/v1/projects", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return send(t, s, r).Header().Get("X-Gotrue-Id")
	}
	if id("a") != id("b") || id("a") == id("c") || id("a") != sandbox.UserID("ada") {
		t.Errorf("ids %s, %s, %s", id("a"), id("b"), id("c"))
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	_, err := sandbox.New(sandbox.Config{
		Tokens: map[string]string{"": "ada"},
		Faults: sandbox.FaultConfig{Latency: -1},
		Limits: sandbox.LimitConfig{Granularity: "galaxy"},
		Seed: sandbox.World{
			Organizations: []sandbox.Organization{{Slug: "o"}},
			Projects:      []sandbox.Project{{Ref: "p", Organization: "other"}},
			Branches:      []sandbox.Branch{{Name: "b", Parent: "gone"}},
			Snippets:      []sandbox.Snippet{{ID: "s", Project: "gone"}},
		},
	})
	for _, part := range []string{"tokens", "latency", "galaxy", `"other"`, "branch b", "snippet s"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not speak of %s: %v", part, err)
		}
	}
}

func TestLogsAllCanBeGone(t *testing.T) {
	s := newSandbox(t, func(c *sandbox.Config) { c.Logs410 = true })
	w := send(t, s, httptest.NewRequest("GET", payments+"/analytics/endpoints/logs.all", nil))
	if w.Code != http.StatusGone {
		t.Errorf("logs.all: %d %s", w.Code, w.Body)
	}
	if w := send(t, s, httptest.NewRequest("GET", payments+"/analytics/endpoints/logs", nil)); w.Code != http.StatusOK {
		t.Errorf("logs: %d %s", w.Code, w.Body)
	}
}

func TestSnippetsPageByCursor(t *testing.T) {
	s := newSandbox(t)
	var names []string
	for target := "/v1/snippets?limit=2"; target != ""; {
		var page struct {
			Data   []struct{ Name string }
			Cursor string
		}
		w := send(t, s, httptest.NewRequest("GET", target, nil))
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%s: %v: %s", target, err, w.Body)
		}
		for _, item := range page.Data {
			names = append(names, item.Name)
		}
		target = ""
		if page.Cursor != "" {
			target = "/v1/snippets?limit=2&cursor=" + page.Cursor
		}
	}
	if len(names) != len(sandbox.Seed().Snippets) || names[0] != "Invoices overdue" {
		t.Errorf("snippets %q", names)
	}
}

func TestRouteNamesOperationAndScope(t *testing.T) {
	s := newSandbox(t)
	for _, test := range []struct{ ask, body, operation, scope string }{
		{"GET /v1/projects", "", "GET /v1/projects", "account"},
		{"GET /v1/projects/available-regions", "", "GET /v1/projects/available-regions", "account"},
		{"POST /v1/projects", `{"organization_slug":"acme"}`, "POST /v1/projects", "organization:acme"},
		{"POST /v1/projects", `nonsense`, "POST /v1/projects", "account"},
		{"GET " + payments + "/secrets", "", "GET /v1/projects/{ref}/secrets", "project:" + sandbox.Payments},
		{"GET /v2/organizations/acme/members", "", "GET /v2/organizations/{slug}/members", "organization:acme"},
		{"GET /v1/branches/b82d5e90-14c7-4f3b-8e6d-0a9f73c15e24", "", "GET /v1/branches/{branch_id_or_ref}", "project:" + sandbox.PaymentsRefundFlow},
		{"GET /v1/snippets/x", "", "GET /v1/snippets/{id}", "account"},
		{"GET /v1/nonsense", "", "", "account"},
		{"PUT /v1/projects", "", "", "account"},
	} {
		method, path, _ := strings.Cut(test.ask, " ")
		r := httptest.NewRequest(method, path, strings.NewReader(test.body))
		operation, scope := sandbox.Route(s, r)
		if operation != test.operation || scope != test.scope {
			t.Errorf("%s: %q of %q, want %q of %q", test.ask, operation, scope, test.operation, test.scope)
		}
		if left, _ := io.ReadAll(r.Body); string(left) != test.body {
			t.Errorf("%s: the body that is left is %q, want %q", test.ask, left, test.body)
		}
	}
}

func TestLimitsCountByOwner(t *testing.T) {
	s := newSandbox(t, func(c *sandbox.Config) { c.Limits = sandbox.LimitConfig{} })
	w := send(t, s, httptest.NewRequest("GET", payments, nil))
	if got := w.Header().Get("X-Ratelimit-Remaining"); got != "119" {
		t.Errorf("remaining %q, want 119", got)
	}
	if buckets := s.Limits().Buckets(); len(buckets) != 1 || buckets[0].Owner != owner || buckets[0].Scope != "project:"+sandbox.Payments {
		t.Errorf("buckets %+v", buckets)
	}
}

func TestTheSeedIsWhole(t *testing.T) {
	seed := sandbox.Seed()
	if len(seed.Organizations) != 2 || len(seed.Projects) != 8 || len(seed.Branches) == 0 || len(seed.Snippets) == 0 {
		t.Errorf("seed %+v", seed)
	}
	ref := regexp.MustCompile(`^[a-z]{20}$`)
	seen := make(map[string]bool)
	for _, p := range seed.Projects {
		seen[p.Ref] = true
		if !ref.MatchString(p.Ref) {
			t.Errorf("ref %q", p.Ref)
		}
	}
	for _, b := range seed.Branches {
		seen[b.Ref] = true
		if !ref.MatchString(b.Ref) {
			t.Errorf("ref %q", b.Ref)
		}
	}
	if len(seen) != len(seed.Projects)+len(seed.Branches) || !seen["abcdefghijklmnopqrst"] {
		t.Errorf("refs %v", seen)
	}
}
