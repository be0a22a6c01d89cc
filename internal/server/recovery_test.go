package server_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/server"
)

// protocols are the ways a client may ask, each by a client that keeps nothing.
func protocols(t *testing.T, config server.Config, s *running) map[string]func() (*http.Response, error) {
	t.Helper()
	plain, secure := config, config
	secure.TLS = certificate(t).TLSConfig()
	overTLS := &running{secure: true, log: s.log}
	s.serve(t, plain)
	overTLS.serve(t, secure)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(client.CloseIdleConnections)
	return map[string]func() (*http.Response, error){
		"HTTP/1.1": func() (*http.Response, error) { return client.Get("http://" + s.Addr().String()) },
		"HTTP/2.0": func() (*http.Response, error) { return client.Get("https://" + overTLS.Addr().String()) },
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

func TestAPanicBehindTheBeginningOfAnAnswerCutsIt(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"a written part": func(w http.ResponseWriter) { io.WriteString(w, "a part") },
		"a status alone": func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"a flush alone":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
		"a copied part":  func(w http.ResponseWriter) { io.Copy(w, strings.NewReader("a part")) },
	} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			s := &running{log: slog.New(slog.NewTextHandler(&log, nil))}
			handler := func(w http.ResponseWriter, _ *http.Request) { begin(w); panic("sbp_planted") }
			for protocol, get := range protocols(t, server.Config{Public: http.HandlerFunc(handler)}, s) {
				response, err := get()
				if err != nil {
					continue // cut before its header was out
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				if response.Proto != protocol || err == nil || strings.Contains(string(text), "internal") {
					t.Errorf("%s: read %q, %v over %s; want a body that breaks off", protocol, text, err, response.Proto)
				}
			}
			if text := log.String(); strings.Contains(text, "planted") || strings.Count(text, "panic while answering") != 2 {
				t.Errorf("logged %s", text)
			}
		})
	}
}

func TestAPanicBeforeTheAnswerLeavesNothingOfIt(t *testing.T) {
	s := &running{}
	handler := func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Length", "100")
		h.Set("Content-Encoding", "gzip")
		h.Set("Etag", `"a"`)
		h.Set("Set-Cookie", "session=sbp_planted")
		w.WriteHeader(http.StatusEarlyHints) // which begins no answer
		panic("sbp_planted")
	}
	for protocol, get := range protocols(t, server.Config{Public: http.HandlerFunc(handler)}, s) {
		response, err := get()
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		h := response.Header
		if response.StatusCode != http.StatusInternalServerError || err != nil || !strings.Contains(string(text), h.Get(server.RequestID)) || h.Get(server.RequestID) == "" {
			t.Errorf("%s: answered %d %s, %v; want a 500 with the request's id", protocol, response.StatusCode, text, err)
		}
		for _, name := range []string{"Content-Encoding", "Etag", "Set-Cookie"} {
			if h.Get(name) != "" {
				t.Errorf("%s: %s: %q is left of the answer that was not given", protocol, name, h.Get(name))
			}
		}
		if h.Get("Content-Security-Policy") == "" || h.Get("X-Content-Type-Options") == "" {
			t.Errorf("%s: the security headers are missing: %v", protocol, h)
		}
	}
}

// TestAnHTTP2ClientThatTakesNothingIsLetGo: a window of nothing holds up the shortest answer.
func TestAnHTTP2ClientThatTakesNothingIsLetGo(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a short answer": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "short") },
		"a long answer":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 64<<10)) },
		"a flushed answer": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "part")
			http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(server.Recover(handler, slog.New(slog.DiscardHandler), 50*time.Millisecond))
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			const initialWindow = 4
			writeRequest(conn, []byte{0, initialWindow, 0, 0, 0, 0}, [2]string{"accept", "*/*"})
			for {
				kind, _, err := readFrame(conn)
				if err != nil {
					t.Fatalf("the answer is still held: %v", err)
				}
				if kind == frameReset {
					return
				}
			}
		})
	}
}

func TestAPauseOfTheHandlerIsNotTheClientsFault(t *testing.T) {
	const idle = 50 * time.Millisecond
	for name, flush := range map[string]func(http.ResponseWriter){
		"behind a part":    func(http.ResponseWriter) {},
		"behind a flushed": func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(server.Recover(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for range 2 {
					io.WriteString(w, "part ")
					flush(w)
					time.Sleep(3 * idle) // as upstream pauses between two parts
				}
			}), slog.New(slog.DiscardHandler), idle))
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			response, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, err := io.ReadAll(response.Body); err != nil || string(text) != "part part " || response.ProtoMajor != 2 {
				t.Errorf("read %q, %v over %s", text, err, response.Proto)
			}
		})
	}
}

func TestAPanicOutsideOfHandlersEndsItsConnectionAlone(t *testing.T) {
	var log lockedBuffer
	s := &running{secure: true, log: slog.New(slog.NewTextHandler(&log, nil))}
	broken := certificate(t).TLSConfig()
	find, first := broken.GetCertificate, sync.Once{}
	broken.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		first.Do(func() { panic("sbp_planted") })
		return find(hello)
	}
	s.serve(t, server.Config{Public: http.HandlerFunc(s.echo), TLS: broken})
	began := time.Now()
	if conn, err := s.tryDial("http/1.1"); err == nil || time.Since(began) > patience/2 {
		t.Errorf("a handshake without a certificate ended after %v with %v, %v", time.Since(began), conn, err)
	}
	if status, err := ask(s.dial(t, "http/1.1")); status != http.StatusOK {
		t.Errorf("the next connection: %d, %v", status, err)
	}
	if text := log.String(); strings.Contains(text, "planted") || !strings.Contains(text, "panic while serving") {
		t.Errorf("logged %s", text)
	}
}
