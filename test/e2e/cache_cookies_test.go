package e2e

import (
	"net/http"
	"testing"

	"corp.example/gateway/test/harness"
)

// TestTheCookieOfAContentNetworkKeepsNothingOutOfTheCache: the cookie by which it tells connections apart comes with every
// answer. Any other is for one client, and so is what comes with it; no client gets either.
func TestTheCookieOfAContentNetworkKeepsNothingOutOfTheCache(t *testing.T) {
	t.Parallel()
	cookies := map[string]string{
		own + "/functions":                 "__cf_bm=a.b-1.0; path=/; HttpOnly; Secure; SameSite=None",
		own + "/config/auth/sso/providers": "session=a; path=/",
	}
	g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if cookie := cookies[r.URL.Path]; cookie != "" {
				w.Header().Set("Set-Cookie", cookie)
			}
			next.ServeHTTP(w, r)
		})
	}})
	token := g.JWT("ada")
	for path, want := range map[string]bool{own + "/functions": true, own + "/config/auth/sso/providers": false} {
		for range 2 {
			if a := g.Get(token, path); a.StatusCode != http.StatusOK || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %d, and the cookie %q", path, a.StatusCode, a.Header.Get("Set-Cookie"))
			}
		}
		if a := g.Get(token, path); isHit(a) != want {
			t.Errorf("%s with the cookie %q: %s", path, cookies[path], a.Header.Get("Cache-Status"))
		}
	}
}
