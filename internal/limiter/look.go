package limiter

import (
	"context"
	"crypto/rand"
	"slices"
	"time"
)

const (
	// lookFor is how long a snapshot waits for what Redis knows.
	lookFor = 500 * time.Millisecond
	// maxLooked bounds how many scopes a snapshot reads that this replica does not use: the last used first.
	maxLooked = 1000
)

// look reads on in a scope, or ("") in all, where requests of this replica wait.
func (c *courier) look(scope string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, m := range c.mirrors {
		if m.waiting > 0 && (scope == "" || scope == name) {
			c.send(m)
		}
	}
}

// quota is what a call can still expect by what was last read.
func (c *courier) quota(scope string, k *kind) (limit, remaining int, reset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mirrors[scope]
	if m == nil || m.ledger == nil {
		return k.quota(c.shared.config.Headroom)
	}
	return m.ledger.quota(c.clock.now(), k)
}

// addWaiting counts this replica's waiting requests by class.
func (c *courier) addWaiting(waiting map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.mirrors {
		for _, k := range m.calls {
			if k.granted.IsZero() {
				waiting[k.slot.kind.class]++
			}
		}
	}
}

// appendStates adds the owner's buckets as all replicas use them; while Redis does not answer, as last read.
func (c *courier) appendStates(all []BucketState) []BucketState {
	ctx, cancel := context.WithTimeout(c.shared.closing, lookFor)
	defer cancel()
	ledgers, now, err := c.lookUp(ctx)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		ledgers, now = nil, c.clock.now()
		for _, m := range c.mirrors {
			if m.ledger != nil {
				ledgers = append(ledgers, m.ledger)
			}
		}
	}
	for _, l := range ledgers {
		if !l.group.idle(now) {
			all = l.appendState(all, now, c.owner)
		}
	}
	return all
}

// lookUp reads every scope lately used, whichever replica uses it, without a trace.
func (c *courier) lookUp(ctx context.Context) (ledgers []*ledger, now time.Time, err error) {
	s := c.shared
	scopes, err := s.journal.scopes(ctx, c.owner, maxLooked)
	if err != nil {
		return nil, now, err
	}
	for chunk := range slices.Chunk(scopes, maxPages) {
		l := letter{owner: c.owner, fresh: rand.Text(), rules: string(s.config.Granularity)}
		for _, scope := range chunk {
			l.pages = append(l.pages, page{scope: scope, epoch: readAll})
		}
		a, err := s.journal.send(ctx, &l)
		if err != nil {
			return nil, now, err
		}
		now = a.now
		for i := range a.pages {
			if n := &a.pages[i]; !n.lost {
				m := mirror{courier: c, scope: chunk[i]}
				if err := m.reread(n, a.born); err != nil {
					return nil, now, err
				}
				ledgers = append(ledgers, m.ledger)
			}
		}
	}
	return ledgers, now, nil
}

// reread reads a group from what Redis has of it.
func (m *mirror) reread(n *news, born time.Time) error {
	if err := m.begin(n, born); err != nil {
		return err
	}
	for _, raw := range n.entries {
		if _, err := m.readEntry(raw); err != nil {
			return err
		}
	}
	return nil
}
