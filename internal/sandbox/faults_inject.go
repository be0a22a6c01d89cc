package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// wrap delays and spoils what next answers.
func (f *Faults) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before, after := f.delay()
		if !sleep(r.Context(), before) {
			return
		}
		late := &shapedWriter{ResponseWriter: w, begin: func() { sleep(r.Context(), after) }}
		path, _, _ := strings.Cut(r.RequestURI, "?")
		fault, hit := f.pick(r.Method, path)
		if hit {
			fault.inject(late, r, next)
		} else {
			next.ServeHTTP(late, r)
		}
		late.started(http.StatusOK) // an empty answer is late too
	})
}

// sleep waits and reports true, or reports false as soon as the client has left.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// inject answers r with the fault.
func (f Fault) inject(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if f.Late {
		next.ServeHTTP(&lostWriter{header: http.Header{}}, r)
	}
	switch f.Kind {
	case FaultStatus:
		for name, value := range f.Header {
			w.Header().Set(name, value)
		}
		f.answer(w)
	case FaultReset:
		resetConnection(w)
	case FaultHang:
		// The server watches the connection only once the body is read.
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case FaultRedirect:
		w.Header().Set("Location", f.Host+r.RequestURI)
		w.WriteHeader(f.Status)
	case FaultEcho:
		f.echo(w, r, next)
	case FaultCut:
		next.ServeHTTP(&shapedWriter{ResponseWriter: w, write: cutAfter(w, f.Bytes)}, r)
	case FaultSlow:
		next.ServeHTTP(&shapedWriter{ResponseWriter: w, write: slowly(w, r, f.Bytes, f.Pause)}, r)
	}
}

// answer gives the status that was asked for, and what a scoped token lacks where that was said.
func (f Fault) answer(w http.ResponseWriter) {
	message := "The sandbox was told to answer " + http.StatusText(f.Status)
	if f.Lacks == "" {
		writeMessage(w, f.Status, message)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(f.Status)
	json.NewEncoder(w).Encode(map[string]any{"message": message, "missing_permissions": strings.Split(f.Lacks, "+")}) // the client may be gone
}

// echo hands the request's headers back.
func (f Fault) echo(w http.ResponseWriter, r *http.Request, next http.Handler) {
	switch f.Into {
	case EchoHeader:
		for name, values := range r.Header {
			w.Header()["X-Echo-"+name] = values
		}
		next.ServeHTTP(w, r)
	case EchoError:
		var text bytes.Buffer
		r.Header.Write(&text) // a buffer takes everything
		writeMessage(w, orDefault(f.Status, http.StatusInternalServerError), "Unhandled exception in request with headers: "+text.String())
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(orDefault(f.Status, http.StatusOK))
		json.NewEncoder(w).Encode(map[string]any{"headers": r.Header}) // the client may be gone
	}
}

// writeMessage answers an error in upstream's form.
func writeMessage(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client may be gone
	}
}

// resetConnection ends the connection with a TCP reset where it can, and abruptly anyway.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2: the stream is reset instead
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		raw = wrapped.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0) // unsent data is dropped and the peer gets RST
	}
	raw.Close()
}

// cutAfter lets n bytes of body through and then ends the connection.
func cutAfter(w http.ResponseWriter, n int) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		if len(p) <= n {
			n -= len(p)
			return w.Write(p)
		}
		w.Write(p[:n])
		http.NewResponseController(w).Flush() // what was promised must leave before the end
		panic(http.ErrAbortHandler)
	}
}

// slowly sends the body in pieces, with a pause before each.
func slowly(w http.ResponseWriter, r *http.Request, piece int, pause time.Duration) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		sent := 0
		for sent < len(p) {
			if !sleep(r.Context(), pause) {
				return sent, r.Context().Err()
			}
			n, err := w.Write(p[sent:min(sent+piece, len(p))])
			sent += n
			if err != nil {
				return sent, err
			}
			http.NewResponseController(w).Flush() // an answer that cannot be flushed is sent at its end
		}
		return sent, nil
	}
}

// shapedWriter is an answer that begins late, or whose body is written otherwise. A zero func does nothing special.
type shapedWriter struct {
	http.ResponseWriter
	begin func() // runs once, before the final header
	write func([]byte) (int, error)
}

func (w *shapedWriter) WriteHeader(status int) {
	w.started(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *shapedWriter) Write(p []byte) (int, error) {
	w.started(http.StatusOK)
	if w.write != nil {
		return w.write(p)
	}
	return w.ResponseWriter.Write(p)
}

// started runs begin before the answer's own header; a 1xx only announces it.
func (w *shapedWriter) started(status int) {
	if begin := w.begin; begin != nil && status >= 200 {
		w.begin = nil
		begin()
	}
}

// Flush is there for handlers that look for an http.Flusher.
func (w *shapedWriter) Flush() {
	w.started(http.StatusOK)
	http.NewResponseController(w.ResponseWriter).Flush() // an answer that cannot be flushed is sent at its end
}

// Unwrap lets http.ResponseController reach the connection.
func (w *shapedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lostWriter takes the answer of an operation that is carried out without its client hearing of it.
type lostWriter struct{ header http.Header }

func (w *lostWriter) Header() http.Header         { return w.header }
func (w *lostWriter) WriteHeader(int)             {}
func (w *lostWriter) Write(p []byte) (int, error) { return len(p), nil }
