package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/test/harness"
)

// warm reads path until it is served from the cache.
func warm(t *testing.T, g *harness.Gateway, token, path string) harness.Answer {
	t.Helper()
	g.Get(token, path)
	a := g.Get(token, path)
	if a.StatusCode != http.StatusOK || !isHit(a) {
		t.Fatalf("%s is not served from the cache: %d %q", path, a.StatusCode, a.Header.Get("Cache-Status"))
	}
	return a
}

func isHit(a harness.Answer) bool {
	return strings.HasPrefix(a.Header.Get("Cache-Status"), "gateway; hit")
}

func TestCacheLeakToACallerWithoutTheGrant(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	path := own + "/functions"
	warmed := warm(t, g, g.Token("payments"), path)
	for who, token := range map[string]string{"another team": g.Token("field"), "no team": g.JWT("linus")} {
		for _, headers := range [][]string{nil, {"Cache-Control", "only-if-cached"}, {"If-None-Match", warmed.Header.Get("Etag")}, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}, {"X-Gateway-Team", "payments"}} {
			for _, method := range []string{"GET", "HEAD"} {
				a := g.Do(token, method, path, "", headers...)
				if a.StatusCode != http.StatusForbidden || a.Header.Get("Etag") != "" || a.Header.Get("Age") != "" {
					t.Errorf("%s: %s with %q was answered %d %v", who, method, headers, a.StatusCode, a.Header)
				}
			}
		}
	}
	for name, token := range map[string]string{"nobody": "", "an expired token": g.JWT("ada", idp.Expired()), "a token not valid yet": g.JWT("ada", idp.NotYet())} {
		if a := g.Get(token, path); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s got %d", name, a.StatusCode)
		}
	}
	if n := len(upstreamRequests(g, path)); n != 1 {
		t.Errorf("upstream was asked %d times, want once", n)
	}
}

func TestCacheLeakToARevokedToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token, path := g.Token("payments"), own+"/config/auth/sso/providers"
	warm(t, g, token, path)
	if _, stderr, err := g.Run("token", "revoke", token); err != nil {
		t.Fatalf("revoking: %v\n%s", err, stderr)
	}
	if a := g.Get(token, path); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked token was answered %d %q", a.StatusCode, a.Header.Get("Cache-Status"))
	}
}

func TestCacheLeakToAnExpiredToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	const leeway = 30 * time.Second // for clocks that differ
	token, path := g.JWT("ada", idp.Claim("exp", time.Now().Add(3*time.Second-leeway).Unix())), own+"/functions"
	warm(t, g, token, path)
	for deadline := time.Now().Add(10 * time.Second); g.Get(token, path).StatusCode != http.StatusUnauthorized; time.Sleep(50 * time.Millisecond) { // only time ends it
		if time.Now().After(deadline) {
			t.Fatal("a token is still good long after its end")
		}
	}
}

func TestCacheLeakAfterAGrantIsTakenBack(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token, path := g.JWT("ada"), own+"/functions"
	warm(t, g, token, path)
	warm(t, g, token, "/v1/projects")
	g.Write("policy.yaml", strings.Replace(harness.Policy, sandbox.Payments+", ", "", 1))
	for deadline := time.Now().Add(10 * time.Second); g.Get(token, path).StatusCode != http.StatusForbidden; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cache still serves what is no longer granted")
		}
	}
	if got := refs(t, g.Get(token, "/v1/projects")); !slices.Equal(got, []string{sandbox.Ledger}) {
		t.Errorf("the list still shows %v", got)
	}
}

func TestCacheLeakBetweenTeamsThatAskAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
			next.ServeHTTP(w, r)
		})
	}})
	want := map[string][]string{
		g.JWT("ada"):        {sandbox.Payments, sandbox.Ledger},
		g.Token("field"):    {sandbox.FieldApp},
		g.Token("payments"): {sandbox.Payments, sandbox.Ledger},
		g.JWT("linus"):      nil,
	}
	var asked sync.WaitGroup
	for token, mine := range want {
		for range 8 {
			asked.Go(func() {
				a := g.Get(token, "/v1/projects")
				if mine == nil {
					if a.StatusCode != http.StatusForbidden {
						t.Errorf("somebody without a team got %d %s", a.StatusCode, a.Text)
					}
					return
				}
				if got := refs(t, a); !slices.Equal(got, mine) {
					t.Errorf("one team sees %v, want %v", got, mine)
				}
			})
		}
	}
	close(release)
	asked.Wait()

	// The narrowed lists are different things, also to conditions.
	etag := g.Get(g.JWT("ada"), "/v1/projects").Header.Get("Etag")
	if a := g.Get(g.Token("field"), "/v1/projects", "If-None-Match", etag); a.StatusCode != http.StatusOK || etag == a.Header.Get("Etag") {
		t.Errorf("another team's ETag was answered %d, its own is %q", a.StatusCode, a.Header.Get("Etag"))
	}
	if a := g.Do(g.Token("field"), "HEAD", "/v1/projects", ""); a.Header.Get("Etag") == etag {
		t.Error("HEAD tells of another team's list")
	}
	if n := len(upstreamRequests(g, "/v1/projects")); n > 2 {
		t.Errorf("upstream was asked %d times: the lists were not shared", n)
	}
}

func TestCacheLeakOfASecret(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for _, path := range []string{own + "/api-keys?reveal=true", own + "/api-keys/legacy?reveal=true", own + "/config/auth", own + "/secrets", own + "/pgsodium", own + "/functions?reveal=true"} {
		for range 2 {
			if a := g.Get(token, path); a.StatusCode != http.StatusOK || isHit(a) {
				t.Errorf("%s: %d, %q", path, a.StatusCode, a.Header.Get("Cache-Status"))
			}
		}
		if a := g.Get(token, path, "Cache-Control", "only-if-cached"); a.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("%s is in the cache: %d", path, a.StatusCode)
		}
		bare, _, _ := strings.Cut(path, "?")
		if n := len(upstreamRequests(g, bare)); n != 2 {
			t.Errorf("upstream was asked for %s %d times, want each time", path, n)
		}
	}
}

// TestCachePoisoning: what is not part of the key must not change what others are shown.
func TestCachePoisoning(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a body that shows all that upstream was told
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("X-Ratelimit-Limit", "100000")
			w.Header().Set("X-Ratelimit-Remaining", "99999")
			w.Header().Set("X-Ratelimit-Reset", "60")
			// What an answer is negotiated by is known from Vary alone; the rest must not reach upstream at all.
			w.Header().Set("Vary", "Accept, Accept-Language, User-Agent, X-Client-Info")
			w.Write([]byte(r.Method + " " + r.Host + r.RequestURI + "\n" + strings.Join(flatten(r.Header), "\n")))
		})
	}})
	token := g.Token("payments")
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Scheme", "X-Original-Url", "X-Http-Method-Override", "Origin", "Referer", "Cookie", "Range",
		"Accept", "Accept-Language", "User-Agent", "X-Client-Info", "Prefer", "Accept-Encoding", "X-Gateway-Team", "Content-Type", "If-Range", "If-None-Match", "Idempotency-Key"} {
		path := own + "/functions?of=" + name
		g.Get(token, path, name, "poison")
		a := g.Get(token, path)
		if a.StatusCode != http.StatusOK || strings.Contains(a.Text, "poison") {
			t.Errorf("a value of %s that one caller sent is shown to another: %d %s", name, a.StatusCode, a.Text)
		}
	}
	for what, pair := range map[string][2]string{
		"order of parameters that repeat": {own + "/functions?a=1&b=2", own + "/functions?b=2&a=1"},
	} {
		first, second := g.Get(token, pair[0]), g.Get(token, pair[1])
		if !isHit(second) || first.Text != second.Text {
			t.Errorf("%s: asked for twice", what)
		}
	}
	for what, pair := range map[string][2]string{
		"projects":                   {own + "/functions?k", "/v1/projects/" + sandbox.Ledger + "/functions?k"},
		"a name and a name with ='":  {own + "/functions?k2", own + "/functions?k2="},
		"a plus and a space":         {own + "/functions?k3=a+b", own + "/functions?k3=a%2Bb"},
		"an ampersand in a value":    {own + "/functions?k4=a&b=c", own + "/functions?k4=a%26b=c"},
		"values in another case":     {own + "/functions?k5=a", own + "/functions?k5=A"},
		"paths in another operation": {own + "/functions?k6", own + "/branches?k6"},
		"one parameter and none":     {own + "/functions/x?k7", own + "/functions/x"},
		"a query and a longer one":   {own + "/functions?k8=1", own + "/functions?k8=1&k9=1"},
	} {
		first, second := g.Get(token, pair[0]), g.Get(token, pair[1])
		if isHit(second) || first.Text == second.Text && first.StatusCode == http.StatusOK {
			t.Errorf("%s: %s is answered with what %s brought", what, pair[1], pair[0])
		}
	}
	head := g.Do(token, "HEAD", own+"/functions?method", "")
	if a := g.Get(token, own+"/functions?method"); head.StatusCode != http.StatusOK || !strings.HasPrefix(a.Text, "GET ") {
		t.Errorf("behind a HEAD, a GET brings %q", a.Text)
	}
}

func TestAReadBegunBeforeAWriteIsNotStoredAfterIt(t *testing.T) {
	t.Parallel()
	reading, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			held := false
			if r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/sso/providers") {
				first.Do(func() { held = true })
			}
			if !held {
				next.ServeHTTP(w, r)
				return
			}
			early := newRecorded() // upstream looked before the write and answers after it
			next.ServeHTTP(early, r)
			close(reading)
			<-release
			early.replay(w)
		})
	}})
	token, path := g.Token("payments"), own+"/config/auth/sso/providers"
	read := make(chan harness.Answer)
	go func() { read <- g.Get(token, path) }()
	<-reading
	if a := g.Do(token, "POST", path, `{"type":"saml","metadata_url":"https://idp.example/metadata","domains":["late.example"]}`); a.StatusCode != http.StatusCreated {
		t.Fatalf("the write: %d %s", a.StatusCode, a.Text)
	}
	close(release)
	if a := <-read; strings.Contains(a.Text, "late.example") {
		t.Fatal("the read was not held: the test tests nothing")
	}
	if a := g.Get(token, path); isHit(a) || !strings.Contains(a.Text, "late.example") {
		t.Errorf("behind the write %q is served: %s", a.Header.Get("Cache-Status"), a.Text)
	}
}

// recorded is an answer held back.
type recorded struct {
	header http.Header
	status int
	body   strings.Builder
}

func newRecorded() *recorded { return &recorded{header: http.Header{}, status: http.StatusOK} }

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *recorded) replay(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	w.Write([]byte(r.body.String()))
}
