package http1

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
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
		"in several pieces":   {get, say(200, strings.Repeat("x", 2*onePiece))},
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

// deadlines is a connection that notes the deadlines it is given.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (c *deadlines) SetWriteDeadline(deadline time.Time) error {
	c.set = append(c.set, deadline)
	return nil
}

// A deadline costs more than a short write. One that a handler has set and taken away again must not stay.
func TestDeadlinesAreSetWhereTheyMustBe(t *testing.T) {
	var inner deadlines
	c, now := takenConn{Conn: &inner}, time.Now()
	ours := func(now time.Time) time.Time { return now.Add(takeWithin + takeRenewed) }
	c.expectTaken(now)
	c.SetWriteDeadline(time.Time{}) // behind an answer whose handler set none
	c.expectTaken(now)
	later, theirs := now.Add(takeRenewed), now.Add(time.Hour)
	c.expectTaken(later)
	c.SetWriteDeadline(theirs)
	c.expectTaken(later)
	c.SetWriteDeadline(time.Time{})
	c.expectTaken(later)
	if want := []time.Time{ours(now), ours(later), theirs, ours(later)}; !slices.Equal(inner.set, want) {
		t.Errorf("set %v, want %v", inner.set, want)
	}
}
