package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// drain ends the public listener so that those in front can follow. First readiness fails and every answer asks its client
// for another connection, while all are served as before: a balancer looks only every few seconds, and sends requests to
// where it last knew somebody. Then the listener closes, and what runs finishes.
func (s *Server) drain(ctx context.Context, public *http.Server) error {
	s.draining.Store(true)
	s.config.Log.Info("draining", "delay", s.config.DrainDelay, "timeout", s.config.DrainTimeout)
	time.Sleep(s.config.DrainDelay)

	deadline, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	var closing sync.WaitGroup
	shut, stop := context.WithCancel(deadline)
	closing.Go(func() { s.opened.closeSilent(shut) })
	defer closing.Wait()
	defer stop()
	if err := public.Shutdown(deadline); err != nil {
		public.Close()
		return fmt.Errorf("draining: %w; the requests still running were cut", err)
	}
	return nil
}

// parting has answers end their connection while the server drains, so that clients that keep connections go elsewhere
// with their next request, and do not meet a connection that is just being closed. Over HTTP/2 this becomes a GOAWAY.
func (s *Server) parting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// unready answers the readiness probe while the server drains, and leaves the rest to next.
func (s *Server) unready(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || !s.draining.Load() {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"server":"draining"}` + "\n")) // the prober may have left
	})
}

// opened are the connections that are open. Clients open some in advance, and over these nothing has come in yet when the
// server shuts down. net/http would wait five seconds for them, to then drop what comes.
type opened struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// note is an http.Server's ConnState.
func (o *opened) note(conn net.Conn, state http.ConnState) {
	switch state { // the others come with every request
	case http.StateNew:
		o.mu.Lock()
		o.conns[conn] = struct{}{}
		o.mu.Unlock()
	case http.StateClosed, http.StateHijacked:
		o.mu.Lock()
		delete(o.conns, conn)
		o.mu.Unlock()
	}
}

// closeSilent closes connections over which nothing has come in, until ctx ends. One may just have been accepted.
func (o *opened) closeSilent(ctx context.Context) {
	for ticks := time.NewTicker(100 * time.Millisecond); ; {
		for _, conn := range o.silent() {
			conn.Close()
		}
		select {
		case <-ctx.Done():
			ticks.Stop()
			return
		case <-ticks.C:
		}
	}
}

// silent finds them. An HTTP/2 connection is none: it begins with the client's preface.
func (o *opened) silent() (found []net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for conn := range o.conns {
		if c, is := conn.(interface{ silent() bool }); is && c.silent() {
			found = append(found, conn)
		}
	}
	return found
}
