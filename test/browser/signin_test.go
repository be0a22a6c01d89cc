package browser_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// signInReturns opens the longest address there is to come back to: the one that "supabase login" shows.
func signInReturns(t *testing.T, s *stage) {
	b := s.stranger(t)
	if status := b.open(cliLink("Ada’s desktop")); status != http.StatusUnauthorized {
		t.Errorf("the login link without a session: status %d, want 401", status)
	}
	b.wants("You ran supabase login")
	b.press("Sign in with corp")
	b.press("ada")
	b.wants("Ada Lovelace", "Sign in the Supabase CLI?")
	if name := eval[string](b, `document.getElementById("token-name").value`); name != "Ada’s desktop" {
		t.Errorf("after signing in the token is called %q, want Ada’s desktop", name)
	}
}

// signInRenewsSession plants a cookie first, as somebody would who wants to share the session that comes to be (session
// fixation).
func signInRenewsSession(t *testing.T, s *stage) {
	b := s.stranger(t)
	const planted = "PLANTEDPLANTEDPLANTEDPLANT"
	plant := network.SetCookieParams{Name: "gateway_session", Value: planted, URL: s.URL + "/"}
	if _, err := chromedp.Call(b.ctx, network.SetCookie, plant); err != nil {
		t.Fatal(err)
	}
	b.signIn("ada")
	cookie := b.cookie()
	switch {
	case cookie == nil:
		t.Fatal("no session cookie after signing in")
	case cookie.Value == planted:
		t.Error("signing in kept the session that was planted")
	case !cookie.HTTPOnly, cookie.SameSite != network.CookieSameSiteLax, cookie.Path != "/", strings.HasPrefix(cookie.Domain, "."):
		t.Errorf("the session cookie is %+v, want HttpOnly, SameSite=Lax, Path=/ and no Domain", cookie)
	}
	if ends := time.Unix(int64(cookie.Expires), 0); time.Until(ends) > 25*time.Hour {
		t.Errorf("the session cookie lives until %v, want a day at most", ends)
	}
	if visible := eval[string](b, "document.cookie"); visible != "" {
		t.Errorf("scripts can read the cookies %q", visible)
	}
	if got := s.withCookie(planted); got != http.StatusUnauthorized {
		t.Errorf("with the planted session: status %d, want 401", got)
	}
}

// withCookie is the status of a page for whoever holds a session's cookie.
func (s *stage) withCookie(value string) int {
	return s.Get("", "/-/tokens", "Cookie", "gateway_session="+value).StatusCode
}

func signOut(t *testing.T, s *stage) {
	b := s.stranger(t)
	b.signIn("ada")
	session := b.cookie().Value
	if got := s.withCookie(session); got != http.StatusOK {
		t.Fatalf("with the session's cookie: status %d, want 200", got)
	}

	b.press("Sign out")
	if cookie := b.cookie(); cookie != nil {
		t.Errorf("the browser keeps the session's cookie %s", cookie.Name)
	}
	if got := s.withCookie(session); got != http.StatusUnauthorized {
		t.Errorf("with the old session's cookie: status %d, want 401", got)
	}

	// From there the page leads to the provider, which asks whether to sign out there too, and back.
	do(b, chromedp.WaitVisible(named("Yes")))
	b.press("Yes")
	if b.path() != "/-/" {
		t.Errorf("signing out at the provider leads to %s, want /-/", b.path())
	}
	b.signIn("grace") // the provider asks who it is again, so the next person need not be the same
	b.wants("Grace Hopper")
}

func sessionOutlivesRestart(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	if err := s.Terminate(); err != nil {
		t.Fatal(err)
	}
	s.Launch()
	if status := b.open("/-/"); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
	b.wants("Hello, Ada Lovelace")
}

// newKey rotates the provider's keys twice, the second time right after the gateway has read them.
func newKey(t *testing.T, s *stage) {
	for range 2 {
		s.provider.turn("rotate")
		s.stranger(t).signIn("ada")
	}
}

func providerDown(t *testing.T, s *stage) {
	signedIn, stranger := s.as(t, "ada"), s.stranger(t)
	s.provider.turn("down")
	defer s.provider.turn("up")
	signedIn.open("/-/tokens")
	signedIn.wants("Your tokens")

	// What the gateway knows of the provider is kept, so the browser is sent there and finds it down.
	stranger.open("/-/")
	if status := stranger.press("Sign in with corp"); status != http.StatusServiceUnavailable {
		t.Errorf("signing in without the provider: status %d, want 503", status)
	}
}
