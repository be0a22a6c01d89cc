package limiter

import (
	"context"
	"time"
)

// What happens while Redis does not answer, and when it does again.

// fail notes that Redis did not answer. What was under way is told again, in the same words: should Redis have heard it, it
// counts once.
func (c *courier) fail(now time.Time, err error, mirrors []*mirror) {
	c.failed, c.cause = now, err
	if c.away.IsZero() {
		c.away, c.back = now, make(chan struct{})
	}
	for _, m := range mirrors {
		if !m.queued {
			m.queued = true
			c.outgoing = append(c.outgoing, m)
		}
	}
	if now.Sub(c.away) >= holdAway {
		if c.shared.config.ShareAway {
			c.goAlone()
		} else {
			c.clearQueue(func(k *call) { k.err = unavailable(c.cause) })
		}
	}
	if c.retry == nil {
		c.retry = time.AfterFunc(tryAgain, c.signal)
	} else {
		c.retry.Reset(tryAgain)
	}
}

// clearQueue ends the wait of all in the queue that replicas share, since nobody can tell when their turn comes. It does
// with each what is to be done.
func (c *courier) clearQueue(do func(*call)) {
	for _, m := range c.mirrors {
		for _, k := range m.calls {
			if k.granted.IsZero() {
				m.drop(k)
				m.tell(op{verb: leave, n: k.n})
				do(k)
				close(k.ready)
			}
		}
	}
}

// answers notes that Redis answered. After an outage each bucket finds out anew what upstream has counted.
func (c *courier) answers(now time.Time) {
	if c.away.IsZero() {
		return
	}
	outage := now.Sub(c.away)
	c.away, c.cause = time.Time{}, nil
	close(c.back)
	c.back = nil
	if outage < holdAway {
		return
	}
	again := doubt
	if c.shared.config.ShareAway {
		again = regroup
		c.endAlone()
	}
	for _, m := range c.mirrors {
		if m.ledger != nil {
			m.tell(op{verb: again})
		}
	}
}

// reachable waits until Redis answers, for a short time. Where this replica spends its share meanwhile, it may return a
// call that is granted from it.
func (c *courier) reachable(ctx context.Context, slot *Slot) (*call, error) {
	var hold <-chan time.Time
	for {
		k, waits := c.spend(slot)
		if k != nil || waits == nil {
			return k, nil
		}
		if hold == nil {
			timer := time.NewTimer(waits.hold)
			defer timer.Stop()
			hold = timer.C
		}
		select {
		case <-waits.back:
		case <-waits.changed:
		case <-hold:
			return nil, unavailable(waits.cause)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end refuses whoever still waits when the limiter is closed.
func (c *courier) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearQueue(func(k *call) { k.err = unavailable(c.cause) })
	for _, m := range c.mirrors {
		if m.timer != nil {
			m.timer.Stop()
		}
	}
	if c.away.IsZero() {
		c.away, c.back = time.Now(), make(chan struct{})
	}
}
