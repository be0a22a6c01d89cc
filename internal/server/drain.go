package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"
)

// drain ends the public listener so that those in front can follow. First readiness fails and every answer asks its client
// for another connection, while all are served as before: a balancer looks only every few seconds, and sends requests to
// where it last knew somebody. Then the listener closes, and what runs finishes.
func (s *Server) drain(ctx context.Context, plain *front, public *http.Server) error {
	s.draining.Store(true)
	s.config.Log.Info("draining", "delay", s.config.DrainDelay, "timeout", s.config.DrainTimeout)
	time.Sleep(s.config.DrainDelay)

	deadline, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	// First what http1 has: a connection may still be net/http's to go on with.
	if err := cmp.Or(plain.shutdown(deadline), public.Shutdown(deadline)); err != nil {
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
