package server_test

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/server"
)

func TestEveryConnectionIsBounded(t *testing.T) {
	s := server.NewHTTPServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > 30*time.Second {
		t.Errorf("a slow header may take %v", s.ReadHeaderTimeout)
	}
	if s.IdleTimeout <= 0 || s.IdleTimeout > 5*time.Minute {
		t.Errorf("an idle connection is kept for %v", s.IdleTimeout)
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 128<<10 {
		t.Errorf("a header may have %d bytes", s.MaxHeaderBytes)
	}
}

func TestASlowHeaderEndsTheConnection(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	handled := false
	s.Config = server.NewHTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled = true }), slog.New(slog.DiscardHandler))
	s.Config.ReadHeaderTimeout = 50 * time.Millisecond
	s.Start()
	defer s.Close()
	conn := dialHTTP(t, s)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
	if rest, err := io.ReadAll(conn); err != nil || handled {
		t.Errorf("the connection ended with %q, %v; handled: %v", rest, err, handled)
	}
}

func TestAHeaderTooLargeIsAnswered431(t *testing.T) {
	s := start(t, nil)
	conn := s.dial(t, "")
	go io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 128<<10)+"\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %+v, %v; want 431", response, err)
	}
	if seen := s.paths(); len(seen) > 0 {
		t.Errorf("handled %q", seen)
	}
}

func TestASlowBodyEndsItsRequest(t *testing.T) {
	const idle = 50 * time.Millisecond
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}
	refuse := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		drip    bool
		want    int
	}{
		"a body that never comes":                          {read, false, http.StatusBadRequest},
		"a byte now and then":                              {read, true, http.StatusBadRequest},
		"a body that never comes to a request refused":     {refuse, false, http.StatusUnauthorized},
		"a byte now and then, of a request that's refused": {refuse, true, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(server.LimitBody(test.handler, 1<<20, idle))
			defer s.Close()
			conn := dialHTTP(t, s)
			defer conn.Close() // before the server, which waits for it
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
			if test.drip {
				go func() {
					for {
						if _, err := io.WriteString(conn, "x"); err != nil {
							return
						}
						time.Sleep(idle / 5) // the attack is its pace
					}
				}()
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != test.want {
				t.Fatalf("answered %+v, %v; want %d", response, err, test.want)
			}
			if !response.Close {
				t.Error("the connection is to be used again, with a body half read")
			}
		})
	}
}

func TestASlowHandlerIsNotTheClientsFault(t *testing.T) {
	const idle = 50 * time.Millisecond
	ready := make(chan bool)
	s := httptest.NewServer(server.LimitBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ready)
		for range 3 {
			time.Sleep(3 * idle) // as in the queue, or with an upstream that takes a body slowly
			ready <- true
			if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
				t.Errorf("reading the body: %v", err)
			}
		}
		time.Sleep(3 * idle)
		if err := r.Context().Err(); err != nil {
			t.Errorf("the request ended: %v", err)
		}
	}), 1<<20, idle))
	defer s.Close()
	conn := dialHTTP(t, s)
	defer conn.Close() // before the server, which waits for it
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
	for range ready {
		io.WriteString(conn, "x") // at once when asked
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("answered %+v, %v", response, err)
	}
}

// deadlines is a ResponseWriter that counts the deadlines it is given for reading.
type deadlines struct {
	httptest.ResponseRecorder
	set atomic.Int64
}

func (d *deadlines) SetReadDeadline(time.Time) error { d.set.Add(1); return nil }

// Who sends a body on may still wait for the rest of it when its request is over.
func TestABodyReadBehindItsRequestSetsNobodysDeadline(t *testing.T) {
	for _, how := range []string{"the end", "more"} {
		t.Run(how, func(t *testing.T) {
			body, client := io.Pipe()
			read := make(chan error)
			reading := make(chan bool)
			// Every answer has a ResponseWriter of the pool, so that the second may have the first one's.
			handler := server.Recover(server.LimitBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/first" {
					if how == "more" {
						io.WriteString(client, "more")
					}
					client.Close()
					if err := <-read; err != nil {
						t.Errorf("the rest of the first body: %v", err)
					}
					return
				}
				go func() {
					close(reading)
					_, err := io.ReadAll(r.Body)
					read <- err
				}()
				<-reading
				io.WriteString(client, "x") // is taken once the read has begun
			}), 1<<20, time.Minute), slog.New(slog.DiscardHandler), time.Minute)
			first, second := &deadlines{}, &deadlines{}
			request := httptest.NewRequest("POST", "/first", body)
			request.ContentLength = 5
			handler.ServeHTTP(first, request)
			during := first.set.Load()
			handler.ServeHTTP(second, httptest.NewRequest("GET", "/second", nil))
			if got := first.set.Load() - during; got > 0 {
				t.Errorf("%d deadlines were set for the first request when it was over", got)
			}
			if got := second.set.Load(); got > 0 {
				t.Errorf("%d deadlines were set for the second request, which has no body", got)
			}
		})
	}
}

func TestABodyTooLargeIsRefused(t *testing.T) {
	s := start(t, nil)
	for name, body := range map[string]io.Reader{
		"announced": strings.NewReader(strings.Repeat("x", 2<<10)),
		"chunked":   io.MultiReader(strings.NewReader(strings.Repeat("x", 2<<10))),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.paths())
			response, err := http.Post("http://"+s.Addr().String(), "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			switch {
			case name == "announced" && (response.StatusCode != http.StatusRequestEntityTooLarge || len(s.paths()) != before):
				t.Errorf("answered %d, handled %d requests; want 413 without a look at the body", response.StatusCode, len(s.paths())-before)
			case name == "chunked" && response.StatusCode != http.StatusBadRequest: // what the handler makes of the failed read
				t.Errorf("answered %d, want the body cut at the limit", response.StatusCode)
			}
		})
	}
}
