package limiter

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// encode writes everything that decisions follow from. How long requests waited lately is not among it.
func (l *ledger) encode() []byte {
	c := codec{bytes: make([]byte, 0, 1024)}
	c.ledger(l)
	return c.bytes
}

// redated writes l as it would be had Redis's clock, in the past, shown what it shows now: later by so much, give or take off.
func (l *ledger) redated(by, off time.Duration) []byte {
	for _, lanes := range []map[string]*lane{l.lanes, l.endpoints} {
		for _, lane := range lanes {
			for _, b := range lane.gates {
				b.end = span{b.end.lo.Add(-off), b.end.hi.Add(off)}
				b.toldLo = b.toldLo.Add(-off)
			}
		}
	}
	c := codec{bytes: make([]byte, 0, 1024), shift: by}
	c.ledger(l)
	return c.bytes
}

func decodeLedger(bytes []byte, scope string, g Granularity) (*ledger, error) {
	c := codec{bytes: bytes, reading: true}
	l := newLedger(scope, g, time.Time{})
	c.ledger(l)
	if c.bad {
		return nil, errCorrupt
	}
	return l, nil
}

func (c *codec) ledger(l *ledger) {
	c.time(&l.last)
	c.time(&l.wake)
	c.time(&l.opens)
	c.settings(l.settings)
	unit := l.owner.unit.Load()
	c.int64(&unit)
	l.owner.unit.Store(unit)
	c.bool(&l.split)
	integer(c, &l.proofs)
	c.lanes(&l.lanes)
	counting := l.endpoints != nil
	if c.bool(&counting); counting {
		c.lanes(&l.endpoints)
	} else {
		l.endpoints = nil
	}
	c.replicas(l)
	for _, key := range slices.Sorted(maps.Keys(l.lanes)) {
		lane := l.lanes[key]
		if c.reading && counting {
			lane.sides = l.endpoints
		}
		c.queue(l, &lane.queue)
	}
	c.claims(l)
}

func (c *codec) lanes(lanes *map[string]*lane) {
	keys := slices.Sorted(maps.Keys(*lanes))
	if c.reading {
		*lanes = map[string]*lane{}
	}
	elements(c, &keys, func(key *string) {
		c.text(key)
		if c.reading {
			(*lanes)[*key] = &lane{}
		}
		elements(c, &(*lanes)[*key].gates, func(b **bucket) {
			if c.reading {
				*b = &bucket{}
			}
			c.bucket(*b)
		})
	})
}

func (c *codec) bucket(b *bucket) {
	c.text(&b.class)
	c.text(&b.operation)
	c.window(&b.window)
	teams := slices.Sorted(maps.Keys(b.shares.teams))
	elements(c, &teams, func(team *string) {
		c.text(team)
		u := b.shares.teams[*team]
		integer(c, &u.n)
		integer(c, &u.weight)
		if c.reading {
			b.shares.add(*team, u.weight, u.n)
		}
	})
}

func (c *codec) window(w *window) {
	integer(c, &w.limit)
	c.duration(&w.period)
	integer(c, &w.gen)
	c.bool(&w.open)
	for _, n := range []*int{&w.count, &w.granted, &w.others, &w.carried, &w.late, &w.heard, &w.peak, &w.flying, &w.foreign} {
		integer(c, n)
	}
	for _, t := range []*time.Time{&w.end.lo, &w.end.hi, &w.toldLo, &w.last, &w.sent, &w.blocked} {
		c.time(t)
	}
	for _, b := range []*bool{&w.proved, &w.learning, &w.speaks} {
		c.bool(b)
	}
	elements(c, &w.strays, c.time)
}

func (c *codec) replicas(l *ledger) {
	replicas := slices.Sorted(maps.Keys(l.heard))
	elements(c, &replicas, func(replica *string) {
		c.text(replica)
		h := l.heard[*replica]
		integer(c, &h.seq)
		c.time(&h.at)
		if c.reading {
			l.heard[*replica] = h
		}
	})
}

// queue writes the lines, and then the waiters of each in their order.
func (c *codec) queue(l *ledger, q *queue) {
	c.float(&q.virtual)
	integer(c, &q.orders)
	teams := slices.Sorted(maps.Keys(q.lines))
	elements(c, &teams, func(team *string) {
		c.text(team)
		if c.reading {
			if q.lines == nil {
				q.lines = map[string]*line{}
			}
			q.lines[*team] = &line{team: *team}
		}
		line := q.lines[*team]
		integer(c, &line.weight)
		c.float(&line.start)
		c.float(&line.finish)
		integer(c, &line.streak)
		waiters := slices.Concat(line.interactive.all(), line.batch.all())
		elements(c, &waiters, func(w **waiter) {
			if c.reading {
				*w = &waiter{claim: &claim{}}
			}
			c.claim((*w).claim)
			integer(c, &(*w).order)
			c.bool(&(*w).again)
			if c.reading {
				(*w).deadline = (*w).claim.deadline
				q.restore(*w, line)
				l.waiters[(*w).claim.id] = *w
				l.waiting++
			}
		})
	})
}

func (c *codec) claim(r *claim) {
	c.text(&r.id.replica)
	integer(c, &r.id.n)
	c.kind(&r.kind)
	c.text(&r.team)
	integer(c, &r.weight)
	c.bool(&r.batch)
	c.bool(&r.again)
	c.time(&r.asked)
	c.time(&r.deadline)
}

// claims writes what was granted, with its places.
func (c *codec) claims(l *ledger) {
	all := slices.SortedFunc(maps.Values(l.claims), func(a, b *claim) int {
		return cmp.Or(cmp.Compare(a.id.replica, b.id.replica), cmp.Compare(a.id.n, b.id.n))
	})
	elements(c, &all, func(r **claim) {
		if c.reading {
			*r = &claim{}
		}
		c.claim(*r)
		elements(c, &(*r).taken, func(t *taken) { c.taken(l, t) })
		if c.reading {
			l.claims[(*r).id] = *r
		}
	})
}

func (c *codec) taken(l *ledger, t *taken) {
	at := l.whereabouts(t.bucket)
	c.bool(&at.side)
	c.text(&at.lane)
	integer(c, &at.gate)
	integer(c, &t.place.gen)
	integer(c, &t.place.seq)
	integer(c, &t.place.flying)
	integer(c, &t.place.heard)
	c.time(&t.place.sent)
	if !c.reading {
		return
	}
	lanes := l.lanes
	if at.side {
		lanes = l.endpoints
	}
	if lane := lanes[at.lane]; lane != nil && at.gate >= 0 && at.gate < len(lane.gates) {
		t.bucket = lane.gates[at.gate]
		return
	}
	c.bad, c.bytes = true, nil
	t.bucket = &bucket{}
}

// whereabouts is which bucket of a group one is.
type whereabouts struct {
	side bool // counted on the side
	lane string
	gate int
}

func (l *ledger) whereabouts(b *bucket) whereabouts {
	if b == nil {
		return whereabouts{}
	}
	at := whereabouts{side: b.operation != "" && !l.split, lane: cmp.Or(b.operation, b.class)}
	lanes := l.lanes
	if at.side {
		lanes = l.endpoints
	}
	at.gate = slices.Index(lanes[at.lane].gates, b)
	return at
}
