package cache

// SharedStats is what became of the work with other replicas, counted from the start.
type SharedStats struct {
	Trusted bool   // memory is believed: every write of another replica is heard of
	Outages uint64 // how often a write may have been missed, the start counted

	Found  uint64 // look-ups that Redis had an answer for
	Waited uint64 // look-ups that waited for another replica's fetch and got its answer
	Missed uint64 // look-ups that found nothing to serve
	Failed uint64 // look-ups and stores that Redis did not answer

	Acknowledged uint64 // writes that every replica acknowledged
	Outlasted    uint64 // writes that waited until a replica must have become deaf
	Unanswered   uint64 // writes that could not be told, since Redis did not answer
}

// SharedStats tells of the work with other replicas; false where there are none.
func (c *Cache) SharedStats() (SharedStats, bool) {
	if c.shared == nil {
		return SharedStats{}, false
	}
	t := &c.shared.tally
	return SharedStats{
		Trusted: c.trusted(), Outages: c.shared.trust.outages.Load(),
		Found: t.found.Load(), Waited: t.waited.Load(), Missed: t.missed.Load(), Failed: t.failed.Load(),
		Acknowledged: t.acknowledged.Load(), Outlasted: t.outlasted.Load(), Unanswered: t.unanswered.Load(),
	}, true
}
