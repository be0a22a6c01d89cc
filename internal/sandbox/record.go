package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxRecorded bounds the log: the newest so many requests are kept, a few megabytes with ordinary headers.
const maxRecorded = 4096

// maxDrained bounds the part of an unread body that the recorder reads for its hash, where the operation had no use for
// it: what net/http would read itself to keep the connection.
const maxDrained = 256 << 10

// Request is one request as it was received, and how it was answered. The body is not kept.
type Request struct {
	Start         time.Time   `json:"start"`
	End           time.Time   `json:"end,omitzero"` // zero while it is being answered
	Method        string      `json:"method"`
	Target        string      `json:"target"` // the request target, byte for byte
	Host          string      `json:"host"`
	Header        http.Header `json:"header"` // Authorization included
	Trailer       http.Header `json:"trailer,omitempty"`
	ContentLength int64       `json:"content_length"` // as declared; -1: not declared
	BodyBytes     int64       `json:"body_bytes"`     // as read
	BodySHA256    string      `json:"body_sha256"`    // of what was read, in hex
	Owner         string      `json:"owner"`          // whose token it carried, "" when unknown
	Status        int         `json:"status"`         // 0: no answer was begun
}

// Recorder keeps the newest requests. It is safe for concurrent use.
type Recorder struct {
	owner func(*http.Request) string

	mu    sync.Mutex
	kept  []*Request // a ring once it is full
	total int
}

// newRecorder returns an empty log that asks owner whose token a request carries.
func newRecorder(owner func(*http.Request) string) *Recorder {
	return &Recorder{owner: owner}
}

// Requests returns the kept requests in the order they came.
func (r *Recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Request, 0, len(r.kept))
	oldest := 0
	if r.total > len(r.kept) {
		oldest = r.total % maxRecorded
	}
	for i := range r.kept {
		out = append(out, *r.kept[(oldest+i)%len(r.kept)])
	}
	return out
}

// Total is how many requests came since the last Reset, those no longer kept included.
func (r *Recorder) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// Reset forgets every request.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept, r.total = nil, 0
}

// wrap records what next is asked and answers.
func (r *Recorder) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		entry := &Request{
			Start: time.Now(), Method: req.Method, Target: req.RequestURI, Host: req.Host, Header: req.Header.Clone(),
			ContentLength: req.ContentLength, Owner: r.owner(req),
		}
		r.add(entry)
		body := &hashedBody{ReadCloser: req.Body, sum: sha256.New()}
		answer := &statusWriter{ResponseWriter: w}
		// A fault ends the connection by panicking; what was received is recorded all the same. The trailer arrives in the
		// original request, whoever reads its body.
		defer func() { r.finish(entry, req.Trailer, body, answer.status) }()

		recorded := *req
		recorded.Body = body
		next.ServeHTTP(answer, &recorded)
		body.drain(req)
		if answer.status == 0 {
			answer.status = http.StatusOK // net/http answers so for a handler that wrote nothing
		}
	})
}

func (r *Recorder) add(entry *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < maxRecorded {
		r.kept = append(slices.Clip(r.kept), entry)
	} else {
		r.kept[r.total%maxRecorded] = entry
	}
	r.total++
}

func (r *Recorder) finish(entry *Request, trailer http.Header, body *hashedBody, status int) {
	n, sum := body.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	entry.End, entry.Status, entry.BodyBytes, entry.BodySHA256 = time.Now(), status, n, sum
	entry.Trailer = trailer.Clone()
}

// hashedBody counts and hashes what is read through it. Handlers may read in one goroutine while answering in another.
type hashedBody struct {
	io.ReadCloser
	mu  sync.Mutex
	n   int64
	sum hash.Hash
}

func (b *hashedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	b.sum.Write(p[:n]) // a hash never fails
	return n, err
}

// drain reads what the operation left, where that is short and is surely being sent: a client that asked for 100
// Continue and got an answer instead sends no body.
func (b *hashedBody) drain(req *http.Request) {
	if req.ContentLength > 0 && req.ContentLength <= maxDrained && req.Header.Get("Expect") == "" {
		io.Copy(io.Discard, b) // an unreadable rest is recorded as far as it came
	}
}

func (b *hashedBody) read() (int64, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n, hex.EncodeToString(b.sum.Sum(nil))
}

// statusWriter remembers the status answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	// A 1xx announces the answer; it is not the answer.
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Flush is there for handlers that look for an http.Flusher.
func (w *statusWriter) Flush() {
	http.NewResponseController(w.ResponseWriter).Flush() // an answer that cannot be flushed is sent at its end
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
