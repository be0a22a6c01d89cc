package limiter

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// beatEvery is how often a replica that has requests waiting or under way shows that it is there.
	beatEvery = 400 * time.Millisecond
	// goneAfter is how long a replica may be silent before the others give up its places: three heartbeats. Places are
	// free again two seconds after a replica's death, with time to tell it.
	goneAfter = 3 * beatEvery
	// holdAway is how long requests are held when Redis stops answering, before they are refused.
	holdAway = 2 * time.Second
	// tryAgain is how long after a failure Redis is asked again.
	tryAgain = 50 * time.Millisecond
	// maxPages bounds one letter, so that its script runs for a millisecond at most: Redis does nothing else meanwhile.
	maxPages = 64
	// staleGrant is the age at which a grant is not used any more. What remains of transit is for sending the request.
	staleGrant = 2 * time.Second
)

// courier carries what this replica and the groups of one owner tell each other. One letter is under way at a time; what
// comes up meanwhile goes together in the next. Its lock is held for arithmetic only.
type courier struct {
	shared *Shared
	owner  string
	wake   chan struct{} // has an element while there is something to carry

	mu       sync.Mutex
	mirrors  map[string]*mirror // by scope
	outgoing []*mirror          // that have something to tell or to ask
	calls    int                // of this replica that wait or are under way
	numbers  uint64             // of calls
	clock    clock
	memory   string        // the life of Redis's memory
	beat     time.Time     // when this replica last showed itself
	doubted  string        // a life of Redis's memory that is to be given up; "": none
	heard    time.Time     // when Redis last answered
	failed   time.Time     // when Redis last failed to answer
	away     time.Time     // since when it does not; zero: it does
	back     chan struct{} // closed when it answers again; nil while it does
	cause    error         // why it does not
	retry    *time.Timer   // asks it again; nil until first needed
	fellows
}

// run carries until ctx ends, and then once more.
func (c *courier) run(ctx context.Context) {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	ticking := true
	c.signal()
	for {
		select {
		case <-ctx.Done():
			_, _ = c.exchange(context.WithoutCancel(ctx)) // what is not told now, the others find out by our silence
			c.end()
			return
		case <-beat.C:
			c.askForWaiters()
		case <-c.wake:
			if !ticking {
				beat.Reset(beatEvery)
				ticking = true
			}
		}
		for ctx.Err() == nil {
			if more, err := c.exchange(ctx); err != nil || !more {
				break
			}
		}
		if ticking && c.idle() {
			beat.Stop()
			ticking = false
		}
	}
}

// idle reports whether this replica need not show itself.
func (c *courier) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls == 0 && len(c.outgoing) == 0 && !c.shared.config.ShareAway
}

// send has m taken along. The caller holds c.mu.
func (c *courier) send(m *mirror) {
	if !m.queued {
		m.queued = true
		c.outgoing = append(c.outgoing, m)
	}
	c.signal()
}

func (c *courier) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// askForWaiters reads on wherever requests of this replica wait, and where it may have to spend its share.
func (c *courier) askForWaiters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.mirrors {
		if m.waiting > 0 || c.shared.config.ShareAway && time.Since(m.used) < shareUsed {
			c.send(m)
		}
	}
}

// exchange carries one letter, and reports whether there is more to carry.
func (c *courier) exchange(ctx context.Context) (more bool, err error) {
	if err := c.giveUp(ctx); err != nil {
		return false, err
	}
	letter, mirrors := c.compose(time.Now())
	if letter == nil {
		return false, nil
	}
	sent := time.Now()
	a, err := c.shared.journal.send(ctx, letter)
	received := time.Now()
	c.mu.Lock()
	served := []string(nil)
	if err != nil {
		c.fail(received, err, mirrors)
	} else {
		served = c.take(&a, letter, mirrors, clock{a.now, sent, received})
	}
	more = len(c.outgoing) > 0
	c.mu.Unlock()
	c.wakeOthers(ctx, served)
	return more, err
}

// giveUp has Redis forget what cannot be trusted, before anything else is read from there.
func (c *courier) giveUp(ctx context.Context) error {
	c.mu.Lock()
	doubted := c.doubted
	c.mu.Unlock()
	if doubted == "" {
		return nil
	}
	err := c.shared.journal.forget(ctx, c.owner, doubted)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.fail(time.Now(), err, nil)
		return err
	}
	c.doubted = ""
	return nil
}

// compose writes the next letter; nil: there is nothing to carry.
func (c *courier) compose(now time.Time) (*letter, []*mirror) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &letter{owner: c.owner, fresh: rand.Text(), rules: string(c.shared.config.Granularity)}
	if (c.calls > 0 || c.shared.config.ShareAway) && now.Sub(c.beat) >= beatEvery*3/4 {
		l.replica, c.beat = c.shared.replica, now
	}
	n := min(len(c.outgoing), maxPages)
	if n == 0 && l.replica == "" && c.memory != "" { // at the start there is something: should Redis know nothing, its grace begins
		return nil, nil
	}
	mirrors := slices.Clone(c.outgoing[:n])
	c.outgoing = slices.Delete(c.outgoing, 0, n)
	l.pages = make([]page, n)
	for i, m := range mirrors {
		m.queued = false
		l.pages[i] = m.page(now)
	}
	return l, mirrors
}

// take reads Redis's answer and returns the scopes where it served others' waiters.
func (c *courier) take(a *answer, l *letter, mirrors []*mirror, read clock) (served []string) {
	untimely := a.memory == c.memory && c.clock.stepped(&read)
	c.memory, c.clock, c.heard = a.memory, read, read.received
	c.answers(read.received)
	if untimely {
		c.redate()
		return nil
	}
	for i, m := range mirrors {
		if err := m.take(&a.pages[i], &l.pages[i], a.born); err != nil {
			c.shared.config.Log.Warn("the shared quota is counted anew", "owner", c.owner, "scope", m.scope, "error", err)
			c.doubted = a.memory
			m.keep()
			c.send(m)
			continue
		}
		if m.serves {
			m.serves = false
			served = append(served, m.scope)
		}
		if len(m.outbox) > 0 {
			c.send(m)
		}
	}
	if l.replica != "" {
		c.meet(a)
		c.bury(a)
	}
	return served
}

// redate gives up what Redis remembers, since its clock was set: by the dates in it windows would seem to be over that are
// not. What this replica knows is put back with the dates of the clock as it is now.
func (c *courier) redate() {
	c.shared.config.Log.Warn("redis's clock was set: the shared quota is counted anew", "owner", c.owner)
	c.doubted = c.memory
	for _, m := range c.mirrors {
		if m.epoch != "" {
			m.keep()
			c.send(m)
		}
	}
}

// bury tells the groups where this replica has requests that another one is gone, unless it was Redis that was.
func (c *courier) bury(a *answer) {
	if time.Since(c.failed) < 2*goneAfter || a.now.Sub(a.born) < 2*goneAfter {
		return
	}
	for _, m := range c.mirrors {
		if len(m.calls) == 0 || m.ledger == nil {
			continue
		}
		for _, replica := range slices.Sorted(maps.Keys(m.ledger.replicas())) {
			if replica != c.shared.replica && a.now.Sub(a.alive[replica]) > goneAfter {
				m.tell(op{verb: gone, replica: replica})
			}
		}
	}
}

// wakeOthers tells the other replicas where their waiters were served.
func (c *courier) wakeOthers(ctx context.Context, scopes []string) {
	if len(scopes) == 0 || c.shared.config.Subscribe == nil {
		return
	}
	pipe := c.shared.config.Client.Pipeline()
	for _, scope := range scopes {
		pipe.Publish(ctx, wakeChannel, c.shared.replica+" "+c.owner+" "+scope)
	}
	_, _ = pipe.Exec(ctx) // who does not hear it reads it with the next heartbeat
}

// enter makes a call.
func (c *courier) enter(slot *Slot) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.mirror(slot.ask.Scope)
	if err != nil {
		return nil, err
	}
	c.calls++
	c.numbers++
	return m.enter(c.numbers, slot), nil
}

// mirror returns the mirror of a scope, which it makes if there is none.
func (c *courier) mirror(scope string) (*mirror, error) {
	if m := c.mirrors[scope]; m != nil {
		return m, nil
	}
	if len(c.mirrors) >= c.shared.config.Scopes {
		maps.DeleteFunc(c.mirrors, func(_ string, m *mirror) bool {
			return len(m.calls) == 0 && !m.queued && m.sending == nil && len(m.outbox) == 0
		})
	}
	if len(c.mirrors) >= c.shared.config.Scopes {
		return nil, tooManyScopes()
	}
	m := &mirror{courier: c, scope: scope, calls: map[uint64]*call{}}
	c.mirrors[scope] = m
	return m, nil
}

// abandon is what a caller does that leaves.
func (c *courier) abandon(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.mirror.calls[k.n] == k {
		k.mirror.drop(k)
		k.mirror.tell(op{verb: leave, n: k.n})
	}
}

// fresh reports whether k's grant is young enough to be used.
func (c *courier) fresh(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock.since(k.granted) < staleGrant
}

// settleSlot implements keeper.
func (k *call) settleSlot(_ *Slot, o outcome) {
	c := k.mirror.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.mirror.calls[k.n] != k {
		return // settled before
	}
	k.mirror.drop(k)
	k.mirror.tell(op{verb: settle, n: k.n, outcome: o})
	if k.portion != nil {
		k.portion.settle(o)
		c.changed()
	}
}

// retry implements keeper.
func (k *call) retry(ctx context.Context, s *Slot) (*Slot, error) {
	return k.mirror.courier.shared.acquire(ctx, s.again())
}
