package identity_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
)

func TestRotatedKeysAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		before := s.corp.Token(ada.Subject, audience)
		s.good(t, before)
		time.Sleep(identity.RefetchAfter)
		if err := s.corp.RotateKeys(); err != nil {
			t.Fatal(err)
		}
		s.good(t, s.corp.Token(ada.Subject, audience))
		s.good(t, before)
		s.good(t, s.corp.Token(ada.Subject, audience, idp.Header("kid", nil)))
	})
}

// A key that was rotated in right after the keys were read refuses nobody, and no stranger can keep a sign-in from
// learning of it.
func TestAKeyRotatedInRightAfterTheKeysWereRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		s.good(t, s.corp.Token(ada.Subject, audience))
		rotate := func() {
			t.Helper()
			if err := s.corp.RotateKeys(); err != nil {
				t.Fatal(err)
			}
		}
		rotate()
		s.good(t, s.corp.Token(ada.Subject, audience))

		rotate()
		for i := range 50 {
			s.refused(t, s.corp.Token(ada.Subject, audience, idp.Header("kid", fmt.Sprint(i))), identity.BadSignature)
		}
		rotate()
		s.browser().signIn(t, ada)
	})
}

// Made-up key ids, and bad signatures under a good one, cost the issuer one question each RefetchAfter.
func TestKeySetFloodByUnknownKeyIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		s.good(t, s.corp.Token(ada.Subject, audience))
		start, asked := time.Now(), s.corp.Requests(idp.KeySet)
		stranger := s.corp.Token(ada.Subject, audience, idp.SignedByStranger())
		for i := range 300 {
			s.refused(t, s.corp.Token(ada.Subject, audience, idp.Header("kid", fmt.Sprint(i))), identity.BadSignature)
			s.refused(t, stranger, identity.BadSignature)
			time.Sleep(100 * time.Millisecond)
		}
		allowed := int(time.Since(start)/identity.RefetchAfter) + 1
		if got := s.corp.Requests(idp.KeySet) - asked; got > allowed {
			t.Errorf("600 bad tokens in %v asked the issuer %d times, want at most %d", time.Since(start), got, allowed)
		}
	})
}

func TestAnIssuerThatIsDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		s.corp.SetDown(true)
		token := s.corp.Token(ada.Subject, audience)
		_, err := s.bearer(t, token)
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, token)

		s.corp.SetDown(false)
		_, err = s.bearer(t, token) // too early for another question
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, token)
		time.Sleep(identity.BackoffMax)
		s.good(t, token)
	})
}

func TestAnOutageIsAskedAboutLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		s.corp.SetDown(true)
		token := s.corp.Token(ada.Subject, audience, idp.Claim("exp", time.Now().Add(48*time.Hour).Unix()))
		for range 600 {
			_, err := s.bearer(t, token)
			wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, token)
			time.Sleep(time.Second)
		}
		// 1, 2, 4, 8, 16, 32 and then 60 seconds apart.
		if got := s.corp.Requests(idp.Discovery); got < 10 || got > 17 {
			t.Errorf("600 tokens in ten minutes asked %d times, want about 16", got)
		}
	})
}

func TestAnOutageStopsNobodyWhoseKeyIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		long := time.Now().Add(48 * time.Hour).Unix()
		remembered := s.corp.Token(ada.Subject, audience, idp.Claim("exp", long))
		s.good(t, remembered)
		fresh := s.corp.Token(bob.Subject, audience, idp.Claim("exp", long))
		stranger := s.corp.Token(ada.Subject, audience, idp.SignedByStranger())
		if err := s.corp.RotateKeys(); err != nil {
			t.Fatal(err)
		}
		rotated := s.corp.Token(ada.Subject, audience, idp.Claim("exp", long))
		s.corp.SetDown(true)
		time.Sleep(3 * identity.RingAge)
		s.good(t, remembered)
		s.good(t, fresh)
		s.refused(t, stranger, identity.BadSignature)
		_, err := s.bearer(t, rotated) // nobody can say whether this key is the issuer's
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, rotated)
	})
}

func TestManyFirstTokensAskTheIssuerOnce(t *testing.T) {
	s := newStageAlone(t)
	tokens := make(chan string, 32)
	for range cap(tokens) {
		tokens <- s.corp.Token(ada.Subject, audience)
	}
	close(tokens)
	done := make(chan error, cap(tokens))
	for token := range tokens {
		go func() {
			_, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, home)
			done <- err
		}()
	}
	for range cap(tokens) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := s.corp.Requests(idp.KeySet); got != 1 {
		t.Errorf("32 first tokens read the key set %d times, want once", got)
	}
	if err := s.AskLate(t.Context(), "corp"); err != nil {
		t.Error(err)
	}
	if got := s.corp.Requests(idp.KeySet); got != 1 {
		t.Errorf("with a late one the key set was read %d times, want once", got)
	}
}

// What a broken or hostile issuer answers is an outage, in one short line.
func TestAnIssuerThatAnswersNonsense(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	document := func(jwks string) string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"https://login.example/a","token_endpoint":"https://login.example/t"}`, corpURL, jwks)
	}
	const discovery, jwks = "/.well-known/openid-configuration", "/jwks"
	moved := http.RedirectHandler(corpURL+"/moved", http.StatusFound).ServeHTTP
	for name, c := range map[string]struct {
		path   string
		answer http.HandlerFunc
	}{
		"discovery of another issuer":  {discovery, answer(200, strings.Replace(document(corpURL+"/jwks"), corpURL, "https://evil.example", 1))},
		"discovery without end":        {discovery, answer(200, `{"issuer":"`+strings.Repeat("x", identity.MaxIssuerBytes))},
		"discovery is an error page":   {discovery, answer(500, "<html>\n"+strings.Repeat("very broken\n", 1000))},
		"discovery redirects":          {discovery, moved},
		"keys in plain HTTP":           {discovery, answer(200, document("http://login.example/jwks"))},
		"keys in a file":               {discovery, answer(200, document("file:///etc/passwd"))},
		"no keys":                      {discovery, answer(200, document(""))},
		"sign-in page is a script":     {discovery, answer(200, strings.Replace(document(corpURL+"/jwks"), "https://login.example/a", "javascript:alert(1)", 1))},
		"key set is no JSON":           {jwks, answer(200, "<html>")},
		"key set without keys":         {jwks, answer(200, `{"keys":[]}`)},
		"key set of thousands of keys": {jwks, answer(200, `{"keys":[`+strings.Repeat(`{},`, 5000)+`{}]}`)},
		"key set without end":          {jwks, answer(200, `{"keys":[`+strings.Repeat(" ", identity.MaxIssuerBytes)+`]}`)},
		"key set missing":              {jwks, answer(404, "")},
		"key set redirects":            {jwks, moved},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			good := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // where the redirects lead
				r.URL.Path = c.path
				s.corp.ServeHTTP(w, r)
			})
			s.UseTransport("corp", inProcess{instead(instead(s.corp, c.path, c.answer), "/moved", good)})
			token := s.corp.Token(ada.Subject, audience)
			_, err := s.bearer(t, token)
			wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, token)
			if text := err.Error(); len(text) > 600 || strings.Contains(text, "\n") {
				t.Errorf("the error has %d bytes or several lines: %.300q", len(text), text)
			}
		})
	}
}

// Over a real connection, with the issuer's own certificate authority.
func TestAnIssuerWithItsOwnAuthority(t *testing.T) {
	var corp http.Handler
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { corp.ServeHTTP(w, r) }))
	defer server.Close()
	provider, err := idp.New(idp.Config{Issuer: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	corp = provider
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := provider.Token(ada.Subject, audience)
	config := identity.Config{Issuers: []identity.Issuer{{Name: "corp", URL: server.URL, Audience: []string{audience}}}}

	trusting := config
	trusting.Issuers = []identity.Issuer{config.Issuers[0]}
	trusting.Issuers[0].CAFile = ca
	s := newService(t, trusting, openState(t, t.TempDir()))
	if _, err := s.Authenticate(t.Context(), []string{"Bearer " + token}, home); err != nil {
		t.Errorf("with the authority: %v", err)
	}
	s = newService(t, config, openState(t, t.TempDir()))
	_, err = s.Authenticate(t.Context(), []string{"Bearer " + token}, home)
	wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable, token)
}
