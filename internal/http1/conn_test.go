package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// over serves a handler over one connection whose ends wait for each other, in a bubble of synctest. rest is what was
// handed over, when Serve has returned.
func over(t *testing.T, handler http.HandlerFunc) (s *Server, c *client, rest chan net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	s, rest = newServer(handler), make(chan net.Conn, 1)
	go func() { rest <- s.serveOne(far) }()
	t.Cleanup(func() { near.Close() })
	return s, &client{Conn: near, from: bufio.NewReader(near)}, rest
}

func TestRequestsThatComeAtOnceAreAnsweredInTurn(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(time.Millisecond)
		select {
		case <-r.Context().Done():
			t.Error("the client has not left")
		default:
		}
		say(200, r.URL.Path)(w, r)
	}))
	c := s.dial(t)
	var all strings.Builder
	for _, path := range []string{"/one", "/two", "/three"} {
		all.WriteString(strings.Replace(get, "/", path, 1))
	}
	c.say(t, strings.Repeat(all.String(), 100)) // more than there is room for at once
	for range 100 {
		for _, path := range []string{"/one", "/two", "/three"} {
			c.expect(t, 200, path)
		}
	}
	if s.handed.Load() > 0 {
		t.Error("net/http was given the connection")
	}
}

func TestAHeaderMayComeInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _ := over(t, ok)
		for range 2 {
			for _, b := range []byte(get) {
				c.say(t, string(b))
			}
			c.expect(t, 200, "ok")
			time.Sleep(2 * s.HeaderTimeout) // its time is over, not that of the connection
		}
	})
}

// Nothing is lost when a connection changes hands, whatever came before, and in how many parts.
func TestTheFirstRequestThatIsNotPlainIsTheFirstOfNetHTTP(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		say(200, r.Method+" "+string(body))(w, r)
	}
	large := "GET / HTTP/1.1\r\nHost: a\r\nX-Large: " + strings.Repeat("x", headerBytes) + "\r\n\r\n"
	for name, test := range map[string]struct{ request, want string }{
		"a body":         {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", "POST body"},
		"chunks":         {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "POST body"},
		"a large header": {large, "GET "},
	} {
		for scheme, s := range map[string]*stage{"http": serve(t, http.HandlerFunc(echo)), "https": serveTLS(t, http.HandlerFunc(echo))} {
			c := s.dial(t)
			c.say(t, get+get)
			c.expect(t, 200, "GET ")
			c.expect(t, 200, "GET ")
			c.say(t, get+test.request+get+get)
			for _, want := range []string{"GET ", test.want, "GET ", "GET "} {
				c.expect(t, 200, want)
			}
			if s.handed.Load() != 1 {
				t.Errorf("%s over %s: net/http was given %d connections", name, scheme, s.handed.Load())
			}
			cut := s.dial(t)
			for _, part := range []string{test.request[:1], test.request[1:20], test.request[20:]} {
				cut.say(t, part)
			}
			cut.expect(t, 200, test.want)
		}
	}
}

// net/http may keep the connection for long.
func TestWhatWasHandedOverIsNotKept(t *testing.T) {
	c := (&conn{takenConn: takenConn{Conn: newScripted(nil, 0)}}).forNetHTTP([]byte(get)).(*strictConn)
	if n, err := c.Read(make([]byte, len(get))); n != len(get) || err != nil || c.unread != nil {
		t.Errorf("read %d bytes, %v; kept %q", n, err, c.unread)
	}
}

func TestAConnectionChangesHandsWhileItsClientIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			r.Context().Done()
			time.Sleep(2 * watchAfter)
			body, _ := io.ReadAll(r.Body)
			say(200, r.Method+string(body))(w, r)
		}
		_, c, rest := over(t, handler)
		go func() { byNetHTTP(t, http.HandlerFunc(handler), <-rest) }()
		c.say(t, get+"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo") // comes at once, and more is read on
		c.expect(t, 200, "GET")
		c.say(t, "dy"+get)
		c.expect(t, 200, "POSTbody")
		c.expect(t, 200, "GET")
	})
}

func TestWhatCannotBeReadInOneWayIsRefused(t *testing.T) {
	for scheme, s := range map[string]*stage{"http": serve(t, http.HandlerFunc(ok)), "https": serveTLS(t, http.HandlerFunc(ok))} {
		for name, request := range inTwoWays {
			t.Run(scheme+"/"+name, func(t *testing.T) {
				c := s.dial(t)
				c.say(t, get+request+get)
				c.expect(t, 200, "ok")
				c.expect(t, 400, "")
				c.expectEnd(t)
			})
		}
	}
}

func TestARequestIsWhatItIsForNetHTTP(t *testing.T) {
	type asked struct {
		remote string
		secure bool
		body   string
	}
	got := make(chan asked, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- asked{r.RemoteAddr, r.TLS != nil && r.TLS.HandshakeComplete, string(body)}
		ok(w, r)
	})
	for secure, s := range map[bool]*stage{false: serve(t, handler), true: serveTLS(t, handler)} {
		c := s.dial(t)
		for request, body := range map[string]string{get: "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody": "body"} {
			c.say(t, request)
			c.expect(t, 200, "ok")
			if want, got := (asked{c.LocalAddr().String(), secure, body}), <-got; got != want {
				t.Errorf("the handler saw %+v, want %+v", got, want)
			}
		}
	}
}

func TestASlowHeaderEndsTheConnection(t *testing.T) {
	for name, parts := range map[string][]string{"never comes": nil, "stops": {get[:10]}, "drips": strings.Split(get+get+get, "")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c, rest := over(t, func(http.ResponseWriter, *http.Request) { t.Error("something was served") })
				began := time.Now()
				for _, part := range parts {
					if _, err := io.WriteString(c, part); err != nil {
						break
					}
					time.Sleep(s.HeaderTimeout / 20)
				}
				if conn := <-rest; conn != nil || time.Since(began) > s.HeaderTimeout*21/20 {
					t.Errorf("the connection ended after %v as %v", time.Since(began), conn)
				}
			})
		})
	}
}

// The time for a header begins with the header, though it comes behind others.
func TestEachHeaderHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _ := over(t, ok)
		for n := range 5 {
			time.Sleep(s.HeaderTimeout * time.Duration(min(n, 1)*2)) // all but the first
			c.say(t, get[:10])
			time.Sleep(s.HeaderTimeout * 3 / 4)
			c.say(t, get[10:])
			c.expect(t, 200, "ok")
		}
	})
}

// The time to watch begins anew with each request.
func TestAShortAnswersClientIsNotWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _ := over(t, nil)
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Context().Done()
			time.Sleep(watchAfter * 3 / 4)
			s.each(func(c *conn) {
				if c.reading {
					t.Error("the client is watched")
				}
			})
			ok(w, r)
		})
		for range 3 {
			c.say(t, get)
			c.expect(t, 200, "ok")
		}
	})
}

func TestAConnectionWithoutRequestsEnds(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"whose client was not watched": ok,
		"whose client was watched": func(w http.ResponseWriter, r *http.Request) {
			r.Context().Done()
			time.Sleep(2 * watchAfter)
			ok(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c, rest := over(t, handler)
				for _, pause := range []time.Duration{0, s.IdleTimeout - time.Second, s.IdleTimeout - time.Second, deadlineRenewed / 2} {
					time.Sleep(pause)
					c.say(t, get)
					c.expect(t, 200, "ok")
				}
				idle := time.Now()
				if conn := <-rest; conn != nil || time.Since(idle) < s.IdleTimeout || time.Since(idle) > s.IdleTimeout+2*deadlineRenewed {
					t.Errorf("after %v: %v", time.Since(idle), conn)
				}
			})
		})
	}
}

// An answer may take longer than a connection may be idle, and its client is watched all the while.
func TestAnAnswerMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, rest := over(t, nil)
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("a client that waits has left")
			case <-time.After(10 * s.IdleTimeout):
			}
			ok(w, r)
		})
		for range 2 {
			c.say(t, get)
			c.expect(t, 200, "ok")
		}
		began := time.Now()
		c.say(t, get)
		time.Sleep(5 * s.IdleTimeout)
		c.SetReadDeadline(time.Now()) // nothing has come
		if _, err := c.from.Peek(1); err == nil {
			t.Error("the answer came early")
		}
		c.SetReadDeadline(time.Time{})
		c.expect(t, 200, "ok")
		if took := time.Since(began); took != 10*s.IdleTimeout {
			t.Errorf("the answer took %v", took)
		}
		c.Close()
		<-rest
	})
}

func TestARequestEndsWhenItsClientLeaves(t *testing.T) {
	for name, before := range map[string]int{"with its first request": 0, "with another one": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				over, c, rest := over(t, nil)
				left := make(chan error, 1)
				over.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if calls++; calls <= before {
						r.Context().Done()
						time.Sleep(2 * watchAfter)
						ok(w, r)
						return
					}
					derived, cancel := context.WithTimeout(r.Context(), time.Hour)
					defer cancel()
					<-derived.Done()
					left <- r.Context().Err()
				})
				for range before {
					c.say(t, get)
					c.expect(t, 200, "ok")
				}
				c.say(t, get)
				synctest.Wait()
				began := time.Now()
				c.Close()
				if err := <-left; err != context.Canceled || time.Since(began) > watchAfter {
					t.Errorf("the request ended after %v with %v", time.Since(began), err)
				}
				<-rest
			})
		})
	}
}

// A client may send its next request while it waits. That it then leaves shows when there is room to read on.
func TestAClientThatSentMoreIsWatchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, left := 0, make(chan bool, 1)
		_, c, rest := over(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			done := r.Context().Done()
			if calls == 1 {
				time.Sleep(time.Second) // the next request comes meanwhile
				ok(w, r)
				return
			}
			<-done
			left <- true
		})
		c.say(t, get)
		c.say(t, get)
		c.expect(t, 200, "ok")
		synctest.Wait()
		c.Close()
		<-left
		<-rest
	})
}

func TestARequestsContextEndsWithIt(t *testing.T) {
	for name, look := range map[string]func(context.Context){
		"asked for before": func(ctx context.Context) { ctx.Done() },
		"asked for after":  func(context.Context) {},
	} {
		var kept context.Context
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			look(r.Context())
			if err := r.Context().Err(); err != nil {
				t.Errorf("%s: within the request: %v", name, err)
			}
			kept = r.Context()
			ok(w, r)
		}))
		c := s.dial(t)
		for range 3 {
			c.say(t, get)
			c.expect(t, 200, "ok")
		}
		c.say(t, get)
		c.expect(t, 200, "ok")
		s.Shutdown(t.Context())
		if err := kept.Err(); err != context.Canceled {
			t.Errorf("%s: Err is %v", name, err)
		}
		select {
		case <-kept.Done():
		default:
			t.Errorf("%s: not done", name)
		}
	}
}

func TestShutdownWaitsForAnswersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release; ok(w, r) }))
		open := func() (*client, chan net.Conn) {
			near, far := net.Pipe()
			rest := make(chan net.Conn, 1)
			go func() { rest <- s.serveOne(far) }()
			return &client{near, bufio.NewReader(near)}, rest
		}
		silent, silentEnd := open()
		used, usedEnd := open()
		used.say(t, get)
		release <- true
		used.expect(t, 200, "ok")
		busy, busyEnd := open()
		busy.say(t, get)
		synctest.Wait()

		over := make(chan error)
		go func() { over <- s.Shutdown(t.Context()) }()
		for _, end := range []chan net.Conn{silentEnd, usedEnd} {
			if conn := <-end; conn != nil {
				t.Error("an idle connection was given to net/http")
			}
		}
		silent.expectEnd(t)
		_, late := open()
		if conn := <-late; conn != nil {
			t.Error("a connection was served after the end")
		}
		synctest.Wait()
		select {
		case err := <-over:
			t.Fatalf("Shutdown returned %v before the answer", err)
		default:
		}
		release <- true
		if response := busy.expect(t, 200, "ok"); !response.Close {
			t.Error("the last answer promises another one")
		}
		<-busyEnd
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// A request that is net/http's has been read when net/http has accepted its connection, not before.
func TestShutdownWaitsForWhatIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		s, accept, over := newServer(nil), make(chan bool), make(chan error, 1)
		go s.Serve(far, func(net.Conn) { <-accept })
		io.WriteString(near, "POST / HTTP/1.1\r\n")
		synctest.Wait()
		go func() { over <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-over:
			t.Errorf("Shutdown returned %v before", err)
		default:
		}
		close(accept)
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// An answer whose header is out promises another one. The connection ends behind it all the same.
func TestShutdownEndsAConnectionWhoseAnswerHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		s, c, rest := over(t, func(w http.ResponseWriter, r *http.Request) {
			ok(w, r)
			<-release
		})
		c.say(t, get)
		c.expect(t, 200, "ok")
		go func() { synctest.Wait(); close(release) }()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("Shutdown returned %v after %v", err, time.Since(began))
		}
		<-rest
	})
}

// What was sent behind the last request is not answered: its client was told to send it elsewhere.
func TestTheLastAnswerSaysSoOnceAndIsTheLast(t *testing.T) {
	for name, fields := range map[string][]string{"by itself": nil, "with the handler": {"Connection", "close"}} {
		synctest.Test(t, func(t *testing.T) {
			s, c, _ := over(t, nil)
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.closing.Store(true)
				say(200, "last", fields...)(w, r)
			})
			c.say(t, get+get)
			all, _ := io.ReadAll(c)
			if text := string(all); strings.Count(text, "Connection: close\r\n") != 1 || strings.Count(text, "HTTP/1.1 200") != 1 {
				t.Errorf("%s: answered %q", name, text)
			}
		})
	}
}

// shutConn is a connection that is shut down while a read from it succeeds.
type shutConn struct {
	*scripted
	shutdown func()
}

func (c shutConn) Read(p []byte) (int, error) {
	go c.shutdown()
	<-c.closed
	return c.scripted.Read(p)
}

// Nobody could be told what became of it.
func TestARequestThatMeetsShutdownIsNotServed(t *testing.T) {
	s := newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was served") }))
	s.serveOne(shutConn{newScripted([]byte(get), 0), func() { s.Shutdown(t.Context()) }})
}

func TestNothingIsServedBehindClose(t *testing.T) {
	s := newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was served") }))
	s.Close()
	conn := newScripted([]byte(get), 0)
	s.serveOne(conn)
	<-conn.closed
}

func TestNothingIsKeptOfAConnectionThatIsOver(t *testing.T) {
	s := newServer(http.HandlerFunc(ok))
	for _, text := range []string{get, get + "POST / HTTP/1.1\r\n"} {
		s.serveOne(newScripted([]byte(text), 0))
		if len(s.conns) > 0 {
			t.Errorf("behind %q %d connections are kept", text, len(s.conns))
		}
	}
}

func TestShutdownCutsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, rest := over(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) })
		c.say(t, get)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown returned %v", err)
		}
		c.expectEnd(t)
		<-rest
	})
}
