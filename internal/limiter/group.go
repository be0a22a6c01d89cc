package limiter

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

// proofsNeeded is how many answers must contradict one count per scope, with none in between that contradicts one per
// endpoint, before the former is given up. One would do were upstream never wrong; the second costs little.
const proofsNeeded = 2

// group is everything that is counted for one owner in one scope. Its lock is held for arithmetic only, never while
// waiting.
type group struct {
	memory *Memory
	scope  string

	mu        sync.Mutex
	owner     *owner
	lanes     map[string]*lane // by limit class; once split, by operation
	endpoints map[string]*lane // by operation, counted on the side while not split; only with Auto
	split     bool             // counts are kept per endpoint
	proofs    int              // that they should be
	waiting   int              // in all queues
	timer     *time.Timer      // wakes the queues; nil until first needed
	gone      bool             // forgotten by memory: ask it again
}

// lane returns the lane of a's operation.
func (g *group) lane(a *Ask) *lane {
	if l := g.find(a.Op); l != nil {
		return l
	}
	if g.split {
		return g.newLane(g.lanes, a.Op, a.Op.ID)
	}
	l := g.newLane(g.lanes, a.Op, "")
	l.sides = g.endpoints
	return l
}

// find returns the lane of op, or nil if nothing has been asked there yet.
func (g *group) find(op *catalog.Operation) *lane {
	if g.split {
		return g.lanes[op.ID]
	}
	return g.lanes[className(op)]
}

// newLane adds a lane for op to in: counted by operation, or by class where that is empty.
func (g *group) newLane(in map[string]*lane, op *catalog.Operation, operation string) *lane {
	class := className(op)
	l := &lane{gates: newBuckets(g.memory.config.limits(op), class, operation)}
	in[cmp.Or(operation, class)] = l
	return l
}

// enter grants s a place at once, or queues it and returns its waiter, or refuses it.
func (g *group) enter(now time.Time, s *Slot, again bool) (*waiter, error) {
	l := g.lane(&s.ask)
	l.advance(now)
	if l.queue.len() == 0 {
		if open, _ := l.open(now, &g.memory.config, &s.ask); open {
			g.grant(now, l, s)
			return nil, nil
		}
	}
	if err := g.refusal(now, l, s, again); err != nil {
		return nil, err
	}
	w := &waiter{slot: s, deadline: s.deadline, ready: make(chan struct{}), again: again}
	l.queue.push(w)
	g.waiting++
	g.dispatch(now)
	return w, nil
}

// grant counts s in all its buckets.
func (g *group) grant(now time.Time, l *lane, s *Slot) {
	s.group = g
	s.waited = now.Sub(s.asked)
	l.noteWait(now, s.waited)
	s.taken = s.inline[:0]
	for _, b := range l.gates {
		s.taken = append(s.taken, taken{b, b.take(now)})
		b.shares.add(s.ask.Team, s.ask.Weight, 1)
	}
	if g.split || g.endpoints == nil {
		return
	}
	side := g.endpoints[s.ask.Op.ID]
	if side == nil {
		side = g.newLane(g.endpoints, s.ask.Op, s.ask.Op.ID)
	}
	side.advance(now)
	for _, b := range side.gates {
		s.taken = append(s.taken, taken{b, b.take(now)})
	}
}

// dispatch serves whoever can be served, refuses whoever has waited long enough or must, and sets the timer.
func (g *group) dispatch(now time.Time) {
	if g.waiting == 0 {
		return
	}
	var wake time.Time
	for _, l := range g.lanes {
		if l.queue.len() == 0 {
			continue
		}
		if again := g.drain(now, l); !again.IsZero() && (wake.IsZero() || again.Before(wake)) {
			wake = again
		}
	}
	if wake.IsZero() {
		return
	}
	if g.timer == nil {
		g.timer = time.AfterFunc(wake.Sub(now), g.wake)
	} else {
		g.timer.Reset(wake.Sub(now))
	}
}

// drain does for one lane what dispatch does for all, and returns when to look again; zero: nobody waits.
func (g *group) drain(now time.Time, l *lane) time.Time {
	var again time.Time
	for l.queue.len() > 0 {
		w, when := l.next(now, &g.memory.config)
		if w == nil {
			again = when
			break
		}
		l.queue.serve(w)
		g.waiting--
		g.grant(now, l, w.slot)
		close(w.ready)
	}
	for l.queue.len() > 0 {
		// Whoever cannot be served before the next window is told now instead of at its deadline.
		w := l.queue.expiry[0]
		hopeless := l.turn(now, &g.memory.config, w.line.team, w.line.weight, 0)
		if w.deadline.After(now) && !w.deadline.Before(hopeless) {
			return earlier(again, w.deadline)
		}
		ahead := l.queue.position(w)
		w.err = g.timeout(now, l, w.slot, ahead, l.turn(now, &g.memory.config, w.line.team, w.line.weight, ahead))
		l.queue.remove(w)
		g.waiting--
		close(w.ready)
	}
	return time.Time{}
}

// wake is what the timer does.
func (g *group) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dispatch(time.Now())
}

// leave takes w out of its queue, since its caller has gone. A place it has got in the meantime is given back.
func (g *group) leave(w *waiter) {
	g.mu.Lock()
	if w.index < 0 {
		granted := w.err == nil
		g.mu.Unlock()
		if granted {
			w.slot.Unsent()
		}
		return
	}
	defer g.mu.Unlock()
	w.queue.remove(w)
	g.waiting--
}

// refusal returns the problem of a request that must not be queued, or nil.
func (g *group) refusal(now time.Time, l *lane, s *Slot, again bool) error {
	ahead := 0
	if !again {
		ahead = l.queue.ahead(s.ask.Team, s.ask.Weight, s.ask.Batch)
	}
	turn := l.turn(now, &g.memory.config, s.ask.Team, s.ask.Weight, ahead)
	if turn.After(s.deadline) || !s.deadline.After(now) {
		return g.timeout(now, l, s, ahead, turn)
	}
	if again { // it had its place in the queue before
		return nil
	}
	own := 0
	if line := l.queue.lines[s.ask.Team]; line != nil {
		own = line.len()
	}
	if own >= g.memory.config.QueuePerTeam || g.waiting >= g.memory.config.QueuePerBucket {
		p := problem.New(http.StatusTooManyRequests, problem.QueueTimeout,
			"The queue for %s is full: %d requests wait, %d of them of team %q. Send fewer at a time.", g.name(l), g.waiting, own, s.ask.Team)
		p.RetryAfter = max(time.Second, turn.Sub(now))
		return p
	}
	return nil
}

// timeout is the problem of a request whose turn does not come in time.
func (g *group) timeout(now time.Time, l *lane, s *Slot, ahead int, turn time.Time) error {
	wait := max(time.Second, turn.Sub(now))
	p := problem.New(http.StatusTooManyRequests, problem.QueueTimeout,
		"No turn within %s: position %d in the queue for %s, whose turn comes in about %s. Come back then, or allow a longer wait.",
		s.deadline.Sub(s.asked).Round(time.Millisecond), ahead+1, g.name(l), wait.Round(time.Second))
	p.RetryAfter = wait
	return p
}

// name is what people call the lane's bucket.
func (g *group) name(l *lane) string {
	b := l.gates[0]
	switch {
	case b.operation != "":
		return fmt.Sprintf("%s, operation %s", g.scope, b.operation)
	case b.class != defaultClass:
		return fmt.Sprintf("%s, limit class %s", g.scope, b.class)
	}
	return g.scope
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
			g.lane(&w.slot.ask).queue.push(w)
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
