package http1

import (
	"crypto/tls"
	"net"
)

// strictConn is a connection for net/http whose requests can be read in one way only, see framing.go.
type strictConn struct {
	takenConn
	unread  []byte // what had come in before it changed hands
	framing framing
	fault   error // what the connection is ended for
}

// strictTLSConn is a strictConn inside TLS. net/http takes Request.TLS from ConnectionState.
type strictTLSConn struct {
	strictConn
	inner *tls.Conn
}

func (c *strictTLSConn) ConnectionState() tls.ConnectionState { return c.inner.ConnectionState() }

// forNetHTTP returns the connection with what was read of it but not served.
func (c *conn) forNetHTTP(unread []byte) net.Conn {
	strict := strictConn{takenConn: takenConn{Conn: c.Conn}, unread: unread}
	if inner, is := c.Conn.(*tls.Conn); is {
		return &strictTLSConn{strictConn: strict, inner: inner}
	}
	return &strict
}

// Read reads what framing has followed. net/http reads from one goroutine at a time. What stands before a fault is given out
// first: only a request that has begun is answered with a 400.
func (c *strictConn) Read(p []byte) (int, error) {
	if c.fault != nil {
		return 0, c.fault
	}
	n, err := c.receive(p)
	var sound int
	if sound, c.fault = c.framing.follow(p[:n]); c.fault == nil {
		return n, err
	}
	if sound == 0 {
		return 0, c.fault
	}
	return sound, nil
}

// receive takes what is unread before the connection's own.
func (c *strictConn) receive(p []byte) (n int, err error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(p)
	}
	n = copy(p, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil // the memory goes
	}
	return n, nil
}
