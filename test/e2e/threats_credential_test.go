package e2e

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// credentialPaths are calls whose answers take each of the ways through the gateway.
var credentialPaths = map[string]struct{ method, path, body string }{
	"cached":            {"GET", own + "/functions", ""},
	"narrowed list":     {"GET", "/v1/projects", ""},
	"list of branches":  {"GET", own + "/branches", ""},
	"secrets taken out": {"GET", own + "/config/auth", ""},
	"streamed":          {"GET", own + "/functions/none/body", ""},
	"text":              {"GET", own + "/types/typescript", ""},
	"a write":           {"POST", own + "/secrets", `[{"name":"A","value":"b"}]`},
	"a write, learnt":   {"POST", own + "/branches", `{"branch_name":"x"}`},
	"a removal":         {"DELETE", own + "/secrets", `["A"]`},
}

// checkNoSecret fails the test where an answer holds the upstream token or a part of it that would do.
func checkNoSecret(t *testing.T, a harness.Answer) {
	t.Helper()
	text := a.Text + "\n" + strings.Join(flatten(a.Header), "\n") + "\n" + strings.Join(flatten(a.Trailer), "\n")
	if strings.Contains(text, harness.UpstreamToken) || strings.Contains(text, harness.UpstreamToken[len("sbp_"):]) {
		t.Errorf("answer %d holds the upstream token: %s", a.StatusCode, text)
	}
}

// checkSecretNowhere searches everything that the gateway writes or shows for the upstream token.
func checkSecretNowhere(t *testing.T, g *harness.Gateway) {
	t.Helper()
	checkNowhere(t, g, harness.UpstreamToken[len("sbp_"):])
}

// checkNowhere searches everything that the gateway writes or shows for secrets, or the parts of them that are given.
func checkNowhere(t *testing.T, g *harness.Gateway, secrets ...string) {
	t.Helper()
	found := func(where, text string) {
		for i, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds secret %d", where, i)
			}
		}
	}
	found("the log", g.Log())
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
		"/debug/pprof/allocs?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/heap", "/debug/vars"} {
		response, err := http.Get(g.AdminURL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		found("admin "+path, string(text))
	}
	for _, args := range [][]string{{"check"}, {"token", "list"}, {"credential", "list"}, {"explain", "--as", "group:payments-eng", "GET", own}} {
		stdout, stderr, _ := g.Run(args...) // some have nothing to say here
		found("gateway "+args[0], stdout+stderr)
	}
	err := filepath.WalkDir(g.Path("state"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found(path, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCredentialEscapeByAnEcho(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for _, into := range []string{sandbox.EchoBody, sandbox.EchoError, sandbox.EchoHeader} {
		for name, call := range credentialPaths {
			t.Run(into+"/"+name, func(t *testing.T) {
				if err := g.Upstream.Faults().Replace(sandbox.Fault{Kind: sandbox.FaultEcho, Into: into}); err != nil {
					t.Fatal(err)
				}
				a := g.Do(token, call.method, call.path, call.body, "Cache-Control", "no-cache")
				checkNoSecret(t, a)
				g.Upstream.Faults().Clear()
				checkNoSecret(t, g.Do(token, call.method, call.path, call.body)) // what was stored of it
			})
		}
	}
	checkSecretNowhere(t, g)
}

func TestCredentialEscapeByARedirect(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	t.Cleanup(elsewhere.Close)
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for name, call := range credentialPaths {
		for _, status := range []int{301, 302, 307, 308} {
			if err := g.Upstream.Faults().Replace(sandbox.Fault{Kind: sandbox.FaultRedirect, Status: status, Host: elsewhere.URL}); err != nil {
				t.Fatal(err)
			}
			a := g.Do(token, call.method, call.path, call.body, "Cache-Control", "no-cache")
			if a.StatusCode != status || a.Header.Get("Location") != elsewhere.URL+call.path {
				t.Errorf("%s: a %d was answered %d with Location %q", name, status, a.StatusCode, a.Header.Get("Location"))
			}
			checkNoSecret(t, a)
		}
		if err := g.Upstream.Faults().Replace(sandbox.Fault{Kind: sandbox.FaultStatus, Status: 302,
			Header: map[string]string{"Location": elsewhere.URL + "/?token=" + harness.UpstreamToken, "Refresh": "0; url=/?" + harness.UpstreamToken}}); err != nil {
			t.Fatal(err)
		}
		checkNoSecret(t, g.Do(token, call.method, call.path, call.body, "Cache-Control", "no-cache"))
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("the gateway followed %d redirects", n)
	}
	g.Upstream.Faults().Clear()
	checkSecretNowhere(t, g)
}

func TestCredentialEscapeByAStatus(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for _, status := range []int{400, 401, 402, 403, 404, 406, 409, 500, 502, 503, 504} {
		call := credentialPaths["cached"]
		if err := g.Upstream.Faults().Replace(sandbox.Fault{Kind: sandbox.FaultStatus, Status: status, Header: map[string]string{
			"Www-Authenticate": "Bearer realm=" + harness.UpstreamToken, "Set-Cookie": "token=" + harness.UpstreamToken, "X-Debug": harness.UpstreamToken,
			"Link": "</v1/projects?token=" + harness.UpstreamToken + ">", "Etag": `"` + harness.UpstreamToken + `"`, "X-Request-Id": harness.UpstreamToken,
			"Content-Type": "text/html; token=" + harness.UpstreamToken,
		}}); err != nil {
			t.Fatal(err)
		}
		a := g.Do(token, call.method, call.path, call.body, "Cache-Control", "no-cache")
		checkNoSecret(t, a)
		if status == 401 && a.StatusCode != http.StatusBadGateway {
			t.Errorf("upstream's 401 was answered %d: a client must never take it for its own", a.StatusCode)
		}
	}
	g.Upstream.Faults().Clear()
	checkSecretNowhere(t, g)
}

// TestCredentialEscapeInADisguise: an echo that comes in pieces, behind the answer, or in a coding nobody asked for.
func TestCredentialEscapeInADisguise(t *testing.T) {
	t.Parallel()
	disguises := map[string]http.HandlerFunc{
		"in two pieces": func(w http.ResponseWriter, r *http.Request) {
			echo := r.Header.Get("Authorization")
			io.WriteString(w, `{"echo":"`+echo[:20])
			w.(http.Flusher).Flush()
			io.WriteString(w, echo[20:]+`"}`)
		},
		"twice, side by side": func(w http.ResponseWriter, r *http.Request) {
			_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			io.WriteString(w, token+token)
		},
		"behind a megabyte": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, strings.Repeat("x", 1<<20-7)+r.Header.Get("Authorization"))
		},
		"in a trailer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Echo")
			io.WriteString(w, "{}")
			w.(http.Flusher).Flush()
			w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		},
		"in an informational answer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</"+r.Header.Get("Authorization")+">; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			io.WriteString(w, "{}")
		},
		"in a coding nobody asked for": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			io.WriteString(packed, r.Header.Get("Authorization"))
			packed.Close()
		},
		"in the name of a header": func(w http.ResponseWriter, r *http.Request) {
			_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			w.Header()["X-"+token] = []string{"1"}
			io.WriteString(w, "{}")
		},
	}
	var current atomic.Value
	g := harness.Start(t, harness.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { current.Load().(http.HandlerFunc)(w, r) })
	}})
	token := g.Token("payments")
	for disguise, echo := range disguises {
		for name, call := range credentialPaths {
			t.Run(disguise+"/"+name, func(t *testing.T) {
				current.Store(echo)
				request, _ := http.NewRequest(call.method, g.URL+call.path, strings.NewReader(call.body))
				request.Header.Set("Authorization", "Bearer "+token)
				request.Header.Set("Cache-Control", "no-cache")
				response, err := http.DefaultTransport.RoundTrip(request) // which takes an answer's coding off
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				text, _ := io.ReadAll(response.Body) // a broken body is as good a refusal
				checkNoSecret(t, harness.Answer{Response: response, Text: strings.ToLower(string(text))})
				for _, line := range flatten(response.Header) {
					if strings.Contains(strings.ToLower(line), harness.UpstreamToken[len("sbp_"):]) {
						t.Errorf("the answer's header holds the upstream token: %s", line)
					}
				}
			})
		}
	}
	checkSecretNowhere(t, g)
}
