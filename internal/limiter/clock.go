package limiter

import "time"

// clock is what a replica knows of Redis's clock: what it told, and between which two moments of this machine's monotonic
// clock. The replica's own wall clock plays no part.
type clock struct {
	told           time.Time
	sent, received time.Time
}

const (
	// stepLeast is how far Redis's clock must jump to be taken for set: the edges of windows are seldom known better.
	stepLeast = 50 * time.Millisecond
	// drifts is how fast two clocks may drift apart, one part in so many: twice as fast as NTP slews.
	drifts = 1000
)

// stepped reports whether Redis's clock was set between c and next, or another clock took its place: whether it went
// further than this machine's, or less far, than drift explains.
func (c *clock) stepped(next *clock) bool {
	if c.told.IsZero() {
		return false
	}
	_, off := c.shift(next)
	return off > 0
}

// shift is by how much what c dated must be moved to be dated by next, give or take off. Both are zero where the clock was
// not set.
func (c *clock) shift(next *clock) (by, off time.Duration) {
	went, least, most := next.told.Sub(c.told), next.sent.Sub(c.received), next.received.Sub(c.sent)
	slack := stepLeast + most/drifts
	if went >= least-slack && went <= most+slack {
		return 0, 0
	}
	return went - (least+most)/2, (most-least)/2 + slack
}

// now is what Redis's clock shows, at the earliest.
func (c *clock) now() time.Time { return c.told.Add(time.Since(c.received)) }

// until is how long it takes until Redis's clock surely shows t.
func (c *clock) until(t time.Time) time.Duration { return t.Sub(c.now()) }

// since is how long ago Redis's clock showed t, at the most.
func (c *clock) since(t time.Time) time.Duration { return c.told.Add(time.Since(c.sent)).Sub(t) }
