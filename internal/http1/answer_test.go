package http1

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
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// say answers with a body, its length and a type, and further fields.
func say(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain")
		h.Set("Content-Length", fmt.Sprint(len(body)))
		for i := 0; i < len(fields); i += 2 {
			h.Add(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
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
		"a bare carriage return":      say(200, "split", "X-Echo", "a\rSet-Cookie: evil=1"),
		"a name with a space":         say(200, "named", "Set-Cookie ", "evil=1", "Transfer-Encoding ", "chunked"),
		"a body where none may be":    say(304, "none"),
		"a body where none can be":    say(204, "none"),
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
		"a trailer that is known before": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
			io.WriteString(w, "body")
		},
		"a status said twice": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "ok")
		},
		"spaces around a value": say(200, "wide", "X-Wide", " \t a b \t"),
		"a name of odd signs":   say(200, "odd", "X*odd'~", "1", "", "2", "X:y", "3", "X-\xff", "4"),
		"an early end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			io.WriteString(w, "half")
		},
		"an early end behind a flush": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
		},
		"more than was said": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "4")
			for range 2 {
				if _, err := io.WriteString(w, "body"); err != nil && err != http.ErrContentLength {
					panic(err)
				}
			}
		},
		"an empty body of a type": say(200, ""),
		"nothing where no body may be": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			if _, err := w.Write(nil); err != nil {
				panic(err)
			}
		},
		"what is held": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, long[:2048]) },
		"a byte more": func(w http.ResponseWriter, _ *http.Request) {
			for _, part := range []string{long[:1024], long[:1024], "x"} {
				io.WriteString(w, part)
			}
		},
		"many parts": func(w http.ResponseWriter, _ *http.Request) {
			for range 1000 {
				io.WriteString(w, "one of a thousand parts")
			}
		},
		"one large part of unknown length": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, long) },
		"a large part behind a small one": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "small")
			io.WriteString(w, long)
		},
		"a trailer that was announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "x-sum, X-None")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "1")
		},
		"a field after the body": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, long)
			w.Header().Set("X-Late", "1")
		},
		"an empty flush": func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() },
		"packed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "no type is guessed")
		},
		"an end by a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a panic behind the begin": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "begun")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"early hints": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style>")
			w.Header().Set("Content-Length", "8") // of the answer
			w.WriteHeader(http.StatusEarlyHints)
			say(200, "and then")(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, byNetHTTP := serve(t, handler), httptest.NewServer(handler)
			defer byNetHTTP.Close()
			if got, want := exchanges(t, here.address, get), exchanges(t, byNetHTTP.Listener.Addr().String(), get); got != want || here.handed.Load() > 0 {
				t.Errorf("three times over one connection: read\n%.600s\nwant, as net/http writes it,\n%.600s", got, want)
			}
		})
	}
}

// exchanges sends a request three times over one connection and returns what comes, in an order that does not depend on how
// the header was written, without what is another in each answer.
func exchanges(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(conn)
	var said strings.Builder
	for range 3 {
		if _, err := io.WriteString(conn, request); err != nil {
			break
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			said.WriteString("ended\n")
			break
		}
		for response.StatusCode < 200 {
			fmt.Fprintln(&said, response.Status, response.Header, response.ContentLength)
			if response, err = http.ReadResponse(reader, nil); err != nil {
				t.Fatal(err)
			}
		}
		body, err := io.ReadAll(response.Body)
		fmt.Fprintln(&said, response.Status, response.ContentLength, response.TransferEncoding, response.Close, err, response.Trailer)
		var lines []string
		for name, values := range response.Header {
			if name == "Date" && !strings.Contains(values[0], "2006") {
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

func TestAnAnswerOfKnownLengthIsOneWrite(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10} {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(200, strings.Repeat("x", size), "X-Field", "value")(w, r)
			http.NewResponseController(w).Flush() // has nothing to do
		}))
		for n := range 3 {
			exchanges(t, s.address, get)
			if got := s.writes.Swap(0); got != 3 {
				t.Errorf("%d writes for three answers of %d bytes over connection %d, want one each", got, size, n+1)
			}
		}
	}
}

// A handler that says less than it does must not have its answer taken for a whole one.
func TestAPanicEndsTheConnection(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) { panic("sbp_planted") },
		"a held part":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "held"); panic("sbp_planted") },
		"a whole answer": func(w http.ResponseWriter, r *http.Request) { say(200, "whole")(w, r); panic("sbp_planted") },
	} {
		s := serve(t, handler)
		var log lockedBuffer
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
		c := s.dial(t)
		c.say(t, get+get)
		all, err := io.ReadAll(c)
		want := 0
		if name == "a whole answer" {
			want = 1
		}
		if _, reset := errors.AsType[*net.OpError](err); err != nil && !reset || bytes.Count(all, []byte("HTTP/1.1 ")) != want || bytes.Contains(all, []byte("held")) {
			t.Errorf("behind %s: read %q, %v", name, all, err)
		}
		if text := log.String(); strings.Contains(text, "planted") || !strings.Contains(text, "panic while answering") {
			t.Errorf("behind %s: logged %s", name, text)
		}
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestAStatusThatIsNoneIsAPanic(t *testing.T) {
	for _, status := range []int{99, 1000} {
		got := make(chan any, 1)
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { got <- recover(); ok(w, r) }()
			w.WriteHeader(status)
		}))
		c := s.dial(t)
		c.say(t, get)
		c.expect(t, 200, "ok")
		if value := <-got; value == nil {
			t.Errorf("%d was taken for a status", status)
		}
	}
}

// Whatever its client sends after it is not HTTP. net/http would go on.
func TestASwitchToAnotherProtocolEndsTheConnection(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) }))
	c := s.dial(t)
	c.say(t, get)
	if response := c.expect(t, http.StatusSwitchingProtocols, ""); !response.Close || len(response.Header["Content-Length"]) > 0 {
		t.Errorf("another answer is promised, or a body: %v", response.Header)
	}
	c.expectEnd(t)
}

func TestNothingFollowsAWholeAnswer(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say(200, "body")(w, r)
		if _, err := io.WriteString(w, "HTTP/1.1 200 OK"); err != http.ErrContentLength {
			t.Errorf("more was taken, with %v", err)
		}
	}))
	c := s.dial(t)
	c.say(t, get)
	c.expect(t, 200, "body")
	c.expectEnd(t)
}

func TestAHandlersOwnFramingIsNotSent(t *testing.T) {
	s := serve(t, say(200, "framed", "Transfer-Encoding", "chunked"))
	c := s.dial(t)
	c.say(t, get)
	if response := c.expect(t, 200, "framed"); len(response.TransferEncoding) > 0 || response.ContentLength != 6 {
		t.Errorf("sent %+v", response)
	}
}

func TestALengthThatIsNoneIsNotSent(t *testing.T) {
	for _, length := range []string{"four", "-4", "+4 "} {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", length)
			io.WriteString(w, "body")
		}))
		c := s.dial(t)
		c.say(t, get)
		if response := c.expect(t, 200, "body"); response.ContentLength != 4 {
			t.Errorf("for the length %q, %d was sent", length, response.ContentLength)
		}
	}
}

// A part of an answer that was not taken in time must not be taken for the whole.
func TestNothingFollowsAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, rest := over(t, func(w http.ResponseWriter, _ *http.Request) {
			connection := http.NewResponseController(w)
			connection.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := io.WriteString(w, strings.Repeat("x", 8<<10))
			connection.SetWriteDeadline(time.Time{})
			for _, size := range []int{1, 8 << 10} {
				if _, again := io.WriteString(w, strings.Repeat("x", size)); err == nil || again == nil || connection.Flush() == nil {
					t.Errorf("behind a write that failed with %v one of %d bytes ended with %v", err, size, again)
				}
			}
		})
		c.say(t, get)
		c.from.Peek(1) // takes some of it
		time.Sleep(2 * time.Second)
		if all, _ := io.ReadAll(c.from); strings.HasSuffix(string(all), "\r\n0\r\n\r\n") {
			t.Error("the rest of the answer followed")
		}
		if conn := <-rest; conn != nil {
			t.Error("the connection goes on")
		}
	})
}

// Nor behind an announcement that was not taken whole.
func TestNoAnswerFollowsAFailedAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, rest := over(t, func(w http.ResponseWriter, r *http.Request) {
			connection := http.NewResponseController(w)
			connection.SetWriteDeadline(time.Now().Add(time.Second))
			w.WriteHeader(http.StatusEarlyHints)
			connection.SetWriteDeadline(time.Time{})
			ok(w, r)
		})
		c.say(t, get)
		c.Read(make([]byte, 1)) // and none of the rest
		time.Sleep(2 * time.Second)
		c.expectEnd(t)
		if conn := <-rest; conn != nil {
			t.Error("the connection goes on")
		}
	})
}

func TestADateIsOfItsSecond(t *testing.T) {
	var d dateField
	for _, at := range []int64{0, 0, 1} {
		if got, want := d.at(time.Unix(at, 0)), "Date: "+time.Unix(at, 0).UTC().Format(http.TimeFormat)+"\r\n"; got != want {
			t.Errorf("second %d has %q, want %q", at, got, want)
		}
	}
}

// Nothing of one answer may show in the next, which has its memory.
func TestAnAnswerHasNothingOfTheOneBefore(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			say(404, "first", "X-First", "1")(w, r)
			return
		}
		if len(w.Header()) > 0 {
			t.Errorf("an answer begins with the header %v", w.Header())
		}
		io.WriteString(w, "second")
	}))
	c := s.dial(t)
	for range 10 {
		c.say(t, strings.Replace(get, "/", "/first", 1))
		c.expect(t, 404, "first")
		c.say(t, get)
		if response := c.expect(t, 200, "second"); response.Header.Get("X-First") != "" {
			t.Errorf("the second answer has %v", response.Header)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	s := serve(b, say(200, strings.Repeat("x", 2<<10), "X-One", "1", "X-Two", "2", "X-Three", "3", "X-Four", "4", "X-Five", "5"))
	c := s.dial(b)
	c.SetDeadline(time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		c.say(b, get)
		c.expect(b, 200, "")
	}
}
