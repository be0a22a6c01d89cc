package http1

import (
	"net"
	"time"
)

const (
	// takeWithin is how long a client may take nothing of its answer: as long as the proxy gives it for each part of a
	// large one.
	takeWithin = 60 * time.Second
	// takeRenewed is how often the deadline is set anew: it costs more than the rest of a short write.
	takeRenewed = time.Second
)

// takenConn is a connection whose client has to take what is written to it. The kernel takes what is short without asking the
// client, but not for ever: one that sends requests and reads no answer would hold its connection past every other bound.
type takenConn struct {
	net.Conn
	renewed time.Time // when the deadline was last set; zero: it must be
	theirs  bool      // a handler has set its own
}

// Write implements net.Conn.
func (c *takenConn) Write(p []byte) (int, error) {
	c.expectTaken(time.Now())
	return c.Conn.Write(p)
}

// gatherer is a connection that knows how to write several pieces in one call, though it is none of package net's.
type gatherer interface {
	WriteBuffers(*net.Buffers) (int64, error)
}

// writeBuffers writes several pieces, in one call where that is possible.
func (c *takenConn) writeBuffers(pieces *net.Buffers) (int64, error) {
	c.expectTaken(time.Now())
	if inner, is := c.Conn.(gatherer); is {
		return inner.WriteBuffers(pieces)
	}
	return pieces.WriteTo(c.Conn)
}

// expectTaken gives what is written next at least takeWithin, unless a handler has said how long.
func (c *takenConn) expectTaken(now time.Time) {
	if c.theirs || now.Sub(c.renewed) < takeRenewed {
		return
	}
	c.renewed = now
	_ = c.Conn.SetWriteDeadline(now.Add(takeWithin + takeRenewed)) // an error here comes back from the write
}

// SetWriteDeadline implements net.Conn for handlers. Their deadline is taken away after the answer, by the zero time.
func (c *takenConn) SetWriteDeadline(deadline time.Time) error {
	if deadline.IsZero() {
		if c.theirs {
			c.renewed, c.theirs = time.Time{}, false
		}
		return nil
	}
	c.theirs = true
	return c.Conn.SetWriteDeadline(deadline)
}

// CloseWrite ends this side alone, so that a client still sending can read why it was refused.
func (c *takenConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite() // both *net.TCPConn and *tls.Conn have it
}
