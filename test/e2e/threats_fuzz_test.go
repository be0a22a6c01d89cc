package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// heard is what a recording upstream was asked: as it stood on the wire.
type heard struct {
	mu       sync.Mutex
	requests []*http.Request
}

// take returns the marked requests and those whose mark got lost, and forgets all.
func (h *heard) take(mark string) []*http.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := slices.DeleteFunc(h.requests, func(r *http.Request) bool {
		info := r.Header.Get("X-Client-Info")
		return info != mark && strings.HasPrefix(info, "run ")
	})
	h.requests = nil
	return taken
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r)
	h.mu.Unlock()
	plentiful(func(*http.Request) []byte { return []byte("{}") })(nil).ServeHTTP(w, r)
}

// patience is how long a fuzzed request may take; most that are not answered at once never are.
const patience = 2 * time.Second

// FuzzWhatWasJudgedIsWhatWasSent sends raw requests as somebody who was granted one project, and holds against them what
// upstream got: nothing at all, or the same method, the same target byte for byte, of that project, with nothing in its
// header that is not on the list.
func FuzzWhatWasJudgedIsWhatWasSent(f *testing.F) {
	var upstream heard
	g := harness.Start(f, harness.Options{
		Front: func(http.Handler) http.Handler { return &upstream },
		// Without branches and organizations the gateway asks upstream nothing of its own.
		Policy: "teams:\n  - name: payments\n    allow: [{projects: [" + sandbox.Payments + `], scopes: ["*"], permissions: ["*"]}]` + "\n    members: [{group: payments-eng}]\n",
	})
	token := g.Token("payments")
	for _, seed := range []struct{ method, target, header string }{
		{"GET", own, ""}, // must arrive, see below
		{"GET", own + "/functions?a=1&b=2", "X-Original-URL: " + foreign},
		{"GET", own + "/branches/a%20b+c", "Connection: Authorization"},
		{"GET", own + "/../" + sandbox.FieldApp, ""},
		{"GET", own + "/%2e%2e/" + sandbox.FieldApp, ""},
		{"GET", own + "%2ffunctions", ""},
		{"GET", own + "/api-keys?reveal=false&reveal=true", ""},
		{"GET", foreign + "/functions", "X-HTTP-Method-Override: GET"},
		{"DELETE", own + "/secrets", "Content-Length: 0"},
		{"POST", own + "/secrets", "Transfer-Encoding: chunked"},
		{"GET", "http://evil.example" + own, "Host: evil.example"},
		{"HEAD", own + "/functions?x=%00", "Authorization: Bearer x"},
		{"get", own + "/functions?#", "Accept: a\r\n b"},
		{"GET", own + "/functions?", "If-None-Match: *"},
		{"OPTIONS", "*", "Accept: */*\nX-A: b"},
	} {
		f.Add(seed.method, seed.target, seed.header)
	}
	var runs atomic.Int64
	f.Fuzz(func(t *testing.T, method, target, header string) {
		mark := "run " + strconv.FormatInt(runs.Add(1), 10) // tells this request from a late one before
		request := method + " " + target + " HTTP/1.1\r\nHost: gateway.example\r\nX-Client-Info: " + mark + "\r\nAuthorization: Bearer " + token +
			"\r\nCache-Control: no-cache\r\nConnection: close\r\n" + header + "\r\n\r\n"
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience)) // for a request whose end does not come
		io.WriteString(conn, request)
		if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			io.Copy(io.Discard, response.Body)
		}
		got := upstream.take(mark)
		for _, r := range got {
			checkHeard(t, r, method, target)
		}
		if len(got) == 0 && target == own && header == "" && method == "GET" {
			t.Error("the plainest of requests did not arrive: the test tests nothing")
		}
	})
}

// checkHeard fails the test where upstream heard something else than was said.
func checkHeard(t *testing.T, r *http.Request, method, target string) {
	t.Helper()
	if asked := strings.TrimSuffix(target, "?"); r.RequestURI != asked { // an empty query is the same as none
		t.Errorf("asked %q, upstream got %q", target, r.RequestURI)
	}
	if r.Method != method && (r.Method != http.MethodGet || method != http.MethodHead) { // a HEAD is answered from a GET
		t.Errorf("asked by %q, upstream got %q", method, r.Method)
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	decoded, err := url.PathUnescape(path)
	if err != nil || decoded != own && !strings.HasPrefix(decoded, own+"/") || slices.Contains(strings.Split(decoded, "/"), "..") || strings.ContainsAny(decoded, "\\\x00\r\n;") {
		t.Errorf("upstream got %q, which was not granted", r.RequestURI)
	}
	for name := range r.Header {
		if !slices.Contains(forwardable, name) {
			t.Errorf("upstream got the header %s: %q", name, r.Header[name])
		}
	}
	if got := r.Header["Authorization"]; !slices.Equal(got, []string{"Bearer " + harness.UpstreamToken}) {
		t.Errorf("upstream got Authorization %q", got)
	}
}
