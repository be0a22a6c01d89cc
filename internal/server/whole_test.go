package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/server"
)

// countingListener counts the writes to its connections.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.writes}, err
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func (c countingConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// serveWhole serves handler as the public listener does, and counts its writes.
func serveWhole(t testing.TB, handler http.Handler) (address string, writes *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	writes = new(atomic.Int64)
	s := server.NewHTTPServer(server.Chain(handler), slog.New(slog.DiscardHandler))
	go s.Serve(server.Strict(countingListener{listener, writes}))
	t.Cleanup(func() { s.Close() })
	return listener.Addr().String(), writes
}

// say answers with a body, its length and a type, and further fields.
func say(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain")
		h.Set("Content-Length", fmt.Sprint(len(body)))
		for i := 0; i < len(fields); i += 2 {
			h.Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			io.WriteString(w, body)
		}
	}
}

func TestAnAnswerIsTheSameWhetherItIsWrittenWholeOrByNetHTTP(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for name, handler := range map[string]http.HandlerFunc{
		"a short answer":              say(200, "short"),
		"a long answer":               say(200, long),
		"an error":                    say(404, "nothing here"),
		"a status without a name":     say(299, "odd"),
		"two values":                  say(200, "two", "Vary", "Accept", "Vary", "Origin"),
		"its own date":                say(200, "dated", "Date", "Mon, 02 Jan 2006 15:04:05 GMT"),
		"a line break in a value":     say(200, "split", "X-Echo", "a\r\nSet-Cookie: evil=1\r\n\r\nHTTP/1.1 200 OK"),
		"a bare line feed":            say(200, "split", "X-Echo", "a\nSet-Cookie: evil=1"),
		"a name with a space":         say(200, "named", "Set-Cookie ", "evil=1", "Transfer-Encoding ", "chunked"),
		"a body where none may be":    say(304, "none"),
		"a body where none can be":    say(204, "none"),
		"its own framing":             say(200, "framed", "Transfer-Encoding", "chunked"),
		"a trailer that is announced": say(200, "announced", "Trailer", "X-Sum"),
		"a flush behind it": func(w http.ResponseWriter, r *http.Request) {
			say(200, "flushed")(w, r)
			http.NewResponseController(w).Flush()
		},
		"a connection that ends": say(200, "last", "Connection", "close"),
		"no content":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"not modified":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"nothing at all":         func(http.ResponseWriter, *http.Request) {},
		"no length":              func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>guessed") },
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			io.WriteString(w, "<b/>")
		},
		"a type that is not to be guessed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"], w.Header()["Content-Length"] = nil, []string{"4"}
			io.WriteString(w, "<b/>")
		},
		"two parts": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			io.WriteString(w, "one ")
			io.WriteString(w, "two ")
		},
		"a flushed part": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "one")
			http.NewResponseController(w).Flush()
			io.WriteString(w, "two")
		},
		"a trailer": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "body")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		},
		"a status said twice": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "ok")
		},
		"early hints": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			say(200, "and then")(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a server lingers over the body that it has not read
			whole, _ := serveWhole(t, handler)
			plain := httptest.NewServer(server.Chain(handler)) // whose connections take no whole answers
			defer plain.Close()
			for _, request := range []string{
				"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
				"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
				"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
				"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("b", 300_000), // more than is read to keep the connection
				"GET / HTTP/1.0\r\n\r\n",
				"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
				"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			} {
				got, want := exchanges(t, whole, request), exchanges(t, plain.Listener.Addr().String(), request)
				if got != want {
					t.Errorf("%.16q three times over one connection: read\n%.600s\nwant, as net/http writes it,\n%.600s", request, got, want)
				}
			}
		})
	}
}

// exchanges sends a request three times over one connection and returns what comes, in an order that does not depend on how
// the header was written, without what is another in each answer.
func exchanges(t *testing.T, address, request string) string {
	t.Helper()
	conn := dial(t, address)
	reader, method, _ := bufio.NewReader(conn), request[:strings.Index(request, " ")], 0
	var said strings.Builder
	for range 3 {
		if _, err := io.WriteString(conn, request); err != nil {
			break
		}
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			said.WriteString("ended\n")
			break
		}
		for response.StatusCode < 200 {
			fmt.Fprintln(&said, response.Status)
			if response, err = http.ReadResponse(reader, &http.Request{Method: method}); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(response.Body)
		fmt.Fprintln(&said, response.Status, response.ContentLength, response.TransferEncoding, response.Close, err, response.Trailer)
		var lines []string
		for name, values := range response.Header {
			if name == server.RequestID || name == "Date" && !strings.Contains(values[0], "2006") {
				values = []string{fmt.Sprint(len(values[0]))}
			}
			lines = append(lines, fmt.Sprintln(name, values))
		}
		slices.Sort(lines)
		fmt.Fprintf(&said, "%s%s\n", strings.Join(lines, ""), body)
		if response.Close {
			_, err := reader.ReadByte()
			fmt.Fprintln(&said, err == io.EOF || errors.Is(err, syscall.ECONNRESET))
			break
		}
	}
	return said.String()
}

func TestAWholeAnswerIsOneWrite(t *testing.T) {
	address, writes := serveWhole(t, say(200, strings.Repeat("x", 4<<10), "X-Field", "value"))
	for n := range int64(3) {
		exchanges(t, address, "GET / HTTP/1.1\r\nHost: a\r\nX-Times: once\r\n\r\n")
		if got := writes.Swap(0); got != 3 {
			t.Fatalf("%d writes for three answers over connection %d, want one each", got, n+1)
		}
	}
}

// What is dropped is one empty answer, never the refusal of what comes next.
func TestARequestAfterAWholeAnswerIsAnswered(t *testing.T) {
	address, _ := serveWhole(t, say(200, "first"))
	conn := dial(t, address)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	reader := bufio.NewReader(conn)
	for _, want := range []int{http.StatusOK, http.StatusBadRequest} {
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != want {
			t.Fatalf("read %v, %v; want a %d", response, err, want)
		}
		if want == http.StatusOK {
			io.Copy(io.Discard, response.Body)
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
		}
	}
}

func TestAPanicBehindAWholeAnswerEndsTheConnection(t *testing.T) {
	address, _ := serveWhole(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say(200, "whole")(w, r)
		panic("behind it")
	}))
	conn := dial(t, address)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if all, err := io.ReadAll(conn); err != nil || bytes.Count(all, []byte("HTTP/1.1 ")) != 1 || !bytes.HasSuffix(all, []byte("whole")) {
		t.Errorf("read %q, %v; want one answer and the end", all, err)
	}
}

func TestNothingIsWrittenBehindAWholeAnswer(t *testing.T) {
	fault := make(chan error, 3)
	address, _ := serveWhole(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say(200, "whole")(w, r)
		_, err := io.WriteString(w, "more")
		fault <- err
	}))
	if said := exchanges(t, address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"); strings.Contains(said, "more") {
		t.Errorf("read %q", said)
	}
	if err := <-fault; err != http.ErrContentLength {
		t.Errorf("writing more than the length: %v, want %v", err, http.ErrContentLength)
	}
}

func TestOnlyAnEmptyAnswerIsDropped(t *testing.T) {
	const empty = "HTTP/1.1 200 OK\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 0\r\n"
	for text, dropped := range map[string]bool{
		empty + "\r\n":                                                     true,
		empty + "Connection: close\r\n\r\n":                                true,
		empty + "\r\nHTTP/1.1 200 OK\r\n\r\n":                              false,
		empty + "\r\nbody":                                                 false,
		strings.Replace(empty, "0\r", "4\r", 1) + "\r\nbody":               false,
		"HTTP/1.1 400 Bad Request\r\nDate: x\r\nContent-Length: 0\r\n\r\n": false,
	} {
		inner, peer := net.Pipe()
		peer.Close() // whatever comes through fails
		n, err := server.AfterWhole(inner).Write([]byte(text))
		if (err == nil && n == len(text)) != dropped {
			t.Errorf("%q after a whole answer: %d, %v; dropped must be %t", text, n, err, dropped)
		}
	}
}

func BenchmarkWholeAnswer(b *testing.B) {
	address, _ := serveWhole(b, say(200, strings.Repeat("x", 2<<10), "X-One", "1", "X-Two", "2", "X-Three", "3", "X-Four", "4", "X-Five", "5"))
	conn := dial(b, address)
	conn.SetDeadline(time.Time{})
	reader := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
	}
}
