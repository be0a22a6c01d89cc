package server

import "time"

const (
	// takeWithin is how long an HTTP/1 client may take nothing of its answer: as long as the proxy gives it for each part of a
	// large one.
	takeWithin = 60 * time.Second
	// takeRenewed is how often the deadline is set anew: it costs more than the rest of a short write.
	takeRenewed = time.Second
)

// taking is how long the client may take nothing of what is written to it. The kernel takes what is short without asking the
// client, but not for ever: one that sends requests and reads no answer would hold its connection past every other bound.
type taking struct {
	renewed time.Time // when the deadline was last set; zero: it must be
	theirs  bool      // a handler has set its own
}

// expectTaken gives what is written next at least takeWithin, unless a handler has said how long.
func (c *strictConn) expectTaken(now time.Time) {
	if c.taking.theirs || now.Sub(c.taking.renewed) < takeRenewed {
		return
	}
	c.taking.renewed = now
	_ = c.Conn.SetWriteDeadline(now.Add(takeWithin + takeRenewed)) // an error here comes back from the write
}

// SetWriteDeadline implements net.Conn for handlers, and for net/http, which takes their deadline away after every answer.
func (c *strictConn) SetWriteDeadline(deadline time.Time) error {
	if deadline.IsZero() {
		if c.taking.theirs {
			c.taking = taking{}
		}
		return nil
	}
	c.taking.theirs = true
	return c.Conn.SetWriteDeadline(deadline)
}
