package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// FuzzWhatWasJudgedIsWhatWasSent sends raw requests as somebody who was granted one project, and holds against them what
// upstream got: nothing at all, or the method, the target, the header values and the body that were sent, byte for byte,
// where the catalogue reads that target as a call of that project.
func FuzzWhatWasJudgedIsWhatWasSent(f *testing.F) {
	table, err := catalog.New()
	if err != nil {
		f.Fatal(err)
	}
	var upstream heard
	g := startFuzzed(f, &upstream)
	token := g.Token("payments")
	if a := g.Get(token, own+"/functions?a=%20b"); a.StatusCode != http.StatusOK || len(upstream.take("")) != 1 {
		f.Fatalf("the plainest of requests did not arrive, but was answered %d: the test tests nothing", a.StatusCode)
	}
	for _, op := range table.Operations() {
		if path := exampleOf(op.Path); strings.HasPrefix(path, own) {
			f.Add(op.Method, path, "", "")
		}
	}
	for _, seed := range []struct{ method, path, query, header string }{
		{"GET", own, "x=y", "Accept: text/plain\r\nAccept: */*"},
		{"GET", own + "/functions", "a=1&b=2", "X-Original-URL: " + foreign},
		{"GET", own + "/functions", "a=%2F%2e%2e%2f&b=+%2B&c", "user-agent: \t a b \t"},
		{"GET", own + "/branches/a%20b+c", "", "Connection: Authorization"},
		{"GET", own + "/../" + sandbox.FieldApp, "", ""},
		{"GET", own + "/%2e%2e/" + sandbox.FieldApp, "", ""},
		{"GET", own + "%2ffunctions", "", ""},
		{"GET", own + "/api-keys", "reveal=false&reveal=true", ""},
		{"GET", own + "/api-keys", "reveal=false;reveal=true", ""},
		{"GET", "/v1/projects", "0&1", ""},
		{"GET", "/v1/projects", "0=?", ""},
		{"GET", foreign + "/functions", "", "X-HTTP-Method-Override: GET"},
		{"DELETE", own + "/secrets", "", "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n[\"A\"]"},
		{"POST", own + "/secrets", "", "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"},
		{"POST", own + "/secrets", "", "Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"},
		{"GET", "http://evil.example" + own, "", "Host: evil.example"},
		{"HEAD", own + "/functions", "x=%00", "Authorization: Bearer x"},
		{"get", own + "/functions", "#", "Accept: a\r\n b"},
		{"GET", own + "/functions", "?", "If-None-Match: *"},
		{"GET", own + "/functions HTTP/1.1\r\nHost: x\r\n\r\nGET " + foreign, "", ""},
		{"OPTIONS", "*", "", "Accept: */*\nX-A: b"},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.header)
	}
	var runs atomic.Int64
	f.Fuzz(func(t *testing.T, method, path, query, header string) {
		mark := "run " + strconv.FormatInt(runs.Add(1), 10) // tells this request from a late one before
		if query != "" {
			path += "?" + query
		}
		_, _ = table.Parse(method, path) // its coverage leads the fuzzer, which sees nothing of another process
		said := method + " " + path + " HTTP/1.1\r\nHost: gateway.example\r\nX-Client-Info: " + mark + "\r\nAuthorization: Bearer " + token +
			"\r\nCache-Control: no-cache\r\nConnection: close\r\n" + header + "\r\n\r\n"
		exchangeRaw(t, g, said)
		for _, got := range upstream.take(mark) {
			checkHeard(t, table, said, got)
		}
	})
}

// startFuzzed runs a gateway before the recording upstream that costs as little at its millionth request as at its first.
func startFuzzed(f *testing.F, upstream http.Handler) *harness.Gateway {
	g := harness.Start(f, harness.Options{
		Front: func(http.Handler) http.Handler { return upstream },
		// Without branches and organizations the gateway asks upstream nothing of its own.
		Policy: "teams:\n  - name: payments\n    allow: [{projects: [" + sandbox.Payments + `], scopes: ["*"], permissions: ["*"]}]` + "\n    members: [{group: payments-eng}]\n",
		Config: "audit: {sinks: [{file: {dir: state/audit, max_size: 1MiB, max_total: 8MiB}, required: true}]}\nlimits: {max_wait: 500ms}\n",
	})
	reconfigure(f, g, "level: debug", "level: warn") // the harness keeps the log in memory
	return g
}

// uuid stands for each path parameter that only takes such.
const uuid = "0af76519-16cd-43dd-8448-eb211c80319c"

// exampleOf fills a path template of the catalogue in.
func exampleOf(template string) string {
	segments := strings.Split(template, "/")
	for i, segment := range segments {
		switch {
		case segment == "{ref}":
			segments[i] = sandbox.Payments
		case strings.HasSuffix(segment, "id}"):
			segments[i] = uuid
		case strings.HasPrefix(segment, "{"):
			segments[i] = "1"
		}
	}
	return strings.Join(segments, "/")
}

// answered is how long a fuzzed request may take; most that are not answered at once never are.
const answered = time.Second

// exchangeRaw writes a request as it stands and reads what comes.
func exchangeRaw(t *testing.T, g *harness.Gateway, said string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(answered))
	io.WriteString(conn, said) // an error here is one of reading, too
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		io.Copy(io.Discard, response.Body)
	}
}

// heard is an upstream that records what it was asked, with a quota that is never spent.
type heard struct {
	mu       sync.Mutex
	requests []recordedRequest
}

type recordedRequest struct {
	*http.Request
	body string
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // what came of a body that broke off counts as well
	h.mu.Lock()
	h.requests = append(h.requests, recordedRequest{r, string(body)})
	h.mu.Unlock()
	plentiful(func(*http.Request) []byte { return []byte("[]") })(nil).ServeHTTP(w, r)
}

// take returns the marked requests and those whose mark got lost, and forgets all.
func (h *heard) take(mark string) []recordedRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := slices.DeleteFunc(h.requests, func(r recordedRequest) bool {
		info := r.Header.Get("X-Client-Info")
		return info != mark && strings.HasPrefix(info, "run ")
	})
	h.requests = nil
	return taken
}

// checkHeard fails the test where upstream heard something else than was said, or than may be said. It reads what was said
// by itself, in the simplest way there is.
func checkHeard(t *testing.T, table *catalog.Catalog, said string, got recordedRequest) {
	t.Helper()
	head, body, _ := strings.Cut(said, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	method, target, _ := strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1"), " ")
	if path, query, _ := strings.Cut(target, "?"); query == "" {
		target = path // an empty query is the same as none
	}
	if got.RequestURI != target {
		t.Errorf("said %q, upstream got %q", target, got.RequestURI)
	}
	if got.Method != method && (got.Method != http.MethodGet || method != http.MethodHead) { // a HEAD is answered from a GET
		t.Errorf("said %q, upstream got %q", method, got.Method)
	}
	call, err := table.Parse(method, target)
	if err != nil {
		t.Fatalf("upstream got %q, which the catalogue refuses: %v", got.RequestURI, err)
	}
	// A list is open to whoever may read one of its items, and is narrowed on its way back.
	if list := call.Target.Kind == catalog.Account && call.Op.List != catalog.NotAList; !list {
		checkGranted(t, got.RequestURI, call.Target)
	}
	for name, values := range got.Header {
		if want := saidOf(name, lines[1:]); !slices.Contains(forwardable, name) || want != "" && !slices.Equal(values, []string{want}) {
			t.Errorf("said %s: %q, upstream got %q", name, want, values)
		}
	}
	if saidOf("Transfer-Encoding", lines[1:]) != "nothing" {
		data, _ := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(body))) // as far as it goes
		body = string(data)
	}
	if !strings.HasPrefix(body, got.body) {
		t.Errorf("said the body %q, upstream got %q", body, got.body)
	}
}

// checkGranted fails the test where a target that upstream got is not of the one project that was granted, also to a reader
// who takes encodings off first.
func checkGranted(t *testing.T, target string, judged catalog.Target) {
	t.Helper()
	path, _, _ := strings.Cut(target, "?")
	decoded, err := url.PathUnescape(path)
	of := decoded == own || strings.HasPrefix(decoded, own+"/")
	if err != nil || !of || judged != (catalog.Target{Kind: catalog.Project, ID: sandbox.Payments}) ||
		slices.Contains(strings.Split(decoded, "/"), "..") || strings.ContainsAny(decoded, "\\\x00\r\n;") {
		t.Errorf("upstream got %q, a call of %v, which was not granted", target, judged)
	}
}

// saidOf is the value that upstream must have got of a header field: the first that was said, without the white space around
// it. It is "" where a check of the value says nothing: for a length that is not forwarded as said.
func saidOf(name string, lines []string) string {
	switch name {
	case "Authorization":
		return "Bearer " + harness.UpstreamToken
	case "Accept-Encoding":
		return "identity"
	case "Content-Length":
		return ""
	}
	for _, line := range lines {
		if field, value, found := strings.Cut(line, ":"); found && strings.EqualFold(field, name) {
			return strings.Trim(value, " \t")
		}
	}
	return "nothing"
}
