package cache

import "context"

// Settle makes otter finish its book-keeping, so that Stats is exact.
func (c *Cache) Settle() { c.memory.level.CleanUp() }

// Weight is what an entry counts in memory.
func (e *Entry) Weight() int { return e.weight() }

// Waiting counts the requests that wait for fetches under way.
func Waiting(c *Cache) (n int) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	for _, f := range c.flights.byKey {
		n += f.waiting
	}
	return n
}

// AbandonLease takes the lease to fetch a key as a replica does that is killed then.
func AbandonLease(ctx context.Context, c *Cache, key Key, rule Rule) {
	marks := c.fence.marks(key, rule.Scopes)
	_, _ = c.shared.look(ctx, key.digest(), nil, indexesOf(marks), "the dead")
}

// RecallAcross looks into Redis, lets a write happen, and then takes over what it saw.
func RecallAcross(ctx context.Context, c *Cache, r Request, rule Rule, write func()) (Result, error) {
	raises := c.fence.raises.Load()
	seen, err := c.shared.look(ctx, r.Key.digest(), r.Header, indexesOf(c.fence.marks(r.Key, rule.Scopes)), "")
	write()
	return c.recognise(seen, r.Key, r, unserved(r.Directives, nil, Miss, fwdMiss), raises), err
}
