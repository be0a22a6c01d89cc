package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A whole answer is written past net/http, header and body in one system call. net/http would copy the header's map, sort
// its fields and write them one by one, which for the fifteen fields of ours takes longer than all that the gateway does to
// find the answer, and would copy the body twice. It knows nothing of such an answer: when the handler has returned it
// writes an empty one, and that is what the connection drops.
//
// Only where nothing else hangs on it: HTTP/1.1, a request without a body on a connection that stays open, an answer with
// its length. The rest, and HTTP/2, is net/http's.

// connectionKey is where a request's context has its connection.
type connectionKey struct{}

// withConnection is an http.Server's ConnContext.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	if strict, is := conn.(interface{ strict() *strictConn }); is {
		return context.WithValue(ctx, connectionKey{}, strict.strict())
	}
	return ctx
}

// direct returns the connection that a whole answer to r may be written to, nil where there is none.
func direct(r *http.Request) *strictConn {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Method == http.MethodHead || r.ContentLength != 0 || r.Close {
		return nil
	}
	conn, _ := r.Context().Value(connectionKey{}).(*strictConn)
	return conn
}

// onePiece is the largest body that is copied behind its header, to be one write and one TLS record (RFC 8446 section 5.1).
const onePiece = 16<<10 - 2<<10

// writeWhole writes the answer if body is all of it. It is not written where net/http would do more than write it.
func (w *answerWriter) writeWhole(body []byte) (written bool, err error) {
	if w.direct == nil || !w.states(len(body)) || !w.encodeHead() {
		return false, nil
	}
	w.whole = true
	w.direct.answered = true
	w.direct.expectTaken(time.Now())
	if len(body) <= onePiece {
		w.head = append(w.head, body...)
		_, err = w.direct.Conn.Write(w.head)
	} else {
		w.pieces = [...][]byte{w.head, body}
		w.gathered = w.pieces[:]
		_, err = w.gathered.WriteTo(w.direct.gather)
		w.pieces[1] = nil
	}
	w.direct.broken = err
	return true, err
}

// states reports whether the header says that the body has n bytes, and nothing that is for net/http to do.
func (w *answerWriter) states(n int) bool {
	length := w.header["Content-Length"]
	if len(length) != 1 || w.status == http.StatusNoContent || w.status == http.StatusNotModified || http.StatusText(w.code()) == "" {
		return false
	}
	if stated, err := strconv.Atoi(length[0]); err != nil || stated != n {
		return false
	}
	_, typed := w.header["Content-Type"] // without one net/http guesses
	return typed && len(w.header["Connection"])+len(w.header["Transfer-Encoding"])+len(w.header["Trailer"]) == 0
}

// code is the status that is sent.
func (w *answerWriter) code() int { return cmp.Or(w.status, http.StatusOK) }

// encodeHead puts the status line and the header into w.head. It reports false where a value has a line break in it, or a name
// a space: net/http takes those out.
func (w *answerWriter) encodeHead() bool {
	b := append(w.head[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.code()), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(w.code())...)
	b = append(b, "\r\n"...)
	lines := 2
	for name, values := range w.header {
		if strings.IndexByte(name, ' ') >= 0 {
			return false
		}
		for _, value := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
			lines++
		}
	}
	if len(w.header["Date"]) == 0 {
		b = append(b, w.answers.date.at(time.Now())...)
		lines++
	}
	b = append(b, "\r\n"...)
	w.head = b
	return bytes.Count(b, []byte{'\n'}) == lines && bytes.Count(b, []byte{'\r'}) == lines
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

var errAnsweredTwice = errors.New("net/http wrote more than an empty answer after a whole one")

// Write writes, but for the empty answer that follows a whole one. Anything else in its place ends the connection: a client
// must never see two answers to one request.
func (c *strictConn) Write(p []byte) (int, error) {
	switch {
	case !c.answered:
		c.expectTaken(time.Now())
		return c.Conn.Write(p)
	case c.broken != nil:
		return 0, c.broken
	case !isEmptyAnswer(p):
		return 0, errAnsweredTwice
	}
	c.answered = false
	return len(p), nil
}

// isEmptyAnswer reports whether p is all that net/http writes for a handler that wrote nothing.
func isEmptyAnswer(p []byte) bool {
	return bytes.HasPrefix(p, []byte("HTTP/1.1 200 OK\r\nDate: ")) && bytes.Contains(p, []byte("\r\nContent-Length: 0\r\n")) &&
		bytes.Index(p, []byte("\r\n\r\n")) == len(p)-4
}
