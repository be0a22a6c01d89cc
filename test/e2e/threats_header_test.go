package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// forwardable are the request headers that upstream may ever see.
var forwardable = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Idempotency-Key",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Transfer-Encoding", "User-Agent", "X-Client-Info",
}

// checkForwarded fails the test where upstream saw a header outside the list, or another credential than its own.
func checkForwarded(t *testing.T, g *harness.Gateway) {
	t.Helper()
	for _, r := range g.Upstream.Requests() {
		for name := range r.Header {
			if !slices.Contains(forwardable, name) {
				t.Errorf("%s %s: upstream saw %s: %q", r.Method, r.Target, name, r.Header[name])
			}
		}
		if got := r.Header["Authorization"]; !slices.Equal(got, []string{"Bearer " + harness.UpstreamToken}) {
			t.Errorf("%s %s: upstream saw Authorization %q", r.Method, r.Target, got)
		}
		if strings.Contains(r.Host, "evil") {
			t.Errorf("%s %s: upstream saw Host %q", r.Method, r.Target, r.Host)
		}
	}
}

func TestHeaderConfusion(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	bearer := "Authorization: Bearer " + token + "\r\n"
	t.Cleanup(func() { checkForwarded(t, g) })

	// The decision is the same with these headers as without.
	for name, header := range map[string]string{
		"X-Original-URL":               "X-Original-URL: " + foreign + "\r\n",
		"X-Rewrite-URL":                "X-Rewrite-URL: " + foreign + "\r\n",
		"X-HTTP-Method-Override":       "X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n",
		"X-Forwarded":                  "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-User: grace\r\nForwarded: for=10.0.0.1;host=evil.example\r\nX-Real-IP: 10.0.0.1\r\n",
		"underscores and dots":         "X_Forwarded_For: 10.0.0.1\r\nX.Forwarded.For: 10.0.0.1\r\nAuthorization_: Bearer x\r\nX_Gateway_Team: platform\r\n",
		"Connection: Authorization":    "Connection: Authorization\r\n",
		"Connection: a forwarded one":  "Connection: keep-alive, Accept, X-Client-Info\r\nX-Client-Info: x\r\n",
		"Proxy-Connection and TE":      "Proxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: Authorization\r\n",
		"Upgrade":                      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
		"an upgrade to HTTP/2":         "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"Proxy-Authorization":          "Proxy-Authorization: Bearer " + harness.UpstreamToken[:8] + "\r\n",
		"a cookie":                     "Cookie: __Host-session=forged; Authorization=x\r\n",
		"an API key":                   "apikey: x\r\nX-Api-Key: y\r\nX-Supabase-Auth: z\r\n",
		"an identity from a proxy":     "Remote-User: grace\r\nX-Auth-Request-Email: grace@acme.example\r\nX-Goog-Authenticated-User-Email: grace\r\nX-Amzn-Oidc-Data: e30\r\n",
		"tracing from outside":         "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\nBaggage: c=d\r\n",
		"another host":                 "",
		"what the gateway itself says": "X-Request-Id: forged\r\nCache-Status: hit\r\nPrefer: wait=5\r\nCache-Control: no-cache\r\nX-Gateway-Team: payments\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := "gateway.example"
			if name == "another host" {
				host = "evil.example"
			}
			if a := send(t, g, "GET "+own+"/functions HTTP/1.1\r\nHost: "+host+"\r\n"+bearer+header+"\r\n"); a.StatusCode != http.StatusOK {
				t.Errorf("what is granted was answered %d %s", a.StatusCode, a.Text)
			} else if id := a.Header.Get("X-Request-Id"); g.Audit(id)[0].Client.IP.String() != "127.0.0.1" || id == "forged" {
				t.Errorf("the audit record of %s has the client's address %s", id, g.Audit(id)[0].Client.IP)
			}
			if a := send(t, g, "GET "+foreign+"/functions HTTP/1.1\r\nHost: "+host+"\r\n"+bearer+header+"\r\n"); a.StatusCode != http.StatusForbidden {
				t.Errorf("what is not granted was answered %d %s", a.StatusCode, a.Text)
			}
		})
	}
	t.Cleanup(func() {
		for _, r := range g.Upstream.Requests() {
			// Whether the other project is a branch of one's own, the gateway finds out for itself.
			if r.Method != "GET" || r.Target != own+"/functions" && r.Target != "/v1/projects" && r.Target != own+"/branches" {
				t.Errorf("upstream was asked %s %s", r.Method, r.Target)
			}
		}
	})
}

func TestASecondIdentityIsRefused(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	payments, field := g.Token("payments"), g.Token("field")
	get := "GET " + own + "/functions HTTP/1.1\r\nHost: gateway.example\r\n"
	for name, header := range map[string]string{
		"two Authorization lines":        "Authorization: Bearer " + payments + "\r\nAuthorization: Bearer " + field + "\r\n",
		"the same line twice":            "Authorization: Bearer " + payments + "\r\nauthorization: Bearer " + payments + "\r\n",
		"two tokens in one line":         "Authorization: Bearer " + payments + ", Bearer " + field + "\r\n",
		"a token in Proxy-Authorization": "Proxy-Authorization: Bearer " + payments + "\r\n",
		"a token in a cookie":            "Cookie: __Host-session=" + payments + "; sb-access-token=" + payments + "\r\n",
		"a token as Basic":               "Authorization: Basic " + payments + "\r\n",
		"a token with an underscore":     "Authorization_: Bearer " + payments + "\r\nX-Authorization: Bearer " + payments + "\r\n",
		"a token in apikey":              "apikey: " + payments + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := send(t, g, get+header+"\r\n"); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("answered %d %s, want 401", a.StatusCode, a.Text)
			}
		})
	}
	t.Run("a token in the query", func(t *testing.T) {
		t.Parallel()
		if a := g.Get("", own+"/functions?access_token="+payments+"&apikey="+payments); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("answered %d, want 401", a.StatusCode)
		}
	})
	t.Run("two teams asked for", func(t *testing.T) {
		t.Parallel()
		a := send(t, g, "GET "+own+"/functions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+payments+"\r\nX-Gateway-Team: payments\r\nX-Gateway-Team: field\r\n\r\n")
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("answered %d %s, want 403", a.StatusCode, a.Text)
		}
	})
	t.Run("a team one is not in", func(t *testing.T) {
		t.Parallel()
		if a := g.Get(payments, own+"/functions", "X-Gateway-Team", "platform"); a.StatusCode != http.StatusForbidden {
			t.Errorf("answered %d %s, want 403", a.StatusCode, a.Text)
		}
	})
	t.Cleanup(func() {
		if n := len(g.Upstream.Requests()); n > 0 {
			t.Errorf("upstream was asked %d times", n)
		}
		if strings.Contains(g.Log(), payments) {
			t.Error("a token misplaced by its owner is in the log")
		}
	})
}

func TestHostConfusion(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	bearer := "Authorization: Bearer " + g.Token("payments") + "\r\n"
	for name, request := range map[string]string{
		"an absolute target with another host": "GET http://evil.example" + own + " HTTP/1.1\r\nHost: gateway.example\r\n",
		"an absolute target with this host":    "GET " + g.URL + own + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(g.URL, "http://") + "\r\n",
		"two Host lines":                       "GET " + own + " HTTP/1.1\r\nHost: gateway.example\r\nHost: evil.example\r\n",
		"no Host":                              "GET " + own + " HTTP/1.1\r\n",
		"a Host with a path":                   "GET " + own + " HTTP/1.1\r\nHost: evil.example/x\r\n",
		"a Host with a space":                  "GET " + own + " HTTP/1.1\r\nHost: a b\r\n",
		"a tunnel":                             "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n",
		"a tunnel to a path":                   "CONNECT " + own + " HTTP/1.1\r\nHost: x\r\n",
		"TRACE":                                "TRACE " + own + " HTTP/1.1\r\nHost: x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := send(t, g, request+bearer+"\r\n"); a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("answered %d %s, want 400 or 405", a.StatusCode, a.Text)
			}
		})
	}
	t.Run("links name the configured address", func(t *testing.T) {
		t.Parallel()
		for _, target := range []string{"/-/", "/-/sign-in", "/-/profile.yaml", "/cli/login"} {
			a := send(t, g, "GET "+target+" HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\r\n")
			if strings.Contains(a.Text+strings.Join(flatten(a.Header), "\n"), "evil.example") {
				t.Errorf("%s takes its links from the request: %d %v", target, a.StatusCode, a.Header)
			}
		}
	})
	t.Cleanup(func() {
		if n := len(g.Upstream.Requests()); n > 0 {
			t.Errorf("upstream was asked %d times", n)
		}
	})
}
