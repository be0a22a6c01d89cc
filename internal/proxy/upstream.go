package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/trust"
)

// Upstream is the one host that is ever sent a credential.
type Upstream struct {
	base      *url.URL
	transport *http.Transport
	timeout   time.Duration
	headers   []string
	propagate bool
}

// UpstreamConfig describes upstream.
type UpstreamConfig struct {
	URL            string        // scheme and host
	CAFile         string        // PEM authorities; "": the system's
	Timeout        time.Duration // how long its answer may take to begin, or to go on
	ForwardHeaders []string      // request headers let through beside the built-in ones
	Propagate      bool          // tell upstream the trace that a call belongs to
}

// maxIdleUpstream is how many idle connections are kept: as many as upstream's quota lets be busy in any second, and some.
const maxIdleUpstream = 256

// NewUpstream prepares the way to upstream; it connects to nothing yet.
func NewUpstream(config UpstreamConfig) (*Upstream, error) {
	base, err := url.Parse(config.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream.url: %w", err)
	}
	tlsConfig, err := trust.Client(config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	return &Upstream{
		base:      base,
		timeout:   config.Timeout,
		headers:   headerNames(config.ForwardHeaders),
		propagate: config.Propagate,
		transport: &http.Transport{
			// No Proxy: an environment variable must not decide where the credential goes.
			// Dialling and the handshake together stay within what the limiter reckons with until a request is counted.
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        tlsConfig,
			TLSHandshakeTimeout:    3 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           maxIdleUpstream,
			MaxIdleConnsPerHost:    maxIdleUpstream,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // answers are asked for unencoded, see headers.go
			WriteBufferSize:        32 << 10,
			ReadBufferSize:         32 << 10,
		},
	}, nil
}

// Forwards reports whether a client's header of this canonical name reaches upstream.
func (u *Upstream) Forwards(name string) bool { return slices.Contains(u.headers, name) }

// origin is upstream's scheme and host, without a slash that the configured URL may end in.
func (u *Upstream) origin() string { return u.base.Scheme + "://" + u.base.Host }

// Transport is the way to upstream for what is no call: asking for tokens. It follows no redirects.
func (u *Upstream) Transport() http.RoundTripper { return u.transport }

// Close lets go of idle connections.
func (u *Upstream) Close() { u.transport.CloseIdleConnections() }

// forward sends one request and returns the answer's header with the body still to be read. What is sent is byte for
// byte the path and query that policy judged. Redirects are answers like any other: RoundTrip follows none.
func (u *Upstream) forward(ctx context.Context, method string, call *catalog.Call, header http.Header, body *requestBody, bearer credential.Bearer) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	guard := watchStalls(u.timeout, cancel)
	out := (&http.Request{
		Method: method,
		URL:    &url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Opaque: call.Path, RawQuery: call.RawQuery},
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: outgoingHeader(header, u.headers),
		Host:   u.base.Host,
	}).WithContext(ctx)
	out.Body, out.ContentLength = http.NoBody, 0
	if body != nil {
		out.Body, out.ContentLength = body.reader(guard)
	}
	if u.propagate {
		traceContext.Inject(ctx, propagation.HeaderCarrier(out.Header))
	}
	bearer.Attach(out.Header)
	resp, err := u.transport.RoundTrip(out)
	if err != nil {
		guard.end()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	guard.answer() // the rest of the body may still be on its way; from here on the answer tells whether upstream is alive
	resp.Body = &answerBody{ReadCloser: resp.Body, ctx: ctx, guard: guard, cancel: cancel}
	return resp, nil
}

// errStalled ends an exchange in which upstream neither takes nor sends anything for upstream.timeout.
var errStalled = fmt.Errorf("upstream stopped in the middle: %w", context.DeadlineExceeded)

// stallGuard cancels an exchange when upstream stalls: while a request is sent and its answer awaited, and then while the
// answer is read. It rests while the gateway waits for the client, whose slowness is not upstream's.
type stallGuard struct {
	after  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer // runs look

	mu       sync.Mutex
	since    time.Time // when what is watched began; zero: it rests
	answered bool      // what is watched is the answer; a body that is still being sent does not count any more
	ended    bool
}

// watchStalls returns a guard that watches the sending.
func watchStalls(after time.Duration, cancel context.CancelCauseFunc) *stallGuard {
	g := &stallGuard{after: after, cancel: cancel, since: time.Now()}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = time.AfterFunc(after, g.look)
	return g
}

// look cancels the exchange if upstream has stalled, or looks again when it could have.
func (g *stallGuard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.after
	if !g.since.IsZero() {
		left -= time.Since(g.since)
	}
	switch {
	case g.ended:
	case left > 0:
		g.timer.Reset(left)
	default:
		g.cancel(errStalled)
	}
}

// sending has the guard watch, or rest, until there is an answer.
func (g *stallGuard) sending(watch bool) { g.set(false, watch) }

// reading has the guard watch, or rest, once there is an answer.
func (g *stallGuard) reading(watch bool) { g.set(true, watch) }

// set leaves the timer alone: it is set for each exchange, and this happens for each part of a body.
func (g *stallGuard) set(answered, watch bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.answered != answered:
	case watch:
		g.since = time.Now()
	default:
		g.since = time.Time{}
	}
}

// answer has the guard rest until the answer is read.
func (g *stallGuard) answer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered, g.since = true, time.Time{}
}

// end lays the guard to rest for good.
func (g *stallGuard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.timer.Stop()
}

// answerBody is upstream's body under guard.
type answerBody struct {
	io.ReadCloser
	ctx    context.Context // of the exchange: its cause says why a body broke off
	guard  *stallGuard
	cancel context.CancelCauseFunc
}

func (b *answerBody) Read(p []byte) (int, error) {
	b.guard.reading(true)
	n, err := b.ReadCloser.Read(p)
	b.guard.reading(false)
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.guard.end()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// unanswered turns a failed exchange into its answer: 504 where upstream was too slow, 502 else. It tells the client whether
// the call may be repeated without a look at what became of it.
func unanswered(err error, isRead bool) error {
	status, code, what := http.StatusBadGateway, problem.UpstreamFailed, "Upstream broke off before its answer was complete."
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		status, code, what = http.StatusGatewayTimeout, problem.UpstreamTimeout, "Upstream did not answer in time."
	}
	next := repeating(isRead)
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		what, next = "Upstream could not be reached.", "Nothing was done there: try again shortly, and tell the platform team if it lasts."
	}
	return problem.New(status, code, "%s %s", what, next).Because(err)
}

// repeating says what a client should know before it sends a call again that upstream had.
func repeating(isRead bool) string {
	if isRead {
		return "The call changes nothing: try again shortly."
	}
	return "The call may have taken effect all the same: look before you repeat it."
}
