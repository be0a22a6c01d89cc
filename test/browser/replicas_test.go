package browser_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// sealKey is of no other use than these tests'.
var sealKey = strings.Repeat("5e", 32)

// newReplicas is a service of two replicas on one Redis that asks the provider every second who is still with the company.
// The provider wants consent before it gives a refresh token (OpenID Connect Core section 11).
func newReplicas(t *testing.T) (s *stage, other *harness.Gateway, server *redis.Server) {
	t.Helper()
	server = redis.Start(t)
	s = &stage{browser: newBrowser(t), tabs: map[string]*tab{}}
	s.Gateway = harness.Start(t, harness.Options{
		Redis: server.URL(), State: "seal_key: {file: seal-key}, ", Files: map[string]string{"seal-key": sealKey},
		Identity: "refresh_membership: 1s", Client: ", prompt: consent",
		Issuer: func(gateway string) string { s.provider = newProvider(t, gateway); return s.provider.issuer },
	})
	return s, s.Replica(), server
}

// TestReplicas is what people notice of a service that has several replicas.
func TestReplicas(t *testing.T) {
	needBrowser(t)
	s, other, server := newReplicas(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *stage, *harness.Gateway, *redis.Server)
	}{
		{"supabase login, and its end on the other replica", loginOnTwo},
		{"a hiccup of Redis ends no session", hiccup},
		{"a new group takes effect", moved},
		{"an outage of the provider is no refusal", outage},
		{"a refresh token that is refused suspends", refused},
		{"who leaves the company is suspended", left},
		{"administrators see the replicas", rosterShown},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s, other, server) })
	}
}

const functions = "/v1/projects/" + sandbox.Payments + "/functions"

func loginOnTwo(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	c, b := newCLI(t, s), s.as(t, "ada")
	secret, _, _ := c.login(b, "two", func(link string) { b.open(link[strings.Index(link, "/cli/login?"):]) })
	if output, well := c.projectsList(t); !well || !strings.Contains(output, sandbox.Payments) {
		t.Fatalf("supabase projects list after the login:\n%s", output)
	}
	for range 2 {
		if got := other.Get(secret, functions); got.StatusCode != http.StatusOK {
			t.Fatalf("the other replica answers %d: %s", got.StatusCode, got.Text)
		}
	}
	b.revoke("two")
	from := time.Now()
	for began := from; other.Get(secret, functions).StatusCode != http.StatusUnauthorized; began = time.Now() {
		if began.Sub(from) > time.Second {
			t.Fatalf("%v after the revocation the other replica still answers", began.Sub(from))
		}
	}
	if output, well := c.projectsList(t); well {
		t.Errorf("supabase projects list after the revocation:\n%s", output)
	}
}

func hiccup(t *testing.T, s *stage, _ *harness.Gateway, server *redis.Server) {
	b := s.as(t, "ada")
	server.Pause()
	status := b.open("/-/tokens")
	shown := b.text()
	server.Resume()
	if status != http.StatusServiceUnavailable || !strings.Contains(shown, "Try again") {
		t.Errorf("without Redis: status %d, want 503 and to try again:\n%s", status, shown)
	}
	if b.cookie() == nil {
		t.Fatal("the hiccup took the session's cookie")
	}
	eventually(t, "the session goes on", func() bool { return b.open("/-/tokens") == http.StatusOK })
	b.wants("Your tokens")
}

// eventually waits for another process.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never comes that %s", what)
		}
	}
}

// rounds waits until the provider was asked about everybody several times.
func rounds() { time.Sleep(3 * time.Second) }

func moved(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	secret := s.as(t, "linus").mint("moved")
	status := func() int { return other.Get(secret, functions).StatusCode }
	if got := status(); got != http.StatusForbidden {
		t.Fatalf("without a team: status %d, want 403", got)
	}
	s.provider.turn("move linus payments-eng")
	eventually(t, "the new group opens the project", func() bool { return status() == http.StatusOK })
}

func outage(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	secret := s.as(t, "ada").mint("outage")
	s.provider.turn("down")
	rounds()
	got := other.Get(secret, functions)
	s.provider.turn("up")
	if got.StatusCode != http.StatusOK {
		t.Errorf("while the provider is down: status %d, want 200", got.StatusCode)
	}
	rounds() // and what was not asked then is asked now
	if got := other.Get(secret, functions); got.StatusCode != http.StatusOK {
		t.Errorf("after the outage: status %d, want 200", got.StatusCode)
	}
}

// suspended waits until the replicas refuse somebody's token, and checks that the session is over too.
func (b *tab) suspended(secret string, replicas ...*harness.Gateway) {
	b.t.Helper()
	for _, g := range replicas {
		eventually(b.t, "the token is refused", func() bool { return g.Get(secret, functions).StatusCode == http.StatusUnauthorized })
	}
	if status := b.open("/-/tokens"); status != http.StatusUnauthorized {
		b.t.Errorf("the session of somebody suspended: status %d, want 401", status)
	}
	b.wants("Your account may not use this gateway any more")
}

func refused(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	b := s.as(t, "ada")
	secret := b.mint("refused")
	rounds()
	if got := s.Get(secret, functions); got.StatusCode != http.StatusOK {
		t.Fatalf("status %d, want 200", got.StatusCode)
	}
	s.provider.turn("revoke")
	b.suspended(secret, s.Gateway, other)

	b.signIn("ada") // the provider vouches for her again
	eventually(t, "the token works again", func() bool { return other.Get(secret, functions).StatusCode == http.StatusOK })
}

func left(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	b := s.as(t, "ada")
	secret := b.mint("left")
	s.provider.turn("leave ada")
	b.suspended(secret, s.Gateway, other)
}

func rosterShown(t *testing.T, s *stage, other *harness.Gateway, _ *redis.Server) {
	b := s.as(t, "grace")
	address := strings.TrimPrefix(other.URL, "http://")
	shows := func() bool { b.open("/-/admin"); return strings.Contains(b.text(), address) }
	eventually(t, "both replicas are shown", shows)
	b.wants("the one that answers you", strings.TrimPrefix(s.URL, "http://"), "answers", "well")
	b.accessible()
	if err := other.Terminate(); err != nil {
		t.Fatal(err)
	}
	if shows() {
		t.Errorf("a replica that has ended is still shown:\n%s", b.text())
	}
}
