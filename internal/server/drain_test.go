package server_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/server"
)

// draining serves until drain is called; ended tells how that went.
func draining(t *testing.T, delay time.Duration) (s *running, drain func(), ended chan error) {
	t.Helper()
	s = &running{}
	log := slog.New(slog.DiscardHandler)
	var err error
	s.Server, err = server.Listen(server.Config{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", MaxBody: 1, MaxConnections: 100, Registry: prometheus.NewRegistry(), Log: log,
		Public: http.HandlerFunc(s.echo), Admin: server.AdminHandler(prometheus.NewRegistry(), new(slog.LevelVar)), DrainDelay: delay, DrainTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ended = make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	return s, cancel, ended
}

// A balancer asks every few seconds whether a replica is ready, and sends requests there until it knows better.
func TestReadinessFailsBeforeAnythingElseDoes(t *testing.T) {
	const delay = time.Second
	s, drain, ended := draining(t, delay)
	if status, text := get(t, s.AdminAddr(), "/readyz"); status != http.StatusOK {
		t.Fatalf("/readyz is %d %s", status, text)
	}
	kept := s.dial(t, "http/1.1")
	if status, err := ask(kept); status != http.StatusOK {
		t.Fatalf("answered %d, %v", status, err)
	}
	began := time.Now()
	drain()
	for {
		status, text := get(t, s.AdminAddr(), "/readyz")
		if status == http.StatusServiceUnavailable {
			if !strings.Contains(text, "draining") {
				t.Errorf("/readyz says %s", text)
			}
			break
		}
		if time.Since(began) > delay/2 {
			t.Fatalf("half the delay has passed and /readyz is %d", status)
		}
	}
	if status, _ := get(t, s.AdminAddr(), "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d: a process that drains is alive", status)
	}
	for what, conn := range map[string]net.Conn{"kept": kept, "new": s.dial(t, "http/1.1")} {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != http.StatusOK || !response.Close {
			t.Errorf("over a %s connection: %+v, %v; want 200 and the connection's end", what, response, err)
		}
	}
	if err := <-ended; err != nil || time.Since(began) < delay {
		t.Errorf("serving ended after %s with %v", time.Since(began), err)
	}
	if conn, err := s.tryDial("http/1.1"); err == nil {
		conn.Close()
		t.Error("after the drain somebody listens")
	}
}

// Clients open connections in advance. One that was never used is not waited for.
func TestAConnectionOpenedInAdvanceHoldsNoDrainUp(t *testing.T) {
	s, drain, ended := draining(t, 0)
	for range 3 {
		s.dial(t, "http/1.1")
	}
	if status, err := ask(s.dial(t, "http/1.1")); status != http.StatusOK { // accepted behind them
		t.Fatalf("answered %d, %v", status, err)
	}
	began := time.Now()
	drain()
	if err := <-ended; err != nil || time.Since(began) > 3*time.Second { // net/http alone: five and more
		t.Errorf("serving ended after %s with %v", time.Since(began), err)
	}
}
