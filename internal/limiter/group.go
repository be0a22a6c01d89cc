package limiter

import (
	"cmp"
	"slices"
	"time"
)

// proofsNeeded is how many answers must contradict one count per scope, with none in between that contradicts one per
// endpoint, before the former is given up. One would do were upstream never wrong; the second costs little.
const proofsNeeded = 2

// group is everything that is counted for one owner in one scope: a machine whose state follows from what it was told and
// when, and from nothing else. It reads no clock, waits for nobody and calls nobody. Its keeper locks it, hands on what it
// delivered, and calls dispatch when it asks for it.
type group struct {
	settings  *settings
	scope     string
	owner     *owner
	lanes     map[string]*lane // by limit class; once split, by operation
	endpoints map[string]*lane // by operation, counted on the side while not split; only with Auto
	split     bool             // counts are kept per endpoint
	proofs    int              // that they should be
	waiting   int              // in all queues
	opens     time.Time        // nothing is granted before
	delivered []*waiter        // granted or refused since the keeper last took them
}

func newGroup(s *settings, scope string, o *owner) *group {
	g := &group{settings: s, scope: scope, owner: o, lanes: map[string]*lane{}}
	switch s.Granularity {
	case Auto:
		g.endpoints = map[string]*lane{}
	case PerEndpoint:
		g.split = true
	}
	return g
}

// lane returns the lane of k.
func (g *group) lane(k *kind) *lane {
	if l := g.find(k); l != nil {
		return l
	}
	if g.split {
		return g.newLane(g.lanes, k, k.operation)
	}
	l := g.newLane(g.lanes, k, "")
	l.sides = g.endpoints
	return l
}

// find returns the lane of k, or nil if nothing has been asked there yet.
func (g *group) find(k *kind) *lane {
	if g.split {
		return g.lanes[k.operation]
	}
	return g.lanes[k.class]
}

// newLane adds a lane for k to in: counted by operation, or by class where that is empty.
func (g *group) newLane(in map[string]*lane, k *kind, operation string) *lane {
	l := &lane{gates: newBuckets(k.limits, k.class, operation)}
	in[cmp.Or(operation, k.class)] = l
	return l
}

// enter grants c its places at once, or queues it and returns its waiter, or refuses it.
func (g *group) enter(now time.Time, c *claim) (*waiter, *refusal) {
	l := g.lane(&c.kind)
	l.advance(now)
	if l.queue.len() == 0 && !now.Before(g.opens) {
		if open, _ := l.open(now, g.settings, c); open {
			g.grant(now, l, c)
			return nil, nil
		}
	}
	if refused := g.refusal(now, l, c); refused != nil {
		return nil, refused
	}
	w := &waiter{claim: c, deadline: c.deadline, again: c.again}
	l.queue.push(w)
	g.waiting++
	return w, nil
}

// grant counts c in all its buckets.
func (g *group) grant(now time.Time, l *lane, c *claim) {
	c.waited = now.Sub(c.asked)
	l.noteWait(now, c.waited)
	c.taken = c.inline[:0]
	g.count(now, l, c)
}

// count takes c's places.
func (g *group) count(now time.Time, l *lane, c *claim) {
	for _, b := range l.gates {
		c.taken = append(c.taken, taken{b, b.take(now)})
		b.shares.add(c.team, c.weight, 1)
	}
	if g.split || g.endpoints == nil {
		return
	}
	side := g.endpoints[c.kind.operation]
	if side == nil {
		side = g.newLane(g.endpoints, &c.kind, c.kind.operation)
	}
	side.advance(now)
	for _, b := range side.gates {
		c.taken = append(c.taken, taken{b, b.take(now)})
	}
}

// adopt counts a request that was granted and sent before anything here was known.
func (g *group) adopt(now time.Time, c *claim) {
	l := g.lane(&c.kind)
	l.advance(now)
	c.taken = c.inline[:0]
	g.count(now, l, c)
	for i := range c.taken {
		t := &c.taken[i]
		t.place.sent = c.asked
		t.bucket.end.lo = earlier(t.bucket.end.lo, c.asked.Add(t.bucket.period)) // it may have opened its window long ago
	}
}

// doubt has every bucket find out anew what upstream has counted: one request goes alone, and its answer tells.
func (g *group) doubt() {
	for _, lanes := range []map[string]*lane{g.lanes, g.endpoints} {
		for _, l := range lanes {
			for _, b := range l.gates {
				b.learning = true
			}
		}
	}
}

// dispatch serves whoever can be served, refuses whoever has waited long enough or must, and returns when to be called
// again; zero: nobody waits.
func (g *group) dispatch(now time.Time) (wake time.Time) {
	if g.waiting == 0 {
		return time.Time{}
	}
	for _, l := range g.lanes {
		if l.queue.len() == 0 {
			continue
		}
		if again := g.drain(now, l); !again.IsZero() && (wake.IsZero() || again.Before(wake)) {
			wake = again
		}
	}
	return wake
}

// drain does for one lane what dispatch does for all.
func (g *group) drain(now time.Time, l *lane) time.Time {
	var again time.Time
	for l.queue.len() > 0 {
		if now.Before(g.opens) {
			again = g.opens
			break
		}
		w, when := l.next(now, g.settings)
		if w == nil {
			again = when
			break
		}
		l.queue.serve(w)
		g.grant(now, l, w.claim)
		g.deliver(w)
	}
	for l.queue.len() > 0 {
		// Whoever cannot be served before the next window is told now instead of at its deadline.
		w := l.queue.expiry[0]
		hopeless := l.turn(now, g.settings, w.line.team, w.line.weight, 0)
		if w.deadline.After(now) && !w.deadline.Before(hopeless) {
			return earlier(again, w.deadline)
		}
		ahead := l.queue.position(w)
		w.refused = g.late(now, l, w.claim, ahead, l.turn(now, g.settings, w.line.team, w.line.weight, ahead))
		l.queue.remove(w)
		g.deliver(w)
	}
	return time.Time{}
}

func (g *group) deliver(w *waiter) {
	g.waiting--
	g.delivered = append(g.delivered, w)
}

// leave takes w out of its queue, since its caller has gone. A place it has got in the meantime is given back.
func (g *group) leave(now time.Time, w *waiter) {
	switch {
	case w.index >= 0:
		w.queue.remove(w)
		g.waiting--
	case w.refused == nil:
		g.settle(now, w.claim, outcome{what: unsent})
	}
}

// divide gives up one count per scope: what was counted on the side takes over, and every waiter moves to the queue
// of its operation, in the order of arrival.
func (g *group) divide() {
	old := g.lanes
	g.lanes, g.endpoints, g.split = g.endpoints, nil, true
	for _, l := range old {
		waiters := slices.Clone(l.queue.expiry)
		slices.SortFunc(waiters, func(a, b *waiter) int { return cmp.Compare(a.order, b.order) })
		for _, w := range waiters {
			l.queue.remove(w)
			g.lane(&w.claim.kind).queue.push(w)
		}
	}
}

// idle reports whether nothing is known that is worth keeping.
func (g *group) idle(now time.Time) bool {
	if g.waiting > 0 {
		return false
	}
	for _, l := range g.lanes {
		if !l.idle(now) {
			return false
		}
	}
	return true
}
