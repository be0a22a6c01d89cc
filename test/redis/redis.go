// Package redis runs a real Redis for a test: on a port of its own, in the test's folder, ended with the test.
package redis

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"corp.example/gateway/test/harness"
)

// Server is a running redis-server.
type Server struct {
	t       testing.TB
	address string
	dir     string
	before  []string // arguments of redis-server before the usual ones
	extra   []string // and behind them
	process *exec.Cmd
	client  *redis.Client
}

// Start runs a Redis that keeps nothing on disk and waits until it answers. extra are further arguments of redis-server.
func Start(t testing.TB, extra ...string) *Server {
	t.Helper()
	harness.Need(t, []string{"redis-server"}, nil)
	s := prepare(t, extra...)
	s.run()
	return s
}

// prepare is a Server that does not run yet.
func prepare(t testing.TB, extra ...string) *Server {
	t.Helper()
	s := &Server{t: t, address: harness.FreeAddress(t), dir: t.TempDir(), extra: extra}
	s.client = redis.NewClient(&redis.Options{Addr: s.address, MaxRetries: -1})
	t.Cleanup(func() {
		_ = s.client.Close()
		if s.process != nil {
			s.Kill()
		}
	})
	return s
}

// Addr is its HOST:PORT.
func (s *Server) Addr() string { return s.address }

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.address)
	return port
}

// URL is what gateway.yaml's state.redis.url takes.
func (s *Server) URL() string { return "redis://" + s.address + "/0" }

// Client is the test's own connection.
func (s *Server) Client() *redis.Client { return s.client }

// Flush makes it forget everything.
func (s *Server) Flush() {
	s.t.Helper()
	if err := s.client.FlushAll(context.Background()).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the process where it stands: connections stay open and nothing is answered.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Kill ends it without a farewell.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	_ = s.process.Wait() // says that it was killed
	s.process = nil
}

// Restart runs it again on the same port, empty.
func (s *Server) Restart() {
	s.t.Helper()
	if s.process != nil {
		s.Kill()
	}
	s.run()
}

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.address)
	arguments := slices.Concat(s.before, []string{"--bind", host, "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "no", "--logfile", filepath.Join(s.dir, "log")}, s.extra)
	s.process = exec.Command("redis-server", arguments...)
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := s.client.Ping(context.Background()).Err()
		if err == nil || strings.HasPrefix(err.Error(), "NOAUTH") {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server did not answer: %v\n%s", err, log)
		}
	}
}
