package cache

// Settle makes otter finish its book-keeping, so that Stats is exact.
func (c *Cache) Settle() { c.memory.level.CleanUp() }

// Weight is what an entry counts in memory.
func (e *Entry) Weight() int { return e.weight() }
