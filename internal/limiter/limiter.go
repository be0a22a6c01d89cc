// Package limiter makes every request wait its fair turn for upstream's quota, so that upstream answers no 429, none of
// the quota is wasted, and no team starves another.
//
// Invariant: as long as nobody outside the gateway spends the same quota, no window as upstream counts it ever sees
// more of the gateway's requests than its limit, however long answers take and in whatever order they come.
//
// Time and storage are apart: window.go, shares.go, header.go and queue.go only compute; group.go and limiter.go hold
// the state in memory, lock and wait. docs/limiter.md explains the algorithm and what it assumes of upstream. The
// package sends nothing, judges nobody, and counts no metrics: it returns facts.
package limiter

import (
	"context"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

// Ask is one request for a slot.
type Ask struct {
	Owner   string             // whose quota is spent: the credential's owner
	Scope   string             // "project:ref", "organization:slug" or "account"
	Op      *catalog.Operation // what is called
	Team    string             // whose share of a contended bucket it takes
	Weight  int                // the team's weight; below 1 counts as 1
	MaxWait time.Duration      // how long it may wait; zero or more than Config.MaxWait: Config.MaxWait; negative: not at all
	Batch   bool               // yields to the same team's other requests
}

// Memory is a limiter that keeps its state in this process. It is safe for concurrent use.
type Memory struct {
	config Config // with its defaults
	seed   maphash.Seed
	shards [shardCount]shard
	owners sync.Map // owner name → *owner; as many as there are credential owners
}

// shardCount spreads the look-up of scopes over so many locks: more than cores that could collide.
const shardCount = 32

// scopeKey is what one group counts for.
type scopeKey struct{ owner, scope string }

type shard struct {
	mu     sync.RWMutex
	groups map[scopeKey]*group
	sweep  int // the number of groups at which those at rest are looked for
}

// New returns a limiter that knows nothing yet of any quota. The configuration must be valid.
func New(c Config) *Memory {
	return &Memory{config: c.filled(), seed: maphash.MakeSeed()}
}

// Acquire waits until a request may be sent and returns its slot. It fails with a *problem.Error (429 queue_timeout,
// with RetryAfter) at once where the turn would come too late or the queue is full, and with the context's error when
// the caller left.
func (m *Memory) Acquire(ctx context.Context, a Ask) (*Slot, error) {
	now := time.Now()
	a.Weight = max(1, a.Weight)
	wait := m.config.MaxWait
	if a.MaxWait != 0 {
		wait = max(0, min(wait, a.MaxWait))
	}
	deadline := now.Add(wait)
	if d, ok := ctx.Deadline(); ok {
		deadline = earlier(deadline, d)
	}
	return m.acquire(ctx, &Slot{ask: a, asked: now, deadline: deadline}, false)
}

func (m *Memory) acquire(ctx context.Context, s *Slot, again bool) (*Slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g, err := m.lockGroup(scopeKey{s.ask.Owner, s.ask.Scope})
	if err != nil {
		return nil, err
	}
	w, err := g.enter(time.Now(), s, again)
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if w == nil {
		return s, nil
	}
	select {
	case <-w.ready:
		if w.err != nil {
			return nil, w.err
		}
		return s, nil
	case <-ctx.Done():
		g.leave(w)
		return nil, ctx.Err()
	}
}

// lockGroup returns the group of k, locked. It is made where there is none.
func (m *Memory) lockGroup(k scopeKey) (*group, error) {
	sh := &m.shards[maphash.Comparable(m.seed, k)%shardCount]
	for {
		sh.mu.RLock()
		g := sh.groups[k]
		sh.mu.RUnlock()
		if g == nil {
			var err error
			if g, err = m.makeGroup(sh, k); err != nil {
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

// makeGroup returns the group of k in sh, which it makes if there is none. Groups at rest are forgotten first, each
// time their number has doubled since the last look: what is known of them is what a new one would find out.
func (m *Memory) makeGroup(sh *shard, k scopeKey) (*group, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if g := sh.groups[k]; g != nil {
		return g, nil
	}
	bound := max(1, m.config.Scopes/shardCount)
	if len(sh.groups) >= max(64, sh.sweep) || len(sh.groups) >= bound {
		sh.forget(time.Now())
		sh.sweep = 2 * len(sh.groups)
	}
	if len(sh.groups) >= bound {
		p := problem.New(http.StatusServiceUnavailable, problem.LimiterUnavailable,
			"The gateway is counting as many projects and organizations as it can. Try again later.")
		p.RetryAfter = time.Minute // the length of most windows
		return nil, p
	}
	if sh.groups == nil {
		sh.groups = map[scopeKey]*group{}
	}
	g := &group{memory: m, scope: k.scope, owner: m.owner(k.owner), lanes: map[string]*lane{}}
	switch m.config.Granularity {
	case Auto:
		g.endpoints = map[string]*lane{}
	case PerEndpoint:
		g.split = true
	}
	sh.groups[k] = g
	return g, nil
}

// forget drops the groups at rest. The caller holds sh.mu.
func (sh *shard) forget(now time.Time) {
	for k, g := range sh.groups {
		g.mu.Lock()
		if g.idle(now) {
			g.gone = true
			delete(sh.groups, k)
		}
		g.mu.Unlock()
	}
}

func (m *Memory) owner(name string) *owner {
	if o, ok := m.owners.Load(name); ok {
		return o.(*owner)
	}
	fresh := &owner{}
	fresh.unit.Store(int64(seconds)) // every recorded value is in seconds; a single answer in milliseconds shows
	o, _ := m.owners.LoadOrStore(name, fresh)
	return o.(*owner)
}
