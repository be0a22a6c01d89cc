package identity_test

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
)

const refreshEvery = 15 * time.Minute

// refreshing has refresh tokens asked for and kept.
func refreshing(t testing.TB) func(*identity.Config) {
	t.Helper()
	keys, err := seal.Load(secret.Source{Env: "KEY"}, func(string) string { return strings.Repeat("5e", 32) })
	if err != nil {
		t.Fatal(err)
	}
	return func(c *identity.Config) { c.Seal, c.RefreshMembership = keys, refreshEvery }
}

// member is somebody signed in with a token, on a stage that refreshes in the background until the test ends.
type member struct {
	*stage
	browser *browser
	token   string
}

func newMember(t *testing.T, changes ...func(*identity.Config)) *member {
	t.Helper()
	m := idleMember(t, changes...)
	m.background(t, m.Service)
	return m
}

// idleMember is a member whose stage does not refresh yet.
func idleMember(t *testing.T, changes ...func(*identity.Config)) *member {
	t.Helper()
	s := newStageAlone(t, append([]func(*identity.Config){refreshing(t)}, changes...)...)
	b := s.browser()
	b.signIn(t, ada)
	session, err := b.session(t)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{stage: s, browser: b}
	m.token, _ = s.mint(t, session.Caller)
	return m
}

// background refreshes until the test ends.
func (s *stage) background(t *testing.T, service *identity.Service) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); service.RefreshMembership(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// round waits until everybody has been asked about once more.
func round() { time.Sleep(refreshEvery * 5 / 4); synctest.Wait() }

func (m *member) suspended(t *testing.T) {
	t.Helper()
	m.refused(t, m.token, identity.Suspended)
	_, err := m.browser.session(t)
	wantRefusal(t, err, http.StatusUnauthorized, identity.Suspended)
}

func TestWhoLeavesTheCompanyLosesTokensAndSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		for range 5 { // each round's token is a new one
			round()
			m.good(t, m.token)
		}
		m.corp.Leave(ada.Subject)
		round()
		m.suspended(t)

		m.corp.Put(ada) // they have them back
		round()
		m.refused(t, m.token, identity.Suspended)
		m.browser.signIn(t, ada)
		m.good(t, m.token)
		round()
		m.good(t, m.token)
	})
}

func TestAnOutageOfTheIssuerIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		m.corp.SetDown(true)
		for range 4 {
			round()
			m.good(t, m.token)
		}
		m.corp.SetDown(false)
		round()
		m.good(t, m.token)
		m.corp.Leave(ada.Subject) // its refresh token is still the one to ask with
		round()
		m.suspended(t)
	})
}

func TestGroupsChangeInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		moved := ada
		moved.Groups = []string{"research"}
		m.corp.Put(moved)
		round()
		if got := m.good(t, m.token).Groups; !slices.Equal(got, moved.Groups) {
			t.Errorf("the token has the groups %q, want %q", got, moved.Groups)
		}
		if session, err := m.browser.session(t); err == nil && !slices.Equal(session.Caller.Groups, moved.Groups) {
			t.Errorf("the session has the groups %q, want %q", session.Caller.Groups, moved.Groups)
		}
	})
}

// Somebody whom the issuer goes on vouching for need not sign in again for their tokens' sake.
func TestARefreshIsAProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t, func(c *identity.Config) { c.RefreshMembership = 24 * time.Hour })
		time.Sleep(identity.DefaultReauthenticateAfter + 3*24*time.Hour)
		synctest.Wait()
		m.good(t, m.token)
	})
}

// Presented twice, an issuer takes a refresh token for stolen: of two replicas one asks.
func TestReplicasDoNotAskTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t)
		config := identity.Config{PublicURL: publicURL, Issuers: []identity.Issuer{{Name: "corp", URL: corpURL, Audience: []string{audience},
			Client: &identity.Client{ID: clientID, Secret: "client-secret"}}}}
		refreshing(t)(&config)
		other := newService(t, config, m.store)
		other.UseTransport("corp", inProcess{m.corp})
		m.background(t, other)
		before := m.corp.Requests(idp.TokenEndpoint)
		for range 8 {
			time.Sleep(refreshEvery)
		}
		synctest.Wait()
		if asked := m.corp.Requests(idp.TokenEndpoint) - before; asked < 6 || asked > 10 {
			t.Errorf("two replicas asked %d times in eight intervals, want about 8", asked)
		}
		m.good(t, m.token)
	})
}

// A store that fails between the issuer's answer and its record must lose neither the token nor the refusal.
func TestAHiccupOfTheStoreLosesNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := idleMember(t)
		var asked atomic.Bool
		m.UseTransport("corp", inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.corp.ServeHTTP(w, r)
			if r.URL.Path == "/token" && asked.CompareAndSwap(false, true) {
				m.store.failing.Store(true)
				time.AfterFunc(2*time.Second, func() { m.store.failing.Store(false) })
			}
		})})
		m.background(t, m.Service)
		round()
		if !asked.Swap(false) {
			t.Fatal("nobody asked")
		}
		m.corp.Leave(ada.Subject)
		round()
		m.suspended(t)
	})
}

func TestRefreshTokensAreStoredSealed(t *testing.T) {
	s := newStageAlone(t, refreshing(t))
	issued := make(chan string, 1)
	s.UseTransport("corp", inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := &recorder{ResponseWriter: w}
		s.corp.ServeHTTP(kept, r)
		if _, after, ok := strings.Cut(kept.body.String(), `"refresh_token":"`); ok {
			token, _, _ := strings.Cut(after, `"`)
			issued <- token
		}
	})})
	s.browser().signIn(t, ada)
	token, stored := <-issued, 0
	for _, table := range []string{"refresh", "owners", "sessions"} {
		if err := s.store.Scan(t.Context(), table, func(key string, value []byte) error {
			stored++
			if bytes.Contains(value, []byte(token)) {
				t.Errorf("table %s holds the refresh token", table)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if stored != 3 {
		t.Errorf("%d records are stored, want the refresh token, the owner and the session", stored)
	}
}

func TestWithoutASealKeyNoRefreshTokenIsAskedFor(t *testing.T) {
	for name, change := range map[string]func(*identity.Config){
		"no key":     func(c *identity.Config) { c.Seal = nil },
		"turned off": func(c *identity.Config) { c.RefreshMembership = 0 },
	} {
		s := newStage(t, refreshing(t), change)
		if scope := s.browser().begin(t, "/-/").Query().Get("scope"); strings.Contains(scope, "offline_access") {
			t.Errorf("%s: the issuer is asked for %q", name, scope)
		}
	}
}

func TestPrompt(t *testing.T) {
	s := newStage(t, func(c *identity.Config) { c.Issuers[0].Client.Prompt = "consent" })
	if got := s.browser().begin(t, "/-/").Query().Get("prompt"); got != "consent" {
		t.Errorf("the issuer is asked for the prompt %q, want consent", got)
	}
}

// recorder keeps a copy of an answer's body.
type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}
