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
