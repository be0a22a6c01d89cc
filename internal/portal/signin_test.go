package portal_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
)

func TestStrangerIsAskedToSignIn(t *testing.T) {
	s := newStage(t)
	b := s.stranger(t)
	home := b.get("/-/")
	home.wants(t, http.StatusOK, "Sign in with corp", "/-/sign-in?issuer=corp")
	for _, path := range []string{"/-/tokens", "/-/access", "/-/admin"} {
		got := b.get(path)
		got.wants(t, http.StatusUnauthorized, "Sign in with corp", "return="+url.QueryEscape(path))
		if got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", path)
		}
		got.hides(t, "csrf")
	}
}

func TestShortAddressesLeadToTheFirstPage(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{"/", "/-"} {
		if got := s.stranger(t).get(path); got.url.Path != "/-/" {
			t.Errorf("%s leads to %s, want /-/", path, got.url)
		}
	}
}

func TestSignInReturnsToThePageThatWasAskedFor(t *testing.T) {
	s := newStage(t)
	s.corp.SignInAs("ada")
	got := s.stranger(t).get("/-/sign-in?issuer=corp&return=%2F-%2Ftokens")
	if got.url.Path != "/-/tokens" {
		t.Errorf("ends at %s, want /-/tokens", got.url)
	}
	got.wants(t, http.StatusOK, "Ada Lovelace")
}

func TestOpenRedirect(t *testing.T) {
	s := newStage(t)
	s.corp.SignInAs("ada")
	for _, target := range []string{"//evil.example", `/\evil.example`, "/%09/evil.example", "https://evil.example/", "/-//evil.example", "/v1/projects", "javascript:alert(1)"} {
		got := s.stranger(t).get("/-/sign-in?issuer=corp&return=" + url.QueryEscape(target))
		if got.url.Host != strings.TrimPrefix(s.URL, "http://") || got.url.Path != "/-/" {
			t.Errorf("return to %q ends at %s, want the portal's first page", target, got.url)
		}
	}
}

func TestLoginCSRFAnotherSiteBeginsNoSignIn(t *testing.T) {
	s := newStage(t)
	s.corp.SignInAs("ada")
	got := s.stranger(t).send(http.MethodGet, "/-/sign-in?issuer=corp", nil, http.Header{"Sec-Fetch-Site": {"cross-site"}})
	got.wants(t, http.StatusOK, "Sign in with corp")
}

func TestCallbackThatNobodyBegan(t *testing.T) {
	s := newStage(t)
	got := s.stranger(t).get("/-/callback?code=stolen&state=stolen")
	got.wants(t, http.StatusUnauthorized, "not begun in this browser", "0123456789abcdef", `href="/-/"`)
	got.hides(t, "stolen")
}

func TestUnknownIssuer(t *testing.T) {
	newStage(t).stranger(t).get("/-/sign-in?issuer=nobody").wants(t, http.StatusBadRequest, "no sign-in of that name")
}

func TestIssuerThatIsDown(t *testing.T) {
	s := newStage(t)
	s.corp.SetDown(true)
	s.stranger(t).get("/-/sign-in?issuer=corp").wants(t, http.StatusServiceUnavailable, "Try again shortly")
}

func TestWithoutAnIssuerThePageSaysHowToGetAToken(t *testing.T) {
	pages := newPortal(t, &portal.Config{Identity: newIdentity(t, identity.Config{}), PublicURL: "http://127.0.0.1:8080"})
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/-/", nil))
	answer{w.Code, w.Header(), &url.URL{Path: "/-/"}, w.Body.String()}.wants(t, http.StatusOK, "gateway token create")
}

func TestSignOut(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	session := b.Jar.Cookies(mustURL(t, s.URL))
	got := b.post("/-/", "/-/sign-out", nil)
	got.wants(t, http.StatusOK, "Signed out", "/end_session")
	if refresh := got.header.Get("Refresh"); !strings.HasPrefix(refresh, "0; url="+s.corp.Issuer()+"/end_session?") {
		t.Errorf("Refresh is %q, want the provider's sign-out", refresh)
	}
	b.get("/-/tokens").wants(t, http.StatusUnauthorized)
	b.Jar.SetCookies(mustURL(t, s.URL), session)
	b.get("/-/tokens").wants(t, http.StatusUnauthorized) // the cookie is worth nothing any more
}

func TestSessionOfSomebodyWhoWasSuspended(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	if err := s.identity.Suspend(t.Context(), "corp", "ada", "left"); err != nil {
		t.Fatal(err)
	}
	got := b.get("/-/tokens")
	got.wants(t, http.StatusUnauthorized, "may not use this gateway any more")
	got.hides(t, "Ada Lovelace", "csrf")
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
