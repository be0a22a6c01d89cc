package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
)

// strictListener gives the connections of a plain listener strict framing.
type strictListener struct{ net.Listener }

// Accept implements net.Listener.
func (l strictListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	strict := &strictConn{Conn: conn, gather: conn}
	if inner, is := conn.(*counted); is {
		strict.gather = inner.Conn
	}
	return strict, nil
}

// tlsListener accepts connections whose TLS handshake is over. net/http would do the handshake itself, but then the
// protocol is known too late to follow what HTTP/1 carries inside of TLS. An HTTP/2 connection has one framing, which
// net/http checks; it is handed over as the *tls.Conn that net/http looks for.
type tlsListener struct {
	net.Listener
	config *tls.Config
	log    *slog.Logger

	ready  chan net.Conn
	failed chan error
	closed chan struct{}
	once   sync.Once
}

func newTLSListener(inner net.Listener, config *tls.Config, log *slog.Logger) *tlsListener {
	l := &tlsListener{Listener: inner, config: config, log: log,
		ready: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{})}
	go l.run()
	return l
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Handshakes that still run end within readHeaderTimeout.
func (l *tlsListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// run accepts until the listener is closed. An error waits for Accept to return it: net/http pauses after one that passes,
// such as too many open files.
func (l *tlsListener) run() {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			go l.handshake(conn)
			continue
		}
		select {
		case l.failed <- err:
		case <-l.closed:
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (l *tlsListener) handshake(inner net.Conn) {
	conn := tls.Server(inner, l.config)
	ctx, cancel := context.WithTimeout(context.Background(), readHeaderTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		l.log.Debug("TLS handshake", "remote", inner.RemoteAddr().String(), "error", err)
		inner.Close()
		return
	}
	var framed net.Conn = conn
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		framed = &strictTLSConn{strictConn: strictConn{Conn: conn, gather: conn}, inner: conn}
	}
	select {
	case l.ready <- framed:
	case <-l.closed:
		inner.Close()
	}
}
