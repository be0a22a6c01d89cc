// Package http1 serves HTTP/1.1 connections: plain GET requests by itself, everything else by net/http, which is given
// connections that can be read in one way only.
//
// Invariant: a request is served here only if net/http would take it for the same (request.go), and nothing is lost when a
// connection changes hands: the first request that is not plain is the first that net/http reads of it. A connection that
// net/http has stays with it.
//
// What is gained is about half of what net/http takes for a short answer: a goroutine to watch the client, three deadlines, a
// header parsed anew, two copies of everything that is written.
package http1

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves connections. Its fields are not changed once it serves.
type Server struct {
	Handler       http.Handler  // as of an http.Server; it may not use the request or the writer when it has returned
	HeaderTimeout time.Duration // how long a header may take to come once it has begun, the first from the connection's beginning
	IdleTimeout   time.Duration // how long a connection may be without a request
	Log           *slog.Logger

	answers sync.Pool
	date    dateField
	closing atomic.Bool
	running sync.WaitGroup

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// Serve answers the plain requests that come over raw, one after the other. When another one comes, handOver gets the
// connection for net/http, with all that was not served still to be read; Shutdown waits for that, too.
func (s *Server) Serve(raw net.Conn, handOver func(net.Conn)) {
	c := newConn(s, raw)
	if !s.enter(c) {
		raw.Close()
		return
	}
	defer s.leave(c)
	if rest, goesOn := c.serve(); goesOn {
		handOver(c.forNetHTTP(rest))
		return
	}
	raw.Close()
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false // and running is not added to while Shutdown waits for it
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// Shutdown ends the connections that wait for a request at once and the others after their answer, or all of them when ctx
// ends, whose error it returns then. Nothing is served any more once it was called.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	s.each(func(c *conn) {
		if c.state.CompareAndSwap(idle, ended) {
			c.Conn.Close()
		}
	})
	over := make(chan struct{})
	go func() {
		s.running.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// Close ends all connections. Nothing is served any more once it was called.
func (s *Server) Close() {
	s.closing.Store(true)
	s.each(func(c *conn) { c.Conn.Close() })
}

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}
