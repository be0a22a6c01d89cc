package limiter

import "time"

// lane is what calls of one kind share: their buckets, all of which each call spends, and the queue in front of them.
// Lanes are one per limit class while counts are kept per scope, and one per operation where they are per endpoint.
type lane struct {
	gates []*bucket
	queue queue
	waits *waits           // nil: nobody has waited lately
	sides map[string]*lane // group.endpoints: what would count were counts kept per endpoint; nil where that is decided
}

// open reports whether c may be sent now, and when to look again if not.
func (l *lane) open(now time.Time, s *settings, c *claim) (bool, time.Time) {
	open, again := true, time.Time{}
	for _, b := range l.gates {
		if n, when := b.room(now, s, c.team, c.weight); n == 0 {
			open, again = false, later(again, when)
		}
	}
	side := l.sides[c.kind.operation]
	if side == nil {
		return open, again
	}
	side.advance(now)
	for _, b := range side.gates {
		// As long as upstream may count per endpoint, both ways of counting must have room. A count that includes
		// others' requests says that it does not.
		if n, when := b.window.room(now, s.Headroom); n == 0 && b.foreign == 0 {
			open, again = false, later(again, when)
		}
	}
	return open, again
}

// advance moves every gate on to its next window when it is time.
func (l *lane) advance(now time.Time) {
	for _, b := range l.gates {
		b.advance(now)
	}
}

// shut reports whether nobody at all can be served now, and until when.
func (l *lane) shut(now time.Time, s *settings) (bool, time.Time) {
	shut, again := false, time.Time{}
	for _, b := range l.gates {
		if n, when := b.window.room(now, s.Headroom); n == 0 {
			shut, again = true, later(again, when)
		}
	}
	return shut, again
}

// next returns the waiter whose turn it is, if one can be served now, and otherwise when to look again.
func (l *lane) next(now time.Time, s *settings) (*waiter, time.Time) {
	l.advance(now)
	if shut, again := l.shut(now, s); shut {
		return nil, again
	}
	var best *line
	var soonest time.Time
	for _, line := range l.queue.backlog {
		if best != nil && !goesBefore(line, best) {
			continue
		}
		open, again := l.open(now, s, line.head().claim)
		switch {
		case open:
			best = line
		case soonest.IsZero() || again.Before(soonest):
			soonest = again
		}
	}
	if best == nil {
		return nil, soonest
	}
	return best.head(), time.Time{}
}

// turn estimates when a request of the team with so many ahead of it would be served: at the earliest, since a window
// may end a little later than is known.
func (l *lane) turn(now time.Time, s *settings, team string, weight, ahead int) time.Time {
	turn := now
	for _, b := range l.gates {
		turn = later(turn, b.turn(now, s, team, weight, ahead))
	}
	return turn
}

// idle reports whether nothing is known of the lane that is worth keeping.
func (l *lane) idle(now time.Time) bool {
	if l.queue.len() > 0 {
		return false
	}
	for _, b := range l.gates {
		if b.flying > 0 || now.Before(b.blocked) || b.open && now.Before(b.end.hi.Add(b.period)) {
			return false
		}
	}
	return true
}
