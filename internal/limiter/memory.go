package limiter

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Memory is a limiter that keeps its state in this process. It is safe for concurrent use.
type Memory struct {
	config   Config // with its defaults
	settings *settings
	seed     maphash.Seed
	shards   [shardCount]shard
	owners   sync.Map // owner name → *owner; as many as there are credential owners
}

// shardCount spreads the look-up of scopes over so many locks: more than cores that could collide.
const shardCount = 32

// scopeKey is what one group counts for.
type scopeKey struct{ owner, scope string }

type shard struct {
	mu    sync.RWMutex
	sites map[scopeKey]*site
	sweep int // the number of groups at which those at rest are looked for
}

// site is a group kept in memory. Its lock is held for arithmetic only, never while waiting.
type site struct {
	memory *Memory

	mu sync.Mutex
	*group
	calls map[*waiter]chan struct{} // closed when the waiter is delivered
	timer *time.Timer               // wakes the queues; nil until first needed
	gone  bool                      // forgotten: ask for it again
}

// New returns a limiter that knows nothing yet of any quota. The configuration must be valid.
func New(c Config) *Memory {
	c = c.filled()
	return &Memory{config: c, settings: c.settings(), seed: maphash.MakeSeed()}
}

// Acquire implements Limiter.
func (m *Memory) Acquire(ctx context.Context, a Ask) (*Slot, error) {
	now := time.Now()
	deadline := now.Add(m.config.patience(&a))
	if d, ok := ctx.Deadline(); ok {
		deadline = earlier(deadline, d)
	}
	s := &Slot{ask: a, claim: claim{kind: m.config.kind(a.Op), team: a.Team, weight: max(1, a.Weight), batch: a.Batch, asked: now, deadline: deadline}}
	return m.acquire(ctx, s)
}

func (m *Memory) acquire(ctx context.Context, s *Slot) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g, err := m.lockSite(scopeKey{s.ask.Owner, s.ask.Scope})
	if err != nil {
		return nil, err
	}
	s.keeper = g
	w, refused := g.enter(time.Now(), &s.claim)
	if w == nil {
		g.mu.Unlock()
		if refused != nil {
			return nil, refused.problem()
		}
		return s, nil
	}
	call := make(chan struct{})
	g.calls[w] = call
	g.serve(time.Now())
	g.mu.Unlock()
	select {
	case <-call:
		if w.refused != nil {
			return nil, w.refused.problem()
		}
		return s, nil
	case <-ctx.Done():
		g.abandon(w)
		return nil, ctx.Err()
	}
}

// serve has the group serve whoever can be served, calls them, and sets the timer. The caller holds g.mu.
func (g *site) serve(now time.Time) {
	wake := g.dispatch(now)
	for _, w := range g.delivered {
		close(g.calls[w])
		delete(g.calls, w)
	}
	clear(g.delivered)
	g.delivered = g.delivered[:0]
	switch {
	case wake.IsZero():
	case g.timer == nil:
		g.timer = time.AfterFunc(wake.Sub(now), g.wake)
	default:
		g.timer.Reset(wake.Sub(now))
	}
}

// wake is what the timer does.
func (g *site) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serve(time.Now())
}

// abandon is what a caller does that leaves while it waits.
func (g *site) abandon(w *waiter) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, w)
	g.leave(now, w)
	g.serve(now)
}

func (g *site) settleSlot(s *Slot, o outcome) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle(now, &s.claim, o)
	g.serve(now)
}

func (g *site) retry(ctx context.Context, s *Slot) (*Slot, error) {
	return g.memory.acquire(ctx, s.again())
}

// lockSite returns the site of k, locked. It is made where there is none.
func (m *Memory) lockSite(k scopeKey) (*site, error) {
	sh := &m.shards[maphash.Comparable(m.seed, k)%shardCount]
	for {
		sh.mu.RLock()
		g := sh.sites[k]
		sh.mu.RUnlock()
		if g == nil {
			var err error
			if g, err = m.makeSite(sh, k); err != nil {
				return nil, err
			}
		}
		g.mu.Lock()
		if !g.gone {
			return g, nil
		}
		g.mu.Unlock() // forgotten between look-up and lock
	}
}

// makeSite returns the group of k in sh, which it makes if there is none. Groups at rest are forgotten first, each
// time their number has doubled since the last look: what is known of them is what a new one would find out.
func (m *Memory) makeSite(sh *shard, k scopeKey) (*site, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if g := sh.sites[k]; g != nil {
		return g, nil
	}
	bound := max(1, m.config.Scopes/shardCount)
	if len(sh.sites) >= max(64, sh.sweep) || len(sh.sites) >= bound {
		sh.forget(time.Now())
		sh.sweep = 2 * len(sh.sites)
	}
	if len(sh.sites) >= bound {
		return nil, tooManyScopes()
	}
	if sh.sites == nil {
		sh.sites = map[scopeKey]*site{}
	}
	g := &site{memory: m, group: newGroup(m.settings, k.scope, m.owner(k.owner)), calls: map[*waiter]chan struct{}{}}
	sh.sites[k] = g
	return g, nil
}

// forget drops the groups at rest. The caller holds sh.mu.
func (sh *shard) forget(now time.Time) {
	for k, g := range sh.sites {
		g.mu.Lock()
		if g.idle(now) {
			g.gone = true
			delete(sh.sites, k)
		}
		g.mu.Unlock()
	}
}

func (m *Memory) owner(name string) *owner {
	if o, ok := m.owners.Load(name); ok {
		return o.(*owner)
	}
	o, _ := m.owners.LoadOrStore(name, newOwner())
	return o.(*owner)
}
