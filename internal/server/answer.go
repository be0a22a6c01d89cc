package server

import (
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// answerWriter is the ResponseWriter that handlers get. It knows whether the answer has begun, and keeps the header until
// it does: an answer whose length is known and whose body comes in one piece is written whole (whole.go), everything else
// is handed over to net/http.
type answerWriter struct {
	http.ResponseWriter             // net/http's, for what is handed over
	header              http.Header // of the answer, until it is handed over
	status              int         // 0: the handler has not said yet
	begun               bool
	handed              bool          // over to net/http
	whole               bool          // written, past net/http
	takeIdle            time.Duration // 0: not HTTP/2
	timed               bool          // the handler has set a deadline of its own, which holds instead of takeIdle

	answers  *answers
	direct   *strictConn // where a whole answer may be written to; nil: nowhere
	head     []byte      // of a whole answer, encoded
	pieces   [2][]byte   // it and the body
	gathered net.Buffers // pieces, as they are written
}

// answers are the answerWriters of one server, which are used again: their maps hold the fifteen fields or so of every answer.
type answers struct {
	unused sync.Pool
	date   dateField
}

func newAnswers() *answers {
	return &answers{unused: sync.Pool{New: func() any { return &answerWriter{header: make(http.Header, 24)} }}}
}

// writer returns the ResponseWriter of one answer. takeIdle is how long an HTTP/2 client may take nothing.
func (a *answers) writer(w http.ResponseWriter, r *http.Request, takeIdle time.Duration) *answerWriter {
	writer := a.unused.Get().(*answerWriter)
	if r.ProtoMajor != 2 {
		takeIdle = 0
	}
	*writer = answerWriter{ResponseWriter: w, header: writer.header, takeIdle: takeIdle, answers: a, direct: direct(r), head: writer.head}
	return writer
}

// done hands over what the handler has left unsaid, after which nobody may use the writer.
func (w *answerWriter) done() {
	if !w.whole {
		w.handOver()
		w.expectTaken(w.takeIdle) // net/http sends the rest of what it has buffered after the handler
	}
	a := w.answers
	clear(w.header)
	*w = answerWriter{header: w.header, head: w.head}
	a.unused.Put(w)
}

// handOver leaves the answer to net/http from here on.
func (w *answerWriter) handOver() {
	if w.handed {
		return
	}
	w.handed = true
	maps.Copy(w.ResponseWriter.Header(), w.header)
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Header implements http.ResponseWriter.
func (w *answerWriter) Header() http.Header {
	if w.handed {
		return w.ResponseWriter.Header() // trailers are still to come
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	switch {
	case status < http.StatusOK: // this only announces an answer
		announced := w.ResponseWriter.Header()
		maps.Copy(announced, w.Header())
		w.ResponseWriter.WriteHeader(status)
		if !w.handed {
			clear(announced)
		}
	case w.handed:
		w.ResponseWriter.WriteHeader(status) // net/http says what is wrong with it
	case w.status == 0:
		w.begun, w.status = true, status
	}
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.begun = true
	if w.whole {
		return 0, http.ErrContentLength
	}
	if !w.handed {
		if written, err := w.writeWhole(p); written {
			return len(p), err
		}
		w.handOver()
	}
	w.expectTaken(w.takeIdle)
	n, err := w.ResponseWriter.Write(p)
	w.expectTaken(0) // what comes next may take its time
	return n, err
}

// FlushError is what http.ResponseController flushes by.
func (w *answerWriter) FlushError() error {
	w.begun = true
	if w.whole {
		return nil
	}
	w.handOver()
	w.expectTaken(w.takeIdle)
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.expectTaken(0)
	return err
}

// SetWriteDeadline is what http.ResponseController sets a handler's own deadline by.
func (w *answerWriter) SetWriteDeadline(deadline time.Time) error {
	w.timed = !deadline.IsZero()
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
}

// expectTaken gives an HTTP/2 client that long to take what is written, or as long as it likes.
func (w *answerWriter) expectTaken(within time.Duration) {
	if w.takeIdle == 0 || w.timed {
		return
	}
	var deadline time.Time
	if within > 0 {
		deadline = time.Now().Add(within)
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline) // an error here comes back from the write
}
