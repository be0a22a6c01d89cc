package limiter

import (
	"sync/atomic"
	"time"
)

// owner is what is known of one credential owner's answers. In memory all scopes of the owner share it.
type owner struct {
	unit atomic.Int64 // of X-RateLimit-Reset, a unit
}

func newOwner() *owner {
	o := &owner{}
	o.unit.Store(int64(seconds)) // every recorded value is in seconds; a single answer in milliseconds shows
	return o
}

// answered learns from an answer that is not a 429.
func (g *group) answered(now time.Time, c *claim, h headers, vague bool) {
	seen := h.limit > 0 && h.remaining >= 0
	gate, side := about(c.taken, h.limit)
	for _, t := range c.taken {
		b := t.bucket
		b.advance(now)
		said := told{seen: seen, vague: vague}
		if b == gate || b == side {
			said = g.read(now, t, h, said)
		}
		others := b.others
		verdict := b.answer(now, t.place, said)
		if b == side && b.others > others { // upstream counts more there than was sent there
			g.proofs = 0
		}
		switch verdict {
		case turned:
			b.begin(now, said)
		case apart:
			if b.operation == "" && g.endpoints != nil {
				g.proofs++
			} else {
				b.begin(now, said)
			}
		}
	}
	if g.proofs >= proofsNeeded && !g.split {
		g.divide()
	}
}

// read turns the headers into what they tell of t's window.
func (g *group) read(now time.Time, t taken, h headers, said told) told {
	known := unit(g.owner.unit.Load())
	if found := known.findOut(h, t.bucket.period); found != known {
		g.owner.unit.Store(int64(found))
		known = found
	}
	said.end, said.dated = known.end(h.reset, t.place.sent, now)
	if said.seen {
		said.counted, said.limit = true, int(h.limit)
		said.used = int(max(0, h.limit-h.remaining))
	}
	return said
}

// refused holds the buckets of a request that was answered 429 until the time upstream names.
func (g *group) refused(now time.Time, c *claim, h headers) {
	gate, side := about(c.taken, h.limit)
	named := (gate != nil && int64(gate.limit) == h.limit) || (side != nil && int64(side.limit) == h.limit)
	for _, t := range c.taken {
		b := t.bucket
		b.advance(now)
		if named && b != gate && b != side {
			b.lose(now, t.place) // upstream says which limit it was, and it was not this one
			continue
		}
		until := later(b.end.hi, now)
		if !b.open {
			until = now.Add(b.period)
		}
		said := g.read(now, t, h, told{})
		switch {
		case h.retryAfter > 0:
			until = now.Add(h.retryAfter)
		case said.dated:
			until = said.end.hi
		}
		b.refuse(until)
	}
}

// about returns which of the buckets an answer speaks of when it names this limit, one counted per scope and one per
// endpoint: the one so limited, else the longest, which is the one a throttle reports first.
func about(all []taken, limit int64) (gate, side *bucket) {
	better := func(b, than *bucket) bool {
		if than == nil {
			return true
		}
		exact, was := int64(b.limit) == limit, int64(than.limit) == limit
		if exact != was {
			return exact
		}
		return b.period > than.period
	}
	for _, t := range all {
		b := t.bucket
		switch {
		case b.operation == "" && better(b, gate):
			gate = b
		case b.operation != "" && better(b, side):
			side = b
		}
	}
	return gate, side
}
