// Package server owns the listeners: it bounds what a connection may cost, ends TLS, tells whether the gateway is alive
// and ready, and drains it.
//
// Invariant: the admin handlers (metrics, health, profiles) are never on the public listener, and a listener is bound
// before readiness is reported. The package knows nothing of what is served.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/http1"
)

// Config says what is served where.
type Config struct {
	Listen  string       // address of the public listener
	Bound   net.Listener // is it already, where somebody else bound it; nil: Listen binds it
	Public  http.Handler // what it serves
	TLS     *tls.Config  // nil: plain HTTP
	Plain   Plain        // a further listener without TLS
	MaxBody int64        // largest request body in bytes

	MaxConnections int                // connections of the public listener at a time; half of them of one client
	TrustedProxies clientaddr.Trusted // which are no clients
	Registry       prometheus.Registerer

	AdminListen  string        // address of the admin listener
	Admin        http.Handler  // what it serves
	DrainDelay   time.Duration // how long readiness fails, when the context ends, before nothing more is accepted
	DrainTimeout time.Duration // how long requests may take to finish after that
	Log          *slog.Logger
}

// Plain is a listener beside the public one that answers in the clear: certificate authorities, and people who typed http.
// The zero value is none.
type Plain struct {
	Listen  string
	Bound   net.Listener // as Config.Bound
	Handler http.Handler
}

// Bounds of one connection. They hold whatever a client does, so they are no settings.
const (
	readHeaderTimeout = 10 * time.Second  // the slowest honest client sends its header in one packet
	idleTimeout       = 120 * time.Second // longer than clients' own keep-alive, so that they close first
	maxHeaderBytes    = 64 << 10          // a JWT with many groups has about 16 KiB
	maxStreams        = 100               // requests at a time over one HTTP/2 connection: what RFC 9113 section 6.5.2 asks for at least
	maxFrame          = 16 << 10          // of HTTP/2, the least there is: each connection keeps a buffer of it
)

// Server is two bound listeners.
type Server struct {
	config        Config
	public, admin net.Listener
	plain         net.Listener // nil: none
	draining      atomic.Bool
}

// Listen binds both listeners, so that a busy port is known before anything is started.
func Listen(config Config) (*Server, error) {
	public, err := listen(config.Bound, config.Listen, "server.listen")
	if err != nil {
		return nil, err
	}
	bounded := newConnections(public, config.MaxConnections, config.TrustedProxies, config.Log)
	admin, err := listen(nil, config.AdminListen, "admin.listen")
	if err != nil {
		public.Close()
		return nil, err
	}
	bounded.register(config.Registry)
	s := &Server{config: config, public: bounded, admin: admin}
	if config.Plain.Listen != "" {
		plain, err := listen(config.Plain.Bound, config.Plain.Listen, "server.tls.acme.http_listen")
		if err != nil {
			public.Close()
			admin.Close()
			return nil, err
		}
		s.plain = newConnections(plain, config.MaxConnections, config.TrustedProxies, config.Log)
	}
	return s, nil
}

// listen binds an address, unless it is bound already.
func listen(bound net.Listener, address, key string) (net.Listener, error) {
	if bound != nil {
		return bound, nil
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %w (is another gateway running? choose another address in the configuration)", key, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return listener, nil
}

// Addr is the public listener's address.
func (s *Server) Addr() net.Addr { return s.public.Addr() }

// AdminAddr is the admin listener's address.
func (s *Server) AdminAddr() net.Addr { return s.admin.Addr() }

// Serve answers until ctx ends, drains and returns: for the drain delay it is not ready and still answers, then it stops
// accepting and lets running requests finish within the drain time-out. The admin listener is the last to go, so that draining can be watched.
func (s *Server) Serve(ctx context.Context) error {
	handler := chain(s.parting(s.config.Public), s.config.Log, s.config.MaxBody)
	public := newHTTPServer(handler, s.config.Log)
	secure := s.config.TLS
	if secure != nil {
		public.TLSConfig = secure.Clone() // tells net/http to speak HTTP/2; it may change this copy
	}
	front := newFront(s.public, secure, newHTTP1Server(handler, s.config.Log), s.config.Log)
	admin := newHTTPServer(s.unready(s.config.Admin), s.config.Log)

	var group errgroup.Group
	group.Go(func() error { return ended(public.Serve(front)) })
	group.Go(func() error { return ended(admin.Serve(s.admin)) })
	redirect := chain(s.config.Plain.Handler, s.config.Log, 0)
	plain := newHTTPServer(redirect, s.config.Log)
	if s.plain != nil {
		group.Go(func() error {
			return ended(plain.Serve(newFront(s.plain, nil, newHTTP1Server(redirect, s.config.Log), s.config.Log)))
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		err := s.drain(context.WithoutCancel(ctx), front, public)
		return errors.Join(err, plain.Close(), admin.Close())
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

func newHTTP1Server(handler http.Handler, log *slog.Logger) *http1.Server {
	return &http1.Server{Handler: handler, HeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, Log: log}
}

func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrame},
		// "OPTIONS *" is answered by the handler like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' broken connections are not our errors
	}
}
