package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"corp.example/gateway/internal/problem"
)

// RequestID is the header every answer carries its request's id in. Later steps read it from there.
const RequestID = "X-Request-Id"

// chain wraps next in what every answer needs and no step depends on, outermost first.
func chain(next http.Handler, log *slog.Logger, maxBody int64) http.Handler {
	return recovery(requestID(securityHeaders(oneChunkedRequest(bodyLimit(next, maxBody)))), log)
}

// requestID gives the request an id of the gateway's own making: one that a client could choose could not be trusted in
// the audit log.
func requestID(next http.Handler) http.Handler {
	ids := requestIDs{sync.Pool{New: func() any { return new(lot) }}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[RequestID] = []string{ids.draw()}
		next.ServeHTTP(w, r)
	})
}

// idBytes is the length of an id: among a million million the odds that two are the same are one in a hundred thousand. Each stands
// twice in its line of the audit log, which is paid for by the byte.
const idBytes = 12

// requestIDs are drawn by the lot: asking the system for randomness costs more than all else about an id.
type requestIDs struct{ lots sync.Pool }

// lot is random bytes that are in no id yet: those behind used.
type lot struct {
	random [32 * idBytes]byte
	used   int // 0: none have been asked for
}

func (ids *requestIDs) draw() string {
	l := ids.lots.Get().(*lot)
	defer ids.lots.Put(l)
	if l.used%len(l.random) == 0 {
		_, _ = rand.Read(l.random[:]) // never fails, see crypto/rand
		l.used = 0
	}
	var text [2 * idBytes]byte
	hex.Encode(text[:], l.random[l.used:l.used+idBytes])
	l.used += idBytes
	return string(text[:])
}

// securityHeaders gives every answer the security headers.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header(), r.TLS != nil)
		next.ServeHTTP(w, r)
	})
}

// The values of the security headers, shared by all answers: nobody changes them.
var (
	nosniff  = []string{"nosniff"}
	policy   = []string{"default-src 'none'; frame-ancestors 'none'"}
	referrer = []string{"no-referrer"}
	hsts     = []string{"max-age=31536000"}
)

// secure sets the security headers as they are right for JSON; the portal's pages bring their own content security policy.
func secure(h http.Header, overTLS bool) {
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = policy
	h["Referrer-Policy"] = referrer
	if overTLS {
		h["Strict-Transport-Security"] = hsts
	}
}

// oneChunkedRequest ends a connection after a request with a chunked body, so that what follows the chunks is never read as
// another request; see http1/framing.go.
func oneChunkedRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// bodyIdle is how long a client may pause inside its request body. A slow link sends something every few seconds; who
// sends nothing for half a minute holds a connection for nothing.
const bodyIdle = 30 * time.Second

// bodyRate is the pace in bytes per second that a body must keep in the long run, or a byte now and then would hold a
// connection for as long as its sender likes. It is slower than any modem.
const bodyRate = 1 << 10

// bodyLimit bounds a request's body in size and in time.
func bodyLimit(next http.Handler, maxBytes int64) http.Handler {
	return limitBody(next, maxBytes, bodyIdle)
}

// limitBody is bodyLimit with another pause. A body announced as too large is refused unread.
func limitBody(next http.Handler, maxBytes int64, idle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBytes {
			w.Header().Set("Connection", "close") // the body that follows is not worth reading
			problem.Write(w, w.Header().Get(RequestID), TooLarge(maxBytes))
			return
		}
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		body := &pacedBody{ReadCloser: http.MaxBytesReader(w, r.Body, maxBytes), connection: http.NewResponseController(w), idle: idle}
		defer body.end()
		// Where next does not read the body, net/http reads it before it answers, and this is its deadline.
		body.expect(time.Now().Add(idle))
		// On a copy: net/http looks at its own request's body to see whether the client still waits for 100 Continue.
		paced := *r
		paced.Body = body
		next.ServeHTTP(w, &paced)
	})
}

// TooLarge is the answer to a body over maxBytes.
func TooLarge(maxBytes int64) *problem.Error {
	return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
		"The request body is over the gateway's limit of %d bytes. The platform team can raise server.max_body.", maxBytes)
}

// pacedBody gives each read of a body its own deadline. Only time spent waiting for the client counts.
//
// A read may still wait when the handler has returned: whoever sends the body on reads it on a goroutine of its own. By then
// the handler's ResponseWriter may be another request's, so the deadline is left alone.
type pacedBody struct {
	io.ReadCloser
	idle     time.Duration
	received int64
	waited   time.Duration

	mu         sync.Mutex
	connection *http.ResponseController
	over       bool // the handler has returned
}

// end is the end of the handler.
func (b *pacedBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

// expect sets the connection's deadline for what is read next, if the request is not over.
func (b *pacedBody) expect(deadline time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		_ = b.connection.SetReadDeadline(deadline) // an error here comes back from the read itself
	}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	earned := time.Duration(b.received) * time.Second / bodyRate
	b.expect(began.Add(b.idle + min(0, earned-b.waited)))
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	b.waited += time.Since(began)
	if errors.Is(err, io.EOF) {
		// From here on the server only watches whether the client leaves; a deadline would look as if it had. After another
		// error the deadline stays, or net/http would wait for the rest of a body that does not come.
		b.expect(time.Time{})
	}
	return n, err
}
