package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

// buffers are the copy buffers of streaming bodies. 32 KiB is what io.Copy takes; larger ones bring nothing on loopback
// or TLS records of 16 KiB.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

const (
	// decidingBytes is how much of a body is read where the body decides what a call is. A larger query is judged as the
	// write it may be.
	decidingBytes = 1 << 20
	// replayBytes is how much of a body is kept so that it can be sent again after a 429. Most bodies are JSON of a few
	// KiB; larger ones stream, and their 429 goes to the client.
	replayBytes = 64 << 10
)

// requestBody is a request's body on its way: a prefix read ahead, the rest still with the client.
type requestBody struct {
	header http.Header // says what form it has
	prefix []byte
	whole  bool // prefix is all there is
	rest   io.ReadCloser
	length int64     // as announced, -1 when chunked
	hashed bool      // its hash is wanted: the call is no read
	sent   *sentBody // the last attempt to send it; nil before
	err    error     // reading ahead failed
}

func newRequestBody(r *http.Request) requestBody {
	b := requestBody{header: r.Header, rest: r.Body, length: r.ContentLength}
	if r.ContentLength == 0 || r.Body == nil {
		b.whole, b.rest = true, http.NoBody
	}
	return b
}

// readAhead reads until at least n bytes or the end are in the prefix.
func (b *requestBody) readAhead(n int) error {
	if b.whole || len(b.prefix) >= n {
		return nil
	}
	var buffer bytes.Buffer
	buffer.Write(b.prefix)
	_, err := io.CopyN(&buffer, b.rest, int64(n-len(b.prefix)))
	b.prefix = buffer.Bytes()
	if errors.Is(err, io.EOF) {
		b.whole = true
		return nil
	}
	b.err = err
	return err
}

// recordHash has what is sent from now on hashed.
func (b *requestBody) recordHash() { b.hashed = true }

// sha256 is the hex hash of the body as far as it was read; "" for a read, and where nothing was.
func (b *requestBody) sha256() string {
	switch {
	case !b.hashed:
		return ""
	case b.sent != nil && b.sent.hash != nil:
		return b.sent.sum()
	case b.whole && len(b.prefix) > 0:
		return hexSHA256(b.prefix)
	}
	return ""
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// fault is what reading from the client failed with, nil where it did not.
func (b *requestBody) fault() error {
	if b.err != nil || b.sent == nil {
		return b.err
	}
	return b.sent.fault()
}

// end keeps the transport, which may go on sending after it has an answer, from reading on: the body belongs to a
// request that is over.
func (b *requestBody) end() {
	if b.sent != nil {
		b.sent.end()
	}
}

// reader gives the body to send, under guard. Called again, it starts over, which works only for a whole prefix.
func (b *requestBody) reader(guard *stallGuard) (body io.ReadCloser, length int64) {
	if b.whole && len(b.prefix) == 0 {
		return http.NoBody, 0
	}
	if b.whole {
		b.sent = &sentBody{source: bytes.NewReader(b.prefix), guard: guard}
		return b.sent, int64(len(b.prefix))
	}
	b.sent = &sentBody{source: io.MultiReader(bytes.NewReader(b.prefix), b.rest), guard: guard}
	if b.hashed {
		b.sent.hash = sha256.New()
	}
	return b.sent, b.length
}

// sentBody is one attempt to send a body. The transport reads it on a goroutine of its own, which may outlive RoundTrip
// and the request. It remembers the error that reading from the client ended with: the transport's own would hide whose
// fault it was.
type sentBody struct {
	source io.Reader
	guard  *stallGuard

	mu    sync.Mutex
	hash  hash.Hash // of what was read; nil where it is not wanted or is that of a whole prefix
	err   error
	ended bool
}

var errRequestOver = errors.New("the request that the body belongs to is over")

func (s *sentBody) Read(p []byte) (int, error) {
	if s.over() {
		return 0, errRequestOver
	}
	s.guard.sending(false)
	n, err := s.source.Read(p)
	s.guard.sending(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errRequestOver
	}
	if s.hash != nil {
		s.hash.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Close does nothing: the server closes the client's body.
func (s *sentBody) Close() error { return nil }

func (s *sentBody) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *sentBody) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *sentBody) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sentBody) sum() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return hex.EncodeToString(s.hash.Sum(nil))
}

// replayable reports whether the body can be sent again.
func (b *requestBody) replayable() bool { return b.whole }

// effect is what the call does, where a field of its body can make it a read.
func (b *requestBody) effect(op *catalog.Operation) (catalog.Effect, error) {
	if op.ReadOnlyIf == "" {
		return op.Effect, nil
	}
	fields, err := b.decidingFields()
	if err != nil || fields == nil {
		return op.Effect, err
	}
	if value, named := fields[op.ReadOnlyIf]; named && string(value) == "true" {
		return catalog.Read, nil
	}
	return op.Effect, nil
}

// organization is the organization that the body names.
func (b *requestBody) organization(op *catalog.Operation) (string, error) {
	fields, err := b.decidingFields()
	if err != nil {
		return "", err
	}
	if fields == nil {
		return "", problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
			"The body of %s names its organization and may have %d bytes at most.", op.ID, decidingBytes)
	}
	var named string
	for _, field := range op.BodyTarget {
		value, present := fields[field]
		if !present {
			continue
		}
		var slug string
		if err := json.Unmarshal(value, &slug); err != nil {
			return "", badBody(fmt.Sprintf("its %q must be text", field))
		}
		if named != "" && named != slug {
			return "", badBody(fmt.Sprintf("its fields %q name different organizations", op.BodyTarget))
		}
		named = slug
	}
	if named == "" {
		return "", badBody(fmt.Sprintf("it must name the organization in %q", op.BodyTarget[0]))
	}
	return named, nil
}

// decidingFields returns the top-level fields of a JSON body, or nil where it is too large to decide anything. Where the
// body decides, a form that another reader could take differently is refused: repeated keys, trailing data, and a header
// by which it is no JSON at all.
func (b *requestBody) decidingFields() (map[string]json.RawMessage, error) {
	if err := b.readAhead(decidingBytes); err != nil {
		return nil, err
	}
	if !b.whole {
		return nil, nil
	}
	if !b.declaredJSON() {
		return nil, badBody("it must be JSON in UTF-8, and its header must say so: Content-Type: application/json")
	}
	decoder := json.NewDecoder(bytes.NewReader(b.prefix))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, badBody("it must be a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, badBody("it is not valid JSON")
		}
		key, _ := token.(string) // a key of an object is always text
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, badBody("it is not valid JSON")
		}
		if _, repeated := fields[key]; repeated {
			return nil, badBody(fmt.Sprintf("its key %q stands twice", key))
		}
		fields[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, badBody("it is not valid JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, badBody("something follows its JSON object")
	}
	return fields, nil
}

// declaredJSON reports whether the header has every reader take the body for JSON in UTF-8. Upstream may read it as its
// header says: one text can be JSON that says read_only and a form, or UTF-7, that does not.
func (b *requestBody) declaredJSON() bool {
	coding := b.header.Get("Content-Encoding")
	if coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	switch strings.ToLower(strings.ReplaceAll(b.header.Get("Content-Type"), "; ", ";")) {
	case "application/json", "application/json;charset=utf-8", `application/json;charset="utf-8"`:
		return true
	}
	return false
}

func badBody(why string) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, "The request body cannot be read in one way only: %s.", why)
}
