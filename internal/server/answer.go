package server

import (
	"net/http"
	"time"
)

// answerWriter is the ResponseWriter that handlers get. It knows whether the answer has begun.
type answerWriter struct {
	http.ResponseWriter
	begun    bool
	takeIdle time.Duration // 0: not HTTP/2
	timed    bool          // the handler has set a deadline of its own, which holds instead of takeIdle
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	w.begun = w.begun || status >= http.StatusOK // what comes before only announces an answer
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.begun = true
	w.expectTaken(w.takeIdle)
	n, err := w.ResponseWriter.Write(p)
	w.expectTaken(0) // what comes next may take its time
	return n, err
}

// FlushError is what http.ResponseController flushes by.
func (w *answerWriter) FlushError() error {
	w.begun = true
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
