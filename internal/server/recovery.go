package server

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"corp.example/gateway/internal/problem"
)

// recovery answers 500 where a handler panics. Where the answer has begun it ends the connection instead: a client must not
// take half an answer, or one with something else behind it, for a whole one. http.ErrAbortHandler passes: it is how a cut
// answer is passed on.
func recovery(next http.Handler, log *slog.Logger) http.Handler {
	return recoverWithin(next, log, takeIdle)
}

// recoverWithin is recovery with another time for HTTP/2 clients to take their answers.
func recoverWithin(next http.Handler, log *slog.Logger, takeIdle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answerWriter{ResponseWriter: w}
		if r.ProtoMajor == 2 {
			answer.takeIdle = takeIdle
			defer answer.expectTaken(takeIdle) // net/http sends the rest of what it has buffered after the handler
		}
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value == http.ErrAbortHandler {
				panic(value)
			}
			id := w.Header().Get(RequestID)
			// The panic's value may hold anything, a header or a body among it; its type and the stack tell where to look.
			log.Error("panic while answering", "request_id", id, "type", typeName(value), "begun", answer.begun, "stack", string(debug.Stack()))
			if answer.begun {
				panic(http.ErrAbortHandler)
			}
			header := w.Header()
			clear(header) // what the handler meant to say of another answer
			header[RequestID] = []string{id}
			secure(header, r.TLS != nil)
			problem.Write(w, id, errors.New("panic"))
		}()
		next.ServeHTTP(answer, r)
	})
}

func typeName(value any) string {
	if err, isRuntime := value.(interface{ RuntimeError() }); isRuntime {
		return err.(error).Error() // the runtime's own texts name indexes and types, never values of ours
	}
	return "panic value withheld"
}

// takeIdle is how long an HTTP/2 client may take nothing of what is written to it. Over HTTP/1 a short answer fits what the
// kernel buffers, and who writes long ones bounds them; over HTTP/2 a client that grants no window would hold the handler of
// the shortest answer for ever, a hundred times on each connection.
const takeIdle = 60 * time.Second

// answerWriter is a ResponseWriter that knows whether the answer has begun.
type answerWriter struct {
	http.ResponseWriter
	begun    bool
	takeIdle time.Duration // 0: not HTTP/2
	timed    bool          // the handler has set a deadline of its own, which holds instead
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	w.begun = w.begun || status >= http.StatusOK // what is below only announces an answer
	w.ResponseWriter.WriteHeader(status)
}

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
