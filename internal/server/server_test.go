package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/server"
)

func dialHTTP(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	return dial(t, s.Listener.Addr().String())
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestEveryAnswerHasItsOwnIDAndSecurityHeaders(t *testing.T) {
	s := start(t, nil)
	seen := map[string]bool{}
	for range 100 { // more than are drawn at once
		request, _ := http.NewRequest("GET", "http://"+s.Addr().String(), nil)
		request.Header.Set("X-Request-Id", "mine")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		id := response.Header.Get(server.RequestID)
		if len(id) != 24 || seen[id] {
			t.Errorf("request id %q: want 12 random bytes, never a client's choice", id)
		}
		seen[id] = true
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
	}
}

func TestAPanicIsAnsweredWithoutItsValue(t *testing.T) {
	var log bytes.Buffer
	var s running
	config := server.Config{Public: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("sbp_planted") })}
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	s.serve(t, config)
	response, err := http.Get("http://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	id := response.Header.Get(server.RequestID)
	if response.StatusCode != http.StatusInternalServerError || !strings.Contains(string(text), id) {
		t.Errorf("answered %d %s, want 500 with the request's id", response.StatusCode, text)
	}
	if strings.Contains(string(text)+log.String(), "planted") || !strings.Contains(log.String(), id) {
		t.Errorf("the panic's value came out, or its request's id did not: answer %s, log %s", text, &log)
	}
}

// What is said of an address that is taken would mislead where it is not.
func TestAnAddressThatCannotBeListenedOnIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, another := range map[string]bool{taken.Addr().String(): true, "192.0.2.1:8443": false} {
		_, err := server.Listen(server.Config{Listen: address, AdminListen: "127.0.0.1:0"})
		if err == nil || !strings.HasPrefix(err.Error(), "server.listen: listen tcp "+address) || strings.Contains(err.Error(), "is another gateway running?") != another {
			t.Errorf("listening on %s: %v; want the question for another gateway: %v", address, err, another)
		}
	}
}

func TestTheAdminHandlersAreOnTheirOwnListener(t *testing.T) {
	var s running
	s.serve(t, server.Config{
		Public: http.NotFoundHandler(),
		Admin: server.AdminHandler(prometheus.NewRegistry(), new(slog.LevelVar),
			server.Check{Name: "good", Ready: func() error { return nil }},
			server.Check{Name: "detail", Ready: func() error { return errors.New("not so well") }, Detail: true}),
	})
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap"} {
		if status, _ := get(t, s.AdminAddr(), path); status != http.StatusOK {
			t.Errorf("admin %s: %d, want 200", path, status)
		}
		if status, _ := get(t, s.Addr(), path); status != http.StatusNotFound {
			t.Errorf("public %s: %d, want 404", path, status)
		}
	}
	if _, text := get(t, s.AdminAddr(), "/readyz"); !strings.Contains(text, `"detail":"not so well"`) {
		t.Errorf("/readyz says %s", text)
	}
	if status, _ := get(t, s.AdminAddr(), "/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Error("the command line, which may name files, is shown")
	}
}

func TestAProberMayLeaveAMatterOut(t *testing.T) {
	handler := server.AdminHandler(prometheus.NewRegistry(), new(slog.LevelVar),
		server.Check{Name: "audit", Ready: func() error { return nil }},
		server.Check{Name: "certificate", Ready: func() error { return errors.New("not yet") }})
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/readyz?exclude=audit": http.StatusServiceUnavailable,
		"/readyz?exclude=certificate": http.StatusOK, "/readyz?exclude=audit&exclude=certificate": http.StatusOK} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		if answer.Code != want || !strings.Contains(answer.Body.String(), "not yet") {
			t.Errorf("%s: %d %s, want %d and what is not well", path, answer.Code, answer.Body, want)
		}
	}
}

func TestReadinessFallsWithACheckThatMatters(t *testing.T) {
	handler := server.AdminHandler(prometheus.NewRegistry(), new(slog.LevelVar), server.Check{Name: "audit", Ready: func() error { return errors.New("disk full") }})
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "disk full") {
		t.Errorf("answered %d %s, want 503 and why", answer.Code, answer.Body)
	}
}

func TestTheLogLevelChangesWhileItRuns(t *testing.T) {
	level := new(slog.LevelVar)
	handler := server.AdminHandler(prometheus.NewRegistry(), level)
	ask := func(method, body string) (int, string) {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(method, "/log/level", strings.NewReader(body)))
		return answer.Code, strings.TrimSpace(answer.Body.String())
	}
	if status, text := ask("PUT", "debug\n"); status != http.StatusOK || text != "debug" || level.Level() != slog.LevelDebug {
		t.Errorf("PUT debug: %d %s, the level is %s", status, text, level.Level())
	}
	if status, text := ask("PUT", "loud"); status != http.StatusBadRequest || !strings.Contains(text, "debug, info, warn or error") || level.Level() != slog.LevelDebug {
		t.Errorf("PUT loud: %d %s, the level is %s", status, text, level.Level())
	}
	if status, text := ask("GET", ""); status != http.StatusOK || text != "debug" {
		t.Errorf("GET: %d %s", status, text)
	}
}

func get(t *testing.T, address net.Addr, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + address.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func TestABusyPortNamesTheKey(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for key, config := range map[string]server.Config{
		"server.listen": {Listen: busy.Addr().String(), AdminListen: "127.0.0.1:0"},
		"admin.listen":  {Listen: "127.0.0.1:0", AdminListen: busy.Addr().String()},
	} {
		if _, err := server.Listen(config); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("Listen on a busy port: %v, want an error that begins with %s", err, key)
		}
	}
}

func TestDrainingLetsRunningRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, err := server.Listen(server.Config{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", MaxBody: 1, MaxConnections: 100, Registry: prometheus.NewRegistry(), DrainTimeout: patience, Log: slog.New(slog.DiscardHandler),
		Admin:  http.NotFoundHandler(),
		Public: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { close(entered); <-release; io.WriteString(w, "done") })})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, answered := make(chan error, 1), make(chan string, 1)
	go func() { ended <- s.Serve(ctx) }()
	silent, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() { _, text := get(t, s.Addr(), "/"); answered <- text }()
	<-entered
	cancel()
	for began := time.Now(); ; {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			break // nothing more is accepted
		}
		conn.Close()
		if time.Since(began) > patience {
			t.Fatal("connections are accepted while the server drains")
		}
	}
	silent.SetDeadline(time.Now().Add(patience))
	io.Copy(io.Discard, silent) // until what has no request is ended
	close(release)
	if text, err := <-answered, <-ended; text != "done" || err != nil {
		t.Errorf("the running request got %q, serving ended with %v", text, err)
	}
}

// The listener beside the public one only sends people on; nobody waits for it.
func TestConnectionsOfThePlainListenerEndWithTheServer(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Listen(server.Config{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", MaxConnections: 10, Registry: prometheus.NewRegistry(), DrainTimeout: patience, Log: slog.New(slog.DiscardHandler),
		Admin: http.NotFoundHandler(), Public: http.NotFoundHandler(), Plain: server.Plain{Listen: ":80", Bound: plain, Handler: http.NotFoundHandler()}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	conn, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if status, err := ask(conn); status != http.StatusNotFound {
		t.Errorf("answered %d, %v", status, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v; want the connection's end", n, err)
	}
}

// failing is a listener that first has no file left for a connection.
type failing struct {
	net.Listener
	once sync.Once
}

func (l *failing) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { err = &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)} })
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

func TestConnectionsAreAcceptedAgainWhenThereIsRoom(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &running{}
	s.serve(t, server.Config{Public: http.HandlerFunc(s.echo), Bound: &failing{Listener: inner}})
	if status, err := ask(s.dial(t, "http/1.1")); status != http.StatusOK {
		t.Errorf("answered %d, %v", status, err)
	}
}

func TestOldTLSIsRefusedAndARenewedCertificateTakenUp(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "first.example")
	c, err := server.LoadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, c)
	if conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
	served := func() string {
		conn := s.dial(t, "http/1.1").(*tls.Conn)
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := served(); got != "first.example" {
		t.Errorf("served %s", got)
	}
	writeCertificate(t, dir, "second.example")
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second.example" {
		t.Errorf("after the renewal %s is served", got)
	}
	writeCertificate(t, dir, "third.example")
	breakKey(t, dir)
	if err := c.Reload(); err == nil || served() != "second.example" {
		t.Errorf("half replaced files: %v, served %s; want an error and the certificate before", err, served())
	}
}

func TestRequestsOverTLSAreKnownToBe(t *testing.T) {
	s := start(t, certificate(t))
	conn := s.dial(t, "http/1.1")
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("answered %+v, %v; want Strict-Transport-Security", response, err)
	}
}

func TestAConnectionThatNeverShakesHandsHoldsNobodyUp(t *testing.T) {
	s := start(t, certificate(t))
	for range 20 {
		silent, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	s.dial(t, "http/1.1") // fails the test where it does not shake hands
}
