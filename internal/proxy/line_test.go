package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/proxy"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/state"
)

const (
	upstreamToken = "sbp_5ec4e700000000000000000000000000000000aa"
	upstreamWait  = time.Minute      // upstream.timeout
	longestWait   = 50 * time.Second // limits.max_wait
)

// options change what a line is made of. The zero value stands before the sandbox, in memory, and knows one caller.
type options struct {
	upstream    http.Handler        // nil: the sandbox
	policy      string              // "": the caller's team "a" may do everything
	credentials []credential.Config // nil: one that reaches everything, from the environment variable PAT
	rows        []catalog.Row       // further operations, or changes of the embedded ones
	tracer      trace.Tracer        // nil: nothing is traced
	minted      bool                // as in earnest: a minted token, upstream behind a socket, an audit file
	said        io.Writer           // takes the process log as operators see it; nil: nobody does
}

// line is the whole line as it is served, in this process.
type line struct {
	*proxy.Proxy
	token       string
	registry    *prometheus.Registry
	credentials *credential.Set
	limiter     *limiter.Memory

	log   *audit.Log
	audit bytes.Buffer
}

func newLine(t testing.TB, o options) *line {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &line{registry: prometheus.NewRegistry(), limiter: limiter.New(limiter.Config{}), token: "caller"}
	operations, err := catalog.New(o.rows...)
	must(err)
	if o.policy == "" {
		o.policy = `teams: [{name: a, members: [{email: a@example.com}], allow: [{projects: ["*"], organizations: ["*"], account: true, branches: true, scopes: ["*"], permissions: ["*"]}]}]`
	}
	rules, err := policy.Load("policy.yaml", []byte(o.policy), operations)
	must(err)
	if o.credentials == nil {
		o.credentials = []credential.Config{{Name: "shared", Owner: "bot", Token: secret.Source{Env: "PAT"}}}
	}
	l.credentials, err = credential.New(o.credentials, func(string) string { return upstreamToken })
	must(err)
	sink := audit.Sink{Shipper: audit.Stdout(&l.audit), Required: true}
	if o.minted {
		sink = audit.Sink{File: &audit.FileConfig{Dir: t.TempDir()}, Required: true}
	}
	l.log, err = audit.Open(audit.Config{Sinks: []audit.Sink{sink}})
	must(err)
	t.Cleanup(func() { l.log.Close() })
	if o.upstream == nil {
		o.upstream, err = sandbox.New(sandbox.Config{Tokens: map[string]string{upstreamToken: "bot"}, Limits: sandbox.LimitConfig{Off: true}})
		must(err)
	}
	authenticate := l.authenticate
	upstreamURL := "http://upstream.example"
	if o.minted {
		server := httptest.NewServer(o.upstream)
		t.Cleanup(server.Close)
		upstreamURL = server.URL
		authenticate = l.mint(t)
	}
	upstream, err := proxy.NewUpstream(proxy.UpstreamConfig{URL: upstreamURL, Timeout: upstreamWait, Propagate: o.tracer != nil})
	must(err)
	t.Cleanup(upstream.Close)
	if !o.minted {
		upstream.DialWith(inMemory(t, o.upstream))
	}
	log := slog.New(slog.DiscardHandler)
	if o.said != nil {
		log = slog.New(slog.NewTextHandler(o.said, nil))
	}
	answers, err := cache.New(cache.Config{StaleIfError: time.Minute, Timeout: longestWait + upstreamWait, Forwards: upstream.Forwards})
	must(err)
	l.Proxy = proxy.New(proxy.Config{
		Catalog: operations, Authenticate: authenticate, Credentials: l.credentials, Limiter: l.limiter, Cache: answers, Audit: l.log, Upstream: upstream,
		PublicURL: "http://gateway.example", MaxWait: longestWait, Registry: l.registry, Tracer: o.tracer, Log: log,
	}, rules)
	return l
}

// authenticate knows the one caller by the token "caller", and panics at "panic".
func (l *line) authenticate(_ context.Context, authorization []string, _ netip.Addr) (*identity.Caller, error) {
	if len(authorization) == 1 && authorization[0] == "Bearer panic" {
		panic("a fault of the gateway's own")
	}
	if len(authorization) == 1 && authorization[0] == "Bearer caller" {
		return identity.Operator("a", "a@example.com", nil), nil
	}
	return nil, problem.New(http.StatusUnauthorized, problem.Unauthenticated, "Who are you?")
}

// mint gives the line a real token.
func (l *line) mint(t testing.TB) func(context.Context, []string, netip.Addr) (*identity.Caller, error) {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	people, err := identity.New(identity.Config{}, store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(people.Close)
	l.token, _, err = people.Mint(t.Context(), identity.MintRequest{Owner: identity.Operator("a", "a@example.com", nil), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return people.Authenticate
}

// inMemory serves handler and returns how it is dialled, without a socket.
func inMemory(t testing.TB, handler http.Handler) func(context.Context, string, string) (net.Conn, error) {
	listener := &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case listener.dialled <- far:
			return near, nil
		case <-listener.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case connection := <-p.dialled:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// answer is what a client got.
type answer struct {
	*httptest.ResponseRecorder
	cut bool // the connection was ended instead of the answer
}

func (a answer) problem(t testing.TB) (code problem.Code) {
	t.Helper()
	var body struct{ Code problem.Code }
	if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil {
		t.Errorf("answer %d is no problem: %q", a.Code, a.Body)
	}
	return body.Code
}

// call sends a request with a JSON body ("" for none) and headers as "Name: value".
func (l *line) call(ctx context.Context, method, target, body string, headers ...string) answer {
	request := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	return l.do(request)
}

// do sends a request as the caller.
func (l *line) do(request *http.Request) (a answer) {
	if request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+l.token)
	}
	a.ResponseRecorder = httptest.NewRecorder()
	a.Header().Set("X-Request-Id", "request-1")
	defer func() {
		if value := recover(); value == http.ErrAbortHandler {
			a.cut = true
		} else if value != nil {
			panic(value)
		}
	}()
	l.ServeHTTP(a, request)
	return a
}

// outcomes ends the audit log and returns the outcomes in it.
func (l *line) outcomes(t testing.TB) []audit.Record {
	t.Helper()
	if err := l.log.Close(); err != nil {
		t.Fatal(err)
	}
	var found []audit.Record
	for text := range bytes.Lines(l.audit.Bytes()) {
		var record audit.Record
		if err := json.Unmarshal(text, &record); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if record.Phase == audit.Outcome {
			found = append(found, record)
		}
	}
	return found
}

// onlyOutcome is the one outcome in the audit log.
func (l *line) onlyOutcome(t testing.TB) audit.Record {
	t.Helper()
	found := l.outcomes(t)
	if len(found) != 1 {
		t.Fatalf("%d outcomes, want one: %+v", len(found), found)
	}
	return found[0]
}

// metric adds up the counters, gauges and numbers of observations of a metric whose labels have all the given values.
func (l *line) metric(t testing.TB, name string, values ...string) (sum float64) {
	t.Helper()
	families, err := l.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			if !slices.ContainsFunc(values, func(value string) bool { return !slices.Contains(labels, value) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// replies is an upstream that answers each request by the next function, and every further one by the last.
func replies(each ...http.HandlerFunc) http.Handler {
	turn := make(chan int, 1)
	turn <- 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := <-turn
		turn <- min(n+1, len(each)-1)
		each[n](w, r)
	})
}

// reply answers with a status, a JSON body and headers as "Name: value".
func reply(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hexSum is the hex SHA-256 of text.
func hexSum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
