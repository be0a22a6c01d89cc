package cache

import "context"

// Settle makes otter finish its book-keeping, so that Stats is exact.
func (c *Cache) Settle() { c.memory.level.CleanUp() }

// Weight is what an entry counts in memory.
func (e *Entry) Weight() int { return e.weight() }

// AbandonLease takes the lease to fetch a key as a replica does that is killed then.
func AbandonLease(ctx context.Context, c *Cache, key Key, rule Rule) {
	marks := c.fence.marks(key, rule.Scopes)
	_, _ = c.shared.look(ctx, key.digest(), nil, indexesOf(marks), "the dead")
}
