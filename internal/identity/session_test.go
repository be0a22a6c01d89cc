package identity_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

const sessionCookie = "__Host-gateway_session"

func (b *browser) wantSignedOut(t testing.TB) {
	t.Helper()
	if session, err := b.session(t); problem.From(err).Status != http.StatusUnauthorized {
		t.Errorf("session %+v, %v, want 401", session, err)
	}
}

func (b *browser) wantSignedIn(t testing.TB) *identity.Session {
	t.Helper()
	session, err := b.session(t)
	if err != nil {
		t.Fatalf("not signed in: %v", err)
	}
	return session
}

// end signs out and returns where the browser is sent.
func (b *browser) end(t testing.TB) *url.URL {
	t.Helper()
	w := httptest.NewRecorder()
	to, err := b.s.End(w, b.ask(t, "/-/signout"))
	if err != nil {
		t.Fatal(err)
	}
	b.keep(w)
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSessionFixation(t *testing.T) {
	s := newStage(t)
	victim, attacker := s.browser(), s.browser()
	attacker.signIn(t, bob)
	known := *attacker.cookies[sessionCookie]
	victim.cookies[sessionCookie] = &known // planted
	victim.signIn(t, ada)
	if victim.cookies[sessionCookie].Value == known.Value {
		t.Error("the sign-in took over a session name somebody else knows")
	}
	attacker.wantSignedOut(t)

	made := s.browser()
	made.cookies[sessionCookie] = &http.Cookie{Name: sessionCookie, Value: "MADEUPMADEUPMADEUPMADEUPMA"}
	made.wantSignedOut(t)
	made.signIn(t, ada)
	if made.cookies[sessionCookie].Value == "MADEUPMADEUPMADEUPMADEUPMA" {
		t.Error("the sign-in took over a session name the browser made up")
	}
}

func TestASessionEnds(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newStage(t).browser()
			b.signIn(t, ada)
			for range 2 {
				time.Sleep(identity.SessionIdle - time.Minute)
				b.wantSignedIn(t)
			}
			time.Sleep(identity.SessionIdle)
			b.wantSignedOut(t)
		})
	})
	t.Run("absolutely", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newStage(t).browser()
			b.signIn(t, ada)
			end := b.wantSignedIn(t).Expires
			for time.Until(end) > time.Hour {
				time.Sleep(time.Hour)
				b.wantSignedIn(t)
			}
			time.Sleep(time.Until(end))
			b.wantSignedOut(t)
		})
	})
	t.Run("by suspension", func(t *testing.T) {
		s := newStage(t)
		b := s.browser()
		b.signIn(t, ada)
		if err := s.Suspend(t.Context(), "corp", ada.Subject, "refresh refused"); err != nil {
			t.Fatal(err)
		}
		b.wantSignedOut(t)
		b.signIn(t, ada) // the provider vouches for them again
		b.wantSignedIn(t)
	})
	t.Run("by signing out", func(t *testing.T) {
		s := newStage(t)
		b, elsewhere := s.browser(), s.browser()
		b.signIn(t, ada)
		elsewhere.signIn(t, ada)
		kept := *b.cookies[sessionCookie]
		to := b.end(t)
		if q := to.Query(); to.Host != "login.example" || q.Get("client_id") != clientID || q.Get("post_logout_redirect_uri") != publicURL+"/-/" {
			t.Errorf("the browser is sent to %s, want the provider's sign-out", to)
		}
		if len(b.cookies) != 0 {
			t.Errorf("cookies stay: %v", b.cookies)
		}
		b.cookies[sessionCookie] = &kept
		b.wantSignedOut(t)
		elsewhere.wantSignedIn(t)
		if to := s.browser().end(t); to.String() != identity.Home {
			t.Errorf("somebody not signed in is sent to %s", to)
		}
	})
}

// Somebody whose page loads while they sign out stays signed out.
func TestAPageViewDuringASignOutBringsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		b := s.browser()
		b.signIn(t, ada)
		time.Sleep(time.Hour) // so that the view is noted
		view := b.ask(t, "/-/")
		s.store.reading = func(string) {
			s.store.reading = nil
			b.end(t)
		}
		_, _ = s.Session(view)
		if _, err := s.Session(view); problem.From(err).Status != http.StatusUnauthorized {
			t.Errorf("after the sign-out: %v, want 401", err)
		}
	})
}

func TestSessionsSurviveARestartAndTrouble(t *testing.T) {
	s := newStage(t)
	b := s.browser()
	b.signIn(t, ada)
	before := b.wantSignedIn(t)

	restarted := newService(t, identity.Config{PublicURL: publicURL}, s.store)
	session, err := restarted.Session(b.ask(t, "/-/"))
	if err != nil || session.Caller.Subject != ada.Subject || session.CSRF != before.CSRF || !slices.Equal(session.Caller.Groups, ada.Groups) {
		t.Errorf("after a restart: %+v, %v", session, err)
	}
	s.store.broken = errors.New("connection reset")
	if _, err := b.session(t); problem.From(err).Status != http.StatusServiceUnavailable {
		t.Errorf("while the state is out of order: %v, want 503", err)
	}
	s.store.broken = nil
	b.wantSignedIn(t)
}

func TestCSRFTokens(t *testing.T) {
	s := newStage(t)
	b, other := s.browser(), s.browser()
	b.signIn(t, ada)
	other.signIn(t, ada)
	session := b.wantSignedIn(t)
	if err := session.CheckCSRF(session.CSRF); err != nil {
		t.Errorf("its own: %v", err)
	}
	if again := b.wantSignedIn(t); again.CSRF != session.CSRF {
		t.Error("the token changes between two pages")
	}
	for name, token := range map[string]string{
		"none":                   "",
		"another session's":      other.wantSignedIn(t).CSRF,
		"the session's own name": b.cookies[sessionCookie].Value,
		"a part":                 session.CSRF[:len(session.CSRF)-1],
	} {
		if err := session.CheckCSRF(token); problem.From(err).Code != problem.CSRF {
			t.Errorf("%s: %v, want the code csrf", name, err)
		}
	}
	if err := (&identity.Session{}).CheckCSRF(""); err == nil {
		t.Error("a session without a token takes no token for its own")
	}
}

func TestAPlantedSecondCookie(t *testing.T) {
	s := newStage(t)
	b, attacker := s.browser(), s.browser()
	b.signIn(t, ada)
	attacker.signIn(t, bob)
	r := b.ask(t, "/-/")
	r.AddCookie(attacker.cookies[sessionCookie])
	if _, err := s.Session(r); problem.From(err).Status != http.StatusUnauthorized {
		t.Errorf("two session cookies: %v, want 401", err)
	}
}

// Who reads the state directory can take over no session, and finds neither code nor ID token.
func TestSessionsAreStoredAsHashes(t *testing.T) {
	dir := t.TempDir()
	s := newStage(t)
	s.store.Store = openState(t, dir)
	b := s.browser()
	back := b.atProvider(t, b.begin(t, "/-/"), ada)
	if _, err := b.complete(t, back); err != nil {
		t.Fatal(err)
	}
	session := b.wantSignedIn(t)
	file, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte(ada.Subject)) {
		t.Fatal("the sign-in is not in the file: the test looks in the wrong place")
	}
	for name, secret := range map[string]string{
		"session cookie": b.cookies[sessionCookie].Value, "CSRF token": session.CSRF, "code": back.Query().Get("code"),
		"state": back.Query().Get("state"), "client secret": "client-secret", "a JWT": "eyJ",
	} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("the %s is in the file", name)
		}
	}
}

func TestASessionCookieIsNoBearerToken(t *testing.T) {
	s := newStage(t)
	b := s.browser()
	b.signIn(t, ada)
	s.refused(t, b.cookies[sessionCookie].Value, identity.Malformed)
}
