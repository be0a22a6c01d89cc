package portal_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/internal/state"
)

const (
	payments = "abcdefghijklmnopqrst" // the project of team payments
	billing  = "wzjkfdqrnpxmtyvhgbcl" // one that only administrators reach
	audience = "supabase-gateway"
)

// The people. Mallory has a name that would run where it is not escaped, and a group that would break a layout.
var people = []idp.Person{
	{Subject: "ada", Name: "Ada Lovelace", Email: "ada@acme.example", EmailVerified: true, Groups: []string{"payments-eng"}},
	{Subject: "bob", Name: "Bob Kahn", Email: "bob@acme.example", EmailVerified: true, Groups: []string{"payments-eng"}},
	{Subject: "grace", Name: "Grace Hopper", Email: "grace@acme.example", EmailVerified: true, Groups: []string{"platform-eng"}},
	{Subject: "linus", Name: "Linus Pauling", Email: "linus@acme.example", EmailVerified: true, Groups: []string{"research"}},
	{Subject: "mallory", Name: `"><script>alert(1)</script>`, Email: "mallory@acme.example", EmailVerified: true,
		Groups: []string{`<img src=x onerror=alert(1)>`, strings.Repeat("g", 500)}},
}

const rules = `
contact: "#gateway-help"
teams:
  - name: payments
    contact: "#payments"
    members: [{group: payments-eng}]
    allow:
      - {projects: [abcdefghijklmnopqrst], scopes: ["*"], effects: [read, write]}
      - {organizations: [acme], operations: [v1-get-project]}
    deny:
      - {projects: [abcdefghijklmnopqrst], operations: [v1-pause-a-project]}
  - name: platform
    admin: true
    members: [{group: platform-eng}]
    allow:
      - {organizations: ["*"], projects: ["*"], branches: true, account: true, scopes: ["*"], permissions: ["*"]}
`

// stage is a portal with a real identity service over a real store, and a real OpenID provider.
type stage struct {
	*httptest.Server
	corp     *idp.Provider
	identity *identity.Service
	catalog  *catalog.Catalog
	audit    auditLog // of what is changed through the portal
}

// auditLog is a log and where it is kept.
type auditLog struct {
	log *audit.Log
	dir string
}

func newLog(t *testing.T) auditLog {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return auditLog{log, dir}
}

// records ends the log and returns its intents and outcomes.
func (l auditLog) records(t *testing.T) (found []audit.Record) {
	t.Helper()
	if err := l.log.Close(); err != nil {
		t.Fatal(err)
	}
	for line, err := range audit.Lines(t.Context(), l.dir, audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Record.Phase == audit.Intent || line.Record.Phase == audit.Outcome {
			found = append(found, line.Record)
		}
	}
	return found
}

// newStage takes changes to the configuration before the portal is made.
func newStage(t *testing.T, changes ...func(*portal.Config)) *stage {
	t.Helper()
	front, corp := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	publicURL, issuerURL := "http://"+front.Listener.Addr().String(), "http://"+corp.Listener.Addr().String()
	s := &stage{Server: front}
	var err error
	if s.corp, err = idp.New(idp.Config{Issuer: issuerURL, People: people, Clients: []idp.Client{{
		ID: audience, Secret: "client-secret", RedirectURIs: []string{publicURL + "/-/callback", publicURL + "/-/"},
	}}}); err != nil {
		t.Fatal(err)
	}
	corp.Config.Handler = s.corp
	corp.Start()
	t.Cleanup(corp.Close)
	s.identity = newIdentity(t, identity.Config{PublicURL: publicURL, Issuers: []identity.Issuer{{
		Name: "corp", URL: issuerURL, Audience: []string{audience}, Client: &identity.Client{ID: audience, Secret: "client-secret"},
	}}})
	s.audit = newLog(t)
	config := portal.Config{Identity: s.identity, PublicURL: publicURL, Audit: s.audit.log,
		Service: func(context.Context) portal.Service { return portal.Service{} }, Purge: func(string, string) int { return 0 }}
	for _, change := range changes {
		change(&config)
	}
	front.Config.Handler = newPortal(t, &config)
	s.catalog = config.Catalog
	front.Start()
	t.Cleanup(front.Close)
	return s
}

func newIdentity(t *testing.T, config identity.Config) *identity.Service {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	service, err := identity.New(config, store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	return service
}

// newPortal fills in the catalogue and the policy, and stands behind what gives every request its id.
func newPortal(t *testing.T, config *portal.Config) http.Handler {
	t.Helper()
	if config.Catalog == nil {
		table, err := catalog.New()
		if err != nil {
			t.Fatal(err)
		}
		config.Catalog = table
	}
	if config.Policy == nil {
		loaded, err := policy.Load("policy.yaml", []byte(rules), config.Catalog)
		if err != nil {
			t.Fatal(err)
		}
		config.Policy = func() *policy.Policy { return loaded }
	}
	pages, err := portal.New(*config)
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "0123456789abcdef")
		if !portal.Serves(r) {
			t.Errorf("the portal does not serve %s", r.URL)
		}
		pages.ServeHTTP(w, r)
	})
}

// browser keeps cookies and follows redirects, as a person's does.
type browser struct {
	*http.Client
	t     *testing.T
	stage *stage
}

// answer is what came back at the end of all redirects.
type answer struct {
	status int
	header http.Header
	url    *url.URL
	body   string
}

// stranger is a browser that nobody has signed in with.
func (s *stage) stranger(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar}, t, s}
}

// signIn is a browser that somebody has signed in with, through the provider.
func (s *stage) signIn(t *testing.T, subject string) *browser {
	t.Helper()
	b := s.stranger(t)
	s.corp.SignInAs(subject)
	defer s.corp.SignInAs("")
	if got := b.get("/-/sign-in?issuer=corp"); got.status != http.StatusOK || got.url.Path != "/-/" {
		t.Fatalf("signing in as %s ends at %s with %d", subject, got.url, got.status)
	}
	return b
}

// bearer is a token of the company's own for somebody.
func (s *stage) bearer(subject string) string { return s.corp.Token(subject, audience) }

func (b *browser) get(path string) answer {
	b.t.Helper()
	return b.send(http.MethodGet, path, nil, nil)
}

// post fills in a form of the page at from, with its CSRF token.
func (b *browser) post(from, path string, fields url.Values) answer {
	b.t.Helper()
	if fields == nil {
		fields = url.Values{}
	}
	fields.Set("csrf", b.csrf(from))
	return b.send(http.MethodPost, path, fields, nil)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf is the token in the page's forms.
func (b *browser) csrf(page string) string {
	b.t.Helper()
	found := csrfField.FindStringSubmatch(b.get(page).body)
	if found == nil {
		b.t.Fatalf("no CSRF token on %s", page)
	}
	return found[1]
}

func (b *browser) send(method, path string, form url.Values, header http.Header) answer {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.stage.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := b.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, response.Request.URL, string(body)}
}

// api makes a call with a token and no cookie.
func (s *stage) api(t *testing.T, method, path, token, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, request.URL, string(got)}
}

// decode reads a JSON answer that must have the status.
func decode[T any](t *testing.T, a answer, status int) (value T) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return value
}

// wants checks that a page has the status and shows all of the texts.
func (a answer) wants(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d", a.url.Path, a.status, status)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s does not show %q", a.url.Path, text)
		}
	}
}

// hides checks that a page shows none of the texts.
func (a answer) hides(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			t.Errorf("%s shows %q", a.url.Path, text)
		}
	}
}

// mint makes a token of a signed-in person's through the form and returns it.
func (b *browser) mint(name string, fields url.Values) string {
	b.t.Helper()
	if fields == nil {
		fields = url.Values{}
	}
	fields.Set("name", name)
	got := b.post("/-/tokens", "/-/tokens", fields)
	secret := regexp.MustCompile(`sbp_[0-9a-f]{40}`).FindString(got.body)
	if secret == "" {
		b.t.Fatalf("no token on the page: %d %s", got.status, got.body)
	}
	return secret
}
