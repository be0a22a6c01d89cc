package identity_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox/idp"
)

// browser keeps cookies as a browser does, for the gateway alone.
type browser struct {
	s       *stage
	cookies map[string]*http.Cookie
}

func (s *stage) browser() *browser { return &browser{s, map[string]*http.Cookie{}} }

// ask makes a request to the gateway with the browser's cookies.
func (b *browser) ask(t testing.TB, path string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for _, c := range b.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

// keep takes the cookies of an answer.
func (b *browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c
	}
}

// begin starts a sign-in and returns where the browser is sent.
func (b *browser) begin(t testing.TB, returnTo string) *url.URL {
	t.Helper()
	w := httptest.NewRecorder()
	target, err := b.s.Begin(w, b.ask(t, "/-/signin"), "", returnTo)
	if err != nil {
		t.Fatal(err)
	}
	b.keep(w)
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// atProvider presses the button of a person and returns the path and query the browser is sent back with.
func (b *browser) atProvider(t testing.TB, at *url.URL, person idp.Person) *url.URL {
	t.Helper()
	q := at.Query()
	q.Set("login_hint", person.Subject)
	w := httptest.NewRecorder()
	b.s.corp.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, at.Path+"?"+q.Encode(), nil))
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || !strings.HasPrefix(back.String(), publicURL+identity.CallbackPath+"?") {
		t.Fatalf("the provider answered %d and sends the browser to %q", w.Code, back)
	}
	return back
}

// complete follows the way back.
func (b *browser) complete(t testing.TB, back *url.URL) (string, error) {
	t.Helper()
	w := httptest.NewRecorder()
	to, err := b.s.Complete(w, b.ask(t, back.RequestURI()), home)
	b.keep(w)
	return to, err
}

// signIn goes the whole way.
func (b *browser) signIn(t testing.TB, person idp.Person) {
	t.Helper()
	if _, err := b.complete(t, b.atProvider(t, b.begin(t, "/-/"), person)); err != nil {
		t.Fatal(err)
	}
}

func (b *browser) session(t testing.TB) (*identity.Session, error) {
	t.Helper()
	return b.s.Session(b.ask(t, "/-/"))
}

func TestSignIn(t *testing.T) {
	s := newStage(t)
	b := s.browser()
	at := b.begin(t, "/-/tokens?page=2")
	q := at.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" ||
		len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 || q.Get("redirect_uri") != publicURL+identity.CallbackPath ||
		!strings.Contains(q.Get("scope"), "openid") || !strings.Contains(q.Get("scope"), "groups") {
		t.Errorf("the provider is asked %v", q)
	}
	to, err := b.complete(t, b.atProvider(t, at, ada))
	if err != nil || to != "/-/tokens?page=2" {
		t.Fatalf("Complete = %q, %v", to, err)
	}
	session, err := b.session(t)
	if err != nil {
		t.Fatal(err)
	}
	c := session.Caller
	if c.Kind != identity.Person || c.Issuer != "corp" || c.Subject != ada.Subject || c.Email != ada.Email || !slices.Equal(c.Groups, ada.Groups) {
		t.Errorf("signed in as %+v", c)
	}
	secret, _ := s.mint(t, c)
	if got := s.good(t, secret); got.Subject != ada.Subject || !slices.Equal(got.Groups, ada.Groups) {
		t.Errorf("a token minted in the session stands for %+v", got)
	}
}

func TestCookiesOfASignIn(t *testing.T) {
	for url, prefix := range map[string]string{publicURL: "__Host-", "http://127.0.0.1:8080": ""} {
		s := newStage(t, func(c *identity.Config) { c.PublicURL = url })
		w := httptest.NewRecorder()
		if _, err := s.Begin(w, s.browser().ask(t, "/-/signin"), "corp", ""); err != nil {
			t.Fatal(err)
		}
		c := w.Result().Cookies()[0]
		if c.Name != prefix+"gateway_signin" || c.Secure != (prefix != "") || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s: the sign-in cookie is %v", url, c)
		}
	}
	s := newStage(t)
	b := s.browser()
	b.signIn(t, ada)
	c := b.cookies["__Host-gateway_session"]
	if len(b.cookies) != 1 || c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 26 {
		t.Errorf("after the sign-in the cookies are %v", b.cookies)
	}
}

func TestOpenRedirects(t *testing.T) {
	for path, want := range map[string]string{
		"/-/":                           "/-/",
		"/-/tokens":                     "/-/tokens",
		"/-/audit?team=payments&page=2": "/-/audit?team=payments&page=2",
		"/cli/login?session_id=a-b&token_name=cli_ada@host_1&public_key=04ab": "/cli/login?session_id=a-b&token_name=cli_ada@host_1&public_key=04ab",
		"":                                identity.Home,
		"/":                               identity.Home,
		"//evil":                          identity.Home,
		"///evil":                         identity.Home,
		`/\evil`:                          identity.Home,
		`\\evil`:                          identity.Home,
		"/%09/evil":                       identity.Home,
		"/\t/evil":                        identity.Home,
		"/-/\n/evil":                      identity.Home,
		"/-//evil":                        identity.Home,
		`/-/\evil`:                        identity.Home,
		"/-/%2f%2fevil":                   identity.Home,
		"/-/..//evil":                     identity.Home,
		"/-/../v1/projects":               identity.Home,
		"/-/./x":                          identity.Home,
		"https://evil":                    identity.Home,
		"https:/evil":                     identity.Home,
		"https:evil":                      identity.Home,
		"evil":                            identity.Home,
		"javascript:alert(1)":             identity.Home,
		"/-/?next=javascript:x\r\nX:":     identity.Home,
		"/-/#//evil":                      identity.Home,
		"/-/@evil":                        identity.Home,
		"/v1/projects":                    identity.Home,
		"/cli/login/../../evil":           identity.Home,
		"/cli/loginx":                     identity.Home,
		"/-/" + strings.Repeat("a", 4096): identity.Home,
	} {
		if got := identity.SafeReturn(path); got != want {
			t.Errorf("SafeReturn(%q) = %q, want %q", path, got, want)
		}
	}
	s := newStage(t)
	b := s.browser()
	if to, err := b.complete(t, b.atProvider(t, b.begin(t, "//evil"), ada)); err != nil || to != identity.Home {
		t.Errorf("a sign-in that should end at //evil ends at %q, %v", to, err)
	}
}

func FuzzSafeReturn(f *testing.F) {
	f.Add("/-/")
	f.Add("/cli/login?a=b")
	f.Add("//evil")
	f.Fuzz(func(t *testing.T, path string) {
		got := identity.SafeReturn(path)
		u, err := url.Parse(got)
		if err != nil || u.IsAbs() || u.Host != "" || strings.ContainsAny(got, "\\\t\r\n") || strings.HasPrefix(got, "//") {
			t.Errorf("SafeReturn(%q) = %q leaves the gateway", path, got)
		}
	})
}

// Every way in which the browser can come back wrongly. Each case spoils a sign-in that would have worked.
func TestForgedSignIns(t *testing.T) {
	set := func(name string, values ...string) func(*testing.T, *browser, url.Values) {
		return func(_ *testing.T, _ *browser, q url.Values) { q[name] = values }
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, *browser, url.Values)
		want  identity.Reason
	}{
		"no state":       {set("state"), identity.SignInState},
		"an empty state": {set("state", ""), identity.SignInState},
		"another state":  {set("state", "AAAAAAAAAAAAAAAAAAAAAAAAAA"), identity.SignInState},
		"no code":        {set("code"), identity.SignInState},
		"another code":   {set("code", "stolen"), identity.SignInRefused},
		"another issuer": {set("iss", "https://evil.example"), identity.SignInState},
		"refused there":  {set("error", "access_denied"), identity.SignInRefused},
		"two codes":      {func(_ *testing.T, _ *browser, q url.Values) { q.Add("code", "second") }, identity.SignInState},
		"two states":     {func(_ *testing.T, _ *browser, q url.Values) { q.Add("state", "second") }, identity.SignInState},
		"login CSRF: a browser that began none": {func(_ *testing.T, b *browser, _ url.Values) {
			clear(b.cookies)
		}, identity.SignInState},
		"login CSRF: a browser that began another": {func(t *testing.T, b *browser, _ url.Values) {
			clear(b.cookies)
			b.begin(t, "/-/")
		}, identity.SignInState},
		"a cookie made up": {func(_ *testing.T, b *browser, _ url.Values) {
			b.cookies["__Host-gateway_signin"].Value = "eyJzIjoiIn0"
		}, identity.SignInState},
		"a cookie changed": {func(_ *testing.T, b *browser, _ url.Values) {
			c := b.cookies["__Host-gateway_signin"]
			flipped := []byte(c.Value)
			flipped[len(flipped)/2] ^= 1
			c.Value = string(flipped)
		}, identity.SignInState},
		"a cookie of another name": {func(_ *testing.T, b *browser, _ url.Values) {
			c := b.cookies["__Host-gateway_signin"]
			delete(b.cookies, c.Name)
			c.Name = "gateway_signin"
			b.cookies[c.Name] = c
		}, identity.SignInState},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			b := s.browser()
			back := b.atProvider(t, b.begin(t, "/-/"), ada)
			q := back.Query()
			code := q.Get("code")
			c.spoil(t, b, q)
			back.RawQuery = q.Encode()
			_, err := b.complete(t, back)
			wantRefusal(t, err, http.StatusUnauthorized, c.want, code, q.Get("state"), "client-secret")
			if _, err := b.session(t); err == nil {
				t.Error("it left a session behind")
			}
		})
	}
}

func TestASignInCanBeUsedOnce(t *testing.T) {
	s := newStage(t)
	b := s.browser()
	at := b.begin(t, "/-/")
	back := b.atProvider(t, at, ada)
	first, second := s.browser(), s.browser()
	for name, c := range b.cookies {
		first.cookies[name], second.cookies[name] = c, c
	}
	if _, err := b.complete(t, back); err != nil {
		t.Fatal(err)
	}
	_, err := first.complete(t, back) // the code again
	wantRefusal(t, err, http.StatusUnauthorized, identity.SignInRefused, back.Query().Get("code"))
	if len(first.cookies) != 0 {
		t.Errorf("the used cookie stays: %v", first.cookies)
	}
	// The same sign-in with a code that the provider takes, such as a second one it gave for it.
	token := s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", at.Query().Get("nonce")))
	s.UseTransport("corp", inProcess{instead(s.corp, "/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": token})
	})})
	_, err = second.complete(t, back)
	wantRefusal(t, err, http.StatusUnauthorized, identity.SignInState, back.Query().Get("code"))
}

// A stolen code, not used yet, in a sign-in of the thief's own: PKCE ties it to the browser that began.
func TestAStolenCode(t *testing.T) {
	s := newStage(t)
	victim, thief := s.browser(), s.browser()
	code := victim.atProvider(t, victim.begin(t, "/-/"), ada).Query().Get("code")
	q := thief.atProvider(t, thief.begin(t, "/-/"), bob).Query()
	q.Set("code", code)
	_, err := thief.complete(t, &url.URL{Path: identity.CallbackPath, RawQuery: q.Encode()})
	wantRefusal(t, err, http.StatusUnauthorized, identity.SignInRefused, code)
	thief.wantSignedOut(t)
}

func TestASignInMayNotTakeForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		b := s.browser()
		at := b.begin(t, "/-/")
		time.Sleep(identity.SignInTime)
		_, err := b.complete(t, b.atProvider(t, at, ada)) // a browser that keeps the cookie longer than told
		wantRefusal(t, err, http.StatusUnauthorized, identity.SignInState)
	})
}

// What the provider's token endpoint answers must be an ID token for this sign-in.
func TestForgedIDTokens(t *testing.T) {
	s := newStage(t)
	for name, c := range map[string]struct {
		token func(nonce string) string // "" for none
		want  identity.Reason
	}{
		"no nonce":      {func(string) string { return s.corp.Token(ada.Subject, clientID) }, identity.SignInState},
		"another nonce": {func(string) string { return s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", "stale")) }, identity.SignInState},
		"for the API, not the portal": {func(n string) string {
			return s.corp.Token(ada.Subject, audience, idp.Claim("nonce", n))
		}, identity.WrongAudience},
		"signed by a stranger": {func(n string) string {
			return s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", n), idp.SignedByStranger())
		}, identity.BadSignature},
		"not signed": {func(n string) string {
			return s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", n), idp.Unsigned())
		}, identity.BadSignature},
		"expired": {func(n string) string {
			return s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", n), idp.Expired())
		}, identity.Expired},
		"of another issuer": {func(n string) string {
			return s.corp.Token(ada.Subject, clientID, idp.Claim("nonce", n), idp.Claim("iss", "https://evil.example"))
		}, identity.BadClaims},
		"none at all": {func(string) string { return "" }, identity.SignInRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			b := s.browser()
			at := b.begin(t, "/-/")
			back := b.atProvider(t, at, ada)
			token := c.token(at.Query().Get("nonce"))
			s.UseTransport("corp", inProcess{instead(s.corp, "/token", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "access-token-1", "token_type": "Bearer", "id_token": token})
			})})
			_, err := b.complete(t, back)
			wantRefusal(t, err, http.StatusUnauthorized, c.want, token, "access-token-1")
		})
	}
}

func TestAProviderThatFailsDuringASignIn(t *testing.T) {
	for path, answer := range map[string]http.HandlerFunc{
		"/token":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret internals", http.StatusBadGateway) },
		"/userinfo": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) },
	} {
		t.Run(path, func(t *testing.T) {
			s := newStage(t, func(c *identity.Config) { c.Issuers[0].Claims.Groups = "roles" }) // to ask userinfo
			b := s.browser()
			back := b.atProvider(t, b.begin(t, "/-/"), ada)
			s.UseTransport("corp", inProcess{instead(s.corp, path, answer)})
			_, err := b.complete(t, back)
			wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, back.Query().Get("code"), "client-secret", "secret internals")
		})
	}
	s := newStageAlone(t)
	s.corp.SetDown(true)
	if _, err := s.Begin(httptest.NewRecorder(), s.browser().ask(t, "/-/signin"), "", ""); problem.From(err).Status != http.StatusServiceUnavailable {
		t.Errorf("Begin at a provider that is down = %v, want 503", err)
	}
	if _, err := s.Begin(httptest.NewRecorder(), s.browser().ask(t, "/-/signin"), "evil", ""); problem.From(err).Status != http.StatusBadRequest {
		t.Errorf("Begin at a provider that is none = %v, want 400", err)
	}
}
