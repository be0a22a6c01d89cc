// Package server owns the listeners: it bounds what a connection may cost, ends TLS, tells whether the gateway is alive
// and ready, and drains it.
//
// Invariant: the admin handlers (metrics, health, profiles) are never on the public listener, and a listener is bound
// before readiness is reported. The package knows nothing of what is served.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what is served where.
type Config struct {
	Listen       string        // address of the public listener
	Public       http.Handler  // what it serves
	Certificate  *Certificate  // nil: plain HTTP
	MaxBody      int64         // largest request body in bytes
	AdminListen  string        // address of the admin listener
	Admin        http.Handler  // what it serves
	DrainTimeout time.Duration // how long requests may take to finish when the context ends
	Log          *slog.Logger
}

// Bounds of one connection. They hold whatever a client does, so they are no settings.
const (
	readHeaderTimeout = 10 * time.Second  // the slowest honest client sends its header in one packet
	idleTimeout       = 120 * time.Second // longer than clients' own keep-alive, so that they close first
	maxHeaderBytes    = 64 << 10          // a JWT with many groups has about 16 KiB
)

// Server is two bound listeners.
type Server struct {
	config        Config
	public, admin net.Listener
}

// Listen binds both listeners, so that a busy port is known before anything is started.
func Listen(config Config) (*Server, error) {
	public, err := listen(config.Listen, "server.listen")
	if err != nil {
		return nil, err
	}
	admin, err := listen(config.AdminListen, "admin.listen")
	if err != nil {
		public.Close()
		return nil, err
	}
	return &Server{config: config, public: public, admin: admin}, nil
}

func listen(address, key string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (is another gateway running? choose another address in the configuration)", key, err)
	}
	return listener, nil
}

// Addr is the public listener's address.
func (s *Server) Addr() net.Addr { return s.public.Addr() }

// AdminAddr is the admin listener's address.
func (s *Server) AdminAddr() net.Addr { return s.admin.Addr() }

// Serve answers until ctx ends, then stops accepting, lets running requests finish within the drain time-out and
// returns. The admin listener is the last to go, so that draining can be watched.
func (s *Server) Serve(ctx context.Context) error {
	public := newHTTPServer(chain(s.config.Public, s.config.Log, s.config.MaxBody), s.config.Log)
	var listener net.Listener = strictListener{s.public}
	if s.config.Certificate != nil {
		public.TLSConfig = s.config.Certificate.tlsConfig() // tells net/http to speak HTTP/2; it may change this copy
		listener = newTLSListener(s.public, s.config.Certificate.tlsConfig(), s.config.Log)
	}
	admin := newHTTPServer(s.config.Admin, s.config.Log)

	var group errgroup.Group
	group.Go(func() error { return ended(public.Serve(listener)) })
	group.Go(func() error { return ended(admin.Serve(s.admin)) })
	group.Go(func() error {
		<-ctx.Done()
		s.config.Log.Info("draining", "timeout", s.config.DrainTimeout)
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
		defer cancel()
		err := public.Shutdown(deadline)
		if err != nil {
			err = fmt.Errorf("draining: %w; the requests still running were cut", err)
			public.Close()
		}
		return errors.Join(err, admin.Close())
	})
	return group.Wait()
}

// ended takes the sign of an orderly end off an error.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving: %w", err)
}

func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// "OPTIONS *" is answered by the handler like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' broken connections are not our errors
	}
}
