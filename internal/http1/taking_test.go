package http1

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestAClientThatTakesNoAnswerLosesItsConnection(t *testing.T) {
	inChunks := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "no length") }
	for name, test := range map[string]struct {
		request string
		handler http.HandlerFunc
	}{
		"of known length":     {get, say(200, "short")},
		"of unknown length":   {get, inChunks},
		"written by net/http": {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", inChunks},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client, rest := over(t, test.handler)
				go func() {
					if conn := <-rest; conn != nil {
						byNetHTTP(t, test.handler, conn)
					}
				}()
				io.WriteString(client, test.request)
				time.Sleep(takeWithin)
				client.expect(t, 200, "")

				io.WriteString(client, test.request)
				time.Sleep(takeWithin + 2*time.Second)
				late := time.Now()
				if _, err := client.Read(make([]byte, 1)); err == nil || time.Since(late) > 0 {
					t.Errorf("%v after %v the connection was still there, or an answer to be had: %v", time.Since(late), takeWithin+2*time.Second, err)
				}
			})
		})
	}
}

// byNetHTTP serves one connection.
func byNetHTTP(t *testing.T, handler http.Handler, conn net.Conn) {
	conns := make(chan net.Conn, 1)
	conns <- conn
	close(conns)
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	_ = server.Serve(handedOver{conns: conns}) // ends when there are no more
}

func TestAHandlersOwnDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := 10 * takeWithin
		calls := 0
		_, client, _ := over(t, func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				http.NewResponseController(w).SetWriteDeadline(time.Now().Add(deadline))
			}
			say(200, "short")(w, r)
		})
		io.WriteString(client, get)
		time.Sleep(2 * takeWithin)
		client.expect(t, 200, "")
		io.WriteString(client, get) // the deadline was for one answer
		time.Sleep(takeWithin + 2*time.Second)
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("a handler's deadline holds for the answer of another request")
		}
	})
}
