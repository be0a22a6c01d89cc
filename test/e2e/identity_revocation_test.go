package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// everywhere is how soon a revocation must be known on every replica.
const everywhere = time.Second

// refusedWithin asks until the token is refused, and fails where a request that began after the time was still answered.
func refusedWithin(t *testing.T, g *harness.Gateway, token, path string, from time.Time) {
	t.Helper()
	for {
		began := time.Now()
		a := g.Get(token, path)
		if a.StatusCode == http.StatusUnauthorized {
			t.Logf("refused %v after the revocation", began.Sub(from).Round(time.Millisecond))
			return
		}
		if began.Sub(from) > everywhere {
			t.Fatalf("%v after the revocation the other replica answers %d, Cache-Status %q", began.Sub(from), a.StatusCode, a.Header.Get("Cache-Status"))
		}
	}
}

func TestARevocationIsKnownOnEveryReplica(t *testing.T) {
	t.Parallel()
	one := harness.Start(t, harness.Options{Redis: redis.Start(t).URL()})
	two := one.Replica()
	path := own + "/functions"
	id := func(token string) string {
		t.Helper()
		stdout, stderr, err := one.Run("token", "list", "--format", "json")
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		_, rest, _ := strings.Cut(stdout, `"id": "`)
		return rest[:20] // the newest comes first
	}
	for name, revoke := range map[string]func(token string){
		"through the portal's API of the other": func(token string) {
			if a := one.Do(one.JWT("grace"), http.MethodDelete, "/-/api/tokens/"+id(token), ""); a.StatusCode >= 300 {
				t.Fatalf("revoking: %d %s", a.StatusCode, a.Text)
			}
		},
		"on the command line": func(token string) {
			if _, stderr, err := one.Run("token", "revoke", token); err != nil {
				t.Fatalf("revoking: %v\n%s", err, stderr)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			token := one.Token("payments")
			warm(t, one, token, path)
			warm(t, two, token, path)
			revoke(token)
			from := time.Now()
			refusedWithin(t, two, token, path, from)
			refusedWithin(t, one, token, path, from)
		})
	}
}

// While Redis stands still nobody can tell whether a token was revoked: it is not believed, and not said to be wrong.
func TestWithoutRedisNoTokenIsBelieved(t *testing.T) {
	t.Parallel()
	server := redis.Start(t)
	one := harness.Start(t, harness.Options{Redis: server.URL()})
	path := own + "/functions"
	token := one.Token("payments")
	warm(t, one, token, path)

	server.Pause()
	from := time.Now()
	for {
		began := time.Now()
		a := one.Get(token, path)
		if a.StatusCode == http.StatusServiceUnavailable {
			if p := a.Problem(t); p.Code != "identity_unavailable" || p.RetryAfter < 1 {
				t.Errorf("the refusal is %+v, want identity_unavailable and when to try again", p)
			}
			break
		}
		if began.Sub(from) > everywhere {
			t.Fatalf("%v after Redis stood still the token is answered %d", began.Sub(from), a.StatusCode)
		}
	}
	if a := one.Get(one.JWT("ada"), path); a.StatusCode != http.StatusOK {
		t.Errorf("a JWT, which nobody can revoke here, is answered %d without Redis", a.StatusCode)
	}
	server.Resume()
	for deadline := time.Now().Add(10 * time.Second); one.Get(token, path).StatusCode != http.StatusOK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the token does not work again though Redis does")
		}
	}
}

// A revocation made while a replica hears nothing must be known to it when it hears again.
func TestARevocationDuringAnOutageIsNotMissed(t *testing.T) {
	t.Parallel()
	server := redis.Start(t)
	one := harness.Start(t, harness.Options{Redis: server.URL()})
	path := own + "/functions"
	token := one.Token("payments")
	warm(t, one, token, path)
	server.Kill()
	server.Restart() // empty: the token is gone
	from := time.Now()
	for began := time.Now(); ; began = time.Now() {
		switch a := one.Get(token, path); {
		case a.StatusCode == http.StatusUnauthorized:
			return
		case a.StatusCode == http.StatusOK && began.Sub(from) > everywhere:
			t.Fatalf("%v after the token was gone it is answered %d", began.Sub(from), a.StatusCode)
		case began.Sub(from) > 10*time.Second:
			t.Fatalf("the token is answered %d for ten seconds", a.StatusCode)
		}
	}
}
