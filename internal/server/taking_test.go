package server_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/server"
)

// piped is a listener with one connection, whose other end takes nothing that it does not read.
type piped struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p piped) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p piped) Close() error   { close(p.closed); return nil }
func (p piped) Addr() net.Addr { return &net.TCPAddr{} }

// servePiped serves handler to the returned connection.
func servePiped(t *testing.T, handler http.HandlerFunc) net.Conn {
	client, conn := net.Pipe()
	listener := piped{make(chan net.Conn, 1), make(chan struct{})}
	listener.conns <- conn
	s := server.NewHTTPServer(server.Chain(handler), slog.New(slog.DiscardHandler))
	go s.Serve(server.Strict(listener))
	t.Cleanup(func() { client.Close(); s.Close() })
	return client
}

const takenRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestAClientThatTakesNoAnswerLosesItsConnection(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"written whole":       say(200, "short"),
		"written by net/http": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no length, so in chunks") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := servePiped(t, handler)
				io.WriteString(client, takenRequest)
				time.Sleep(server.TakeWithin)
				takeAnswer(t, client)

				io.WriteString(client, takenRequest)
				time.Sleep(server.TakeWithin + 2*time.Second)
				late := time.Now()
				if _, err := client.Read(make([]byte, 1)); err == nil || time.Since(late) > 0 {
					t.Errorf("%v after %v the connection was still there, or an answer to be had: %v", time.Since(late), server.TakeWithin+2*time.Second, err)
				}
			})
		})
	}
}

// takeAnswer reads one answer to its end.
func takeAnswer(t *testing.T, client net.Conn) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil {
		t.Fatalf("taking an answer: %v", err)
	}
}

func TestAHandlersOwnDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := 10 * server.TakeWithin
		calls := 0
		client := servePiped(t, func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				http.NewResponseController(w).SetWriteDeadline(time.Now().Add(deadline))
			}
			say(200, "short")(w, r)
		})
		io.WriteString(client, takenRequest)
		time.Sleep(2 * server.TakeWithin)
		takeAnswer(t, client)
		io.WriteString(client, takenRequest) // the deadline was for one answer
		time.Sleep(server.TakeWithin + 2*time.Second)
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("a handler's deadline holds for the answer of another request")
		}
	})
}
