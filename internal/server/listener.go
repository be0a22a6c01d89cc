package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"

	"corp.example/gateway/internal/http1"
)

// front stands before an http.Server. It accepts its connections, does their TLS handshake, and has http1 serve the plain
// requests that come over HTTP/1.1; what is left, and HTTP/2, is the http.Server's, as if it had accepted it.
//
// net/http would do the handshake itself, but then the protocol is known too late. An HTTP/2 connection is handed over as
// the *tls.Conn that net/http looks for.
type front struct {
	net.Listener
	tls   *tls.Config // nil: none
	http1 *http1.Server
	log   *slog.Logger

	ready  chan net.Conn
	failed chan error
	closed chan struct{}
	once   sync.Once
}

// newFront accepts from inner until it is closed.
func newFront(inner net.Listener, config *tls.Config, plain *http1.Server, log *slog.Logger) *front {
	f := &front{Listener: inner, tls: config, http1: plain, log: log, ready: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{})}
	go f.run()
	return f
}

// Accept implements net.Listener.
func (f *front) Accept() (net.Conn, error) {
	select {
	case conn := <-f.ready:
		return conn, nil
	case err := <-f.failed:
		return nil, err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener, and ends what http1 serves. Handshakes that still run end within readHeaderTimeout.
func (f *front) Close() error {
	f.once.Do(func() { close(f.closed) })
	f.http1.Close()
	if err := f.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // by shutdown
}

// shutdown accepts nothing more, and returns when no connection is http1's any more: its requests are answered, and what is
// for the http.Server was accepted by it.
func (f *front) shutdown(ctx context.Context) error {
	return errors.Join(f.Listener.Close(), f.http1.Shutdown(ctx))
}

// run accepts until the listener is closed. An error waits for Accept to return it: net/http pauses after one that passes,
// such as too many open files.
func (f *front) run() {
	for {
		conn, err := f.Listener.Accept()
		switch {
		case err == nil:
			go f.serve(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		select {
		case f.failed <- err:
		case <-f.closed:
			return
		}
	}
}

// serve serves one connection, or the beginning of it. A panic outside of handlers, in what finds a certificate or in http1
// itself, ends that connection alone, as it would in net/http.
func (f *front) serve(conn net.Conn) {
	defer func() {
		if value := recover(); value != nil {
			f.log.Error("panic while serving a connection", "type", typeName(value), "stack", string(debug.Stack()))
			conn.Close()
		}
	}()
	if f.tls != nil {
		secure, protocol := f.handshake(conn)
		if secure == nil {
			conn.Close()
			return
		}
		if conn = secure; protocol == "h2" {
			f.handOver(conn)
			return
		}
	}
	f.http1.Serve(conn, f.handOver)
}

// handshake returns the connection inside TLS and what it speaks, nil where that fails.
func (f *front) handshake(inner net.Conn) (*tls.Conn, string) {
	conn := tls.Server(inner, f.tls)
	ctx, cancel := context.WithTimeout(context.Background(), readHeaderTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		f.log.Debug("TLS handshake", "remote", inner.RemoteAddr().String(), "error", err)
		return nil, ""
	}
	return conn, conn.ConnectionState().NegotiatedProtocol
}

func (f *front) handOver(conn net.Conn) {
	select {
	case f.ready <- conn:
	case <-f.closed:
		conn.Close()
	}
}
