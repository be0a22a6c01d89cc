package http1

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// answer is the ResponseWriter of one plain request. It says the same as net/http's: TestAnswersAreThoseOfNetHTTP.
type answer struct {
	conn    *conn
	header  http.Header
	status  int   // 0: the handler has not said yet
	length  int64 // of the body, as the header states it; -1: it does not
	written int64 // of the body, what is held included
	typed   bool  // the header says what the body is, or that nobody is to guess
	trails  bool  // and that a trailer follows
	begun   bool  // the header has been written
	chunked bool
	last    bool  // the connection ends behind it
	failed  error // what a write failed with: nothing may follow a part of which nobody knows how much was taken

	out    []byte // the header but for what the body's beginning decides; then what is written around a part of the body
	held   []byte // the part of the body that is not written yet
	pieces [3][]byte
	gather net.Buffers // pieces, as they are written
}

const (
	// heldBytes is how much of a body is held back for what may follow: as much as net/http holds, who states the length of
	// a body that ends within.
	heldBytes = 2 << 10
	// onePiece is the largest part of a body that is copied behind its header, to be one write and one TLS record (RFC 8446
	// section 5.1).
	onePiece = 16<<10 - 2<<10
)

// answerTo returns the ResponseWriter of one request. They are used again: their maps hold the fifteen fields of an answer.
func (s *Server) answerTo(c *conn) *answer {
	a, _ := s.answers.Get().(*answer)
	if a == nil {
		a = &answer{header: make(http.Header, 24)}
	}
	a.conn = c
	return a
}

// release gives the answer back, after which nobody may use it.
func (a *answer) release() {
	_ = a.conn.takenConn.SetWriteDeadline(time.Time{}) // the handler's own was for this answer
	s := a.conn.server
	clear(a.header)
	*a = answer{header: a.header, held: a.held[:0], out: a.out[:0]}
	s.answers.Put(a)
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// SetWriteDeadline is what http.ResponseController sets a handler's own deadline by.
func (a *answer) SetWriteDeadline(deadline time.Time) error {
	return a.conn.takenConn.SetWriteDeadline(deadline)
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid status %d", status)) // as net/http does: nothing sensible can be sent
	case a.status != 0:
	case status < http.StatusOK && status != http.StatusSwitchingProtocols:
		a.announce(status)
	default:
		a.status = status
		a.settle()
	}
}

// announce sends an informational answer (RFC 9110 section 15.2).
func (a *answer) announce(status int) {
	b := appendStatus(a.out, status)
	b = appendFields(b, a.header, func(name string) bool { return name == "Content-Length" || name == "Transfer-Encoding" })
	_, a.failed = a.conn.Write(append(b, "\r\n"...)) // comes back from the answer
}

// settle takes the header as the handler has made it, and decides how the end of the body is told. What the handler puts into
// it from here on is a trailer, or lost.
func (a *answer) settle() {
	a.length = a.statedLength()
	if a.status == http.StatusNotModified {
		delete(a.header, "Content-Type") // of the body that is not sent
	}
	_, a.typed = a.header["Content-Type"]
	a.typed = a.typed || first(a.header, "Content-Encoding") != ""
	a.last = first(a.header, "Connection") == "close"
	a.trails = len(a.header["Trailer"]) > 0
	a.out = appendFields(appendStatus(a.out, a.status), a.header, func(name string) bool {
		trailer := strings.HasPrefix(name, http.TrailerPrefix)
		a.trails = a.trails || trailer
		return trailer
	})
	if len(a.header["Date"]) == 0 {
		a.out = append(a.out, a.conn.server.date.at(time.Now())...)
	}
}

// statedLength is the body's length by the header, -1 where it says none. What it must not say is taken out of it.
func (a *answer) statedLength() int64 {
	stated := first(a.header, "Content-Length")
	if _, framed := a.header["Transfer-Encoding"]; !framed && a.hasBody() {
		if stated == "" {
			return -1
		}
		if length, err := strconv.ParseInt(stated, 10, 64); err == nil && length >= 0 {
			return length
		}
	}
	delete(a.header, "Transfer-Encoding")
	delete(a.header, "Content-Length")
	return -1
}

// hasBody reports whether the status allows a body (RFC 9110 section 6.4.1).
func (a *answer) hasBody() bool {
	return a.status >= http.StatusOK && a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case a.failed != nil: // also where p would only be held
		return 0, a.failed
	case !a.hasBody():
		return 0, http.ErrBodyNotAllowed
	}
	if a.written += int64(len(p)); a.length >= 0 && a.written > a.length {
		return 0, http.ErrContentLength
	}
	if a.written != a.length && len(a.held)+len(p) <= heldBytes {
		a.held = append(a.held, p...)
		return len(p), nil
	}
	if len(a.held) > 0 {
		if err := a.send(a.held, false); err != nil {
			return 0, err
		}
		a.held = a.held[:0]
	}
	if err := a.send(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError is what http.ResponseController flushes by.
func (a *answer) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.begun && len(a.held) == 0 {
		return a.failed
	}
	defer func() { a.held = a.held[:0] }()
	return a.send(a.held, false)
}

// finish writes what is left when the handler has returned, and reports whether another request may follow.
func (a *answer) finish() bool {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.begun && a.length < 0 && a.hasBody() && !a.trails {
		a.length = a.written
		a.out = append(strconv.AppendInt(append(a.out, "Content-Length: "...), a.length, 10), "\r\n"...)
	}
	if !a.begun || a.chunked { // else what is held ends too early, and so does the connection
		_ = a.send(a.held, true) // an error stays in a.failed
	}
	return a.failed == nil && !a.last && (!a.hasBody() || a.chunked || a.written == a.length)
}

// send writes a part of the body, behind the header where that has not been written; the last part with what ends the body.
func (a *answer) send(part []byte, last bool) error {
	if a.failed != nil {
		return a.failed
	}
	b := a.out
	if !a.begun {
		b = a.endHeader(b, part)
	}
	tail := ""
	if a.chunked && len(part) > 0 {
		b = append(strconv.AppendInt(b, int64(len(part)), 16), "\r\n"...)
		tail = "\r\n"
	}
	if a.chunked && last {
		tail += "0\r\n" + string(appendFields(nil, a.trailers(), nil)) + "\r\n"
	}
	var err error
	if len(part) <= onePiece {
		b = append(append(b, part...), tail...)
		_, err = a.conn.Write(b)
	} else {
		a.pieces = [...][]byte{b, part, []byte(tail)}
		a.gather = a.pieces[:]
		_, err = a.conn.writeBuffers(&a.gather)
	}
	a.out = b[:0]
	a.failed = err
	return err
}

// endHeader appends what is known of the header when the body begins, with part.
func (a *answer) endHeader(b, part []byte) []byte {
	a.begun, a.chunked = true, a.length < 0 && a.hasBody()
	if !a.typed && len(part) > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(part)...), "\r\n"...)
	}
	if a.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if !a.last && (a.conn.server.closing.Load() || a.status == http.StatusSwitchingProtocols) {
		a.last = true
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

// trailers are the fields that are sent behind the body: those that were announced, and those with the prefix for it.
func (a *answer) trailers() http.Header {
	found := http.Header{}
	for name, values := range a.header {
		if name, is := strings.CutPrefix(name, http.TrailerPrefix); is {
			found[name] = values
		}
	}
	for _, line := range a.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); len(a.header[name]) > 0 {
				found[name] = a.header[name]
			}
		}
	}
	return found
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = append(b, "status code "...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	return append(b, "\r\n"...)
}

// appendFields appends a header but for its end, and for the names that leaveOut picks. No value ends its line.
func appendFields(b []byte, h http.Header, leaveOut func(name string) bool) []byte {
	start, lines := len(b), 0
	for name, values := range h {
		if leaveOut != nil && leaveOut(name) || !isName(name) {
			continue
		}
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, trimmed(value)...)
			b = append(b, "\r\n"...)
			lines++
		}
	}
	if written := b[start:]; bytes.Count(written, []byte{'\n'}) != lines || bytes.Count(written, []byte{'\r'}) != lines {
		return appendFields(b[:start], onOneLine(h), leaveOut)
	}
	return b
}

// trimmed is value without white space around it, as most come.
func trimmed(value string) string {
	if n := len(value); n > 0 && value[0] > ' ' && value[n-1] > ' ' {
		return value
	}
	return textproto.TrimString(value)
}

// onOneLine returns a header with spaces for the line breaks in its values.
func onOneLine(h http.Header) http.Header {
	h = h.Clone()
	for _, values := range h {
		for i, value := range values {
			values[i] = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
		}
	}
	return h
}

// isName reports whether a field may be called name (RFC 9110 section 5.6.2).
func isName(name string) bool {
	for i := range len(name) {
		if !nameBytes[name[i]] {
			return false
		}
	}
	return name != ""
}

var nameBytes = func() (may [256]bool) {
	for c := range may {
		may[c] = isNameByte(byte(c)) || strings.IndexByte("!#$%&'*+.^`|~", byte(c)) >= 0
	}
	return may
}()

func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// dateField is the Date field, the same for all answers of one second.
type dateField struct{ last atomic.Pointer[dateOf] }

type dateOf struct {
	second int64
	line   string
}

func (d *dateField) at(now time.Time) string {
	second := now.Unix()
	if last := d.last.Load(); last != nil && last.second == second {
		return last.line
	}
	of := &dateOf{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
	d.last.Store(of)
	return of.line
}
