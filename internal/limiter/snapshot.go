package limiter

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"corp.example/gateway/internal/catalog"
)

// BucketState is what is known of one bucket at one moment.
type BucketState struct {
	Owner     string
	Scope     string
	Class     string        // limit class
	Operation string        // operation id; "" where the whole class in the scope shares one count
	Limit     int           // requests per window
	Period    time.Duration // length of a window
	Remaining int           // requests that may still be sent in this window
	Reset     time.Duration // until the next window begins; zero: none is running
	Held      bool          // upstream answered 429 and nothing goes until Reset
	Outsiders int           // requests of this window that others spent

	// The queue in front of it, the same for all limits of one class.
	Waiting map[string]int  // requests waiting by team; nil: none
	Queue   []Waiting       // of these the first few of each team, those that came first first
	Waits   []time.Duration // the longest wait in each of the last 30 minutes, the present one last; nil: nobody waited
}

// Snapshot returns every bucket the limiter keeps, sorted by owner, scope, class, operation and period.
func (m *Memory) Snapshot() []BucketState {
	now := time.Now()
	var all []BucketState
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.RLock()
		for k, g := range sh.groups {
			g.mu.Lock()
			all = g.appendState(all, now, k)
			g.mu.Unlock()
		}
		sh.mu.RUnlock()
	}
	slices.SortFunc(all, func(a, b BucketState) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Class, b.Class),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Period, b.Period))
	})
	return all
}

func (g *group) appendState(all []BucketState, now time.Time, k scopeKey) []BucketState {
	for _, l := range g.lanes {
		l.advance(now)
		waiting, requests, waits := l.queue.byTeam(), l.queue.requests(now), l.waits.recent(now)
		for _, b := range l.gates {
			s := BucketState{Owner: k.owner, Scope: k.scope, Class: b.class, Operation: b.operation,
				Limit: b.limit, Period: b.period, Held: now.Before(b.blocked), Outsiders: b.others, Waiting: waiting, Queue: requests, Waits: waits}
			s.Remaining, s.Reset = b.left(now, g.memory.config.Headroom)
			all = append(all, s)
		}
	}
	return all
}

// Quota returns what a call of op in this scope can still expect: of all limits it spends, the one with the least
// remaining, and how long until that one's next window begins (zero: none is running).
func (m *Memory) Quota(owner, scope string, op *catalog.Operation) (limit, remaining int, reset time.Duration) {
	now := time.Now()
	k := scopeKey{owner, scope}
	sh := &m.shards[maphash.Comparable(m.seed, k)%shardCount]
	sh.mu.RLock()
	g := sh.groups[k]
	sh.mu.RUnlock()
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if l := g.find(op); l != nil {
			l.advance(now)
			remaining = -1
			for _, b := range l.gates {
				if n, until := b.left(now, m.config.Headroom); remaining < 0 || n < remaining {
					limit, remaining, reset = b.limit, n, until
				}
			}
			return limit, remaining, reset
		}
	}
	remaining = -1
	for _, l := range m.config.limits(op) { // nothing has been sent lately
		if n := max(1, l.N-m.config.Headroom); remaining < 0 || n < remaining {
			limit, remaining = l.N, n
		}
	}
	return limit, remaining, 0
}

// left returns how many more requests the window takes and how long until the next.
func (w *window) left(now time.Time, headroom int) (int, time.Duration) {
	until := max(0, w.opens(now).Sub(now))
	if now.Before(w.blocked) || w.open && !now.Before(w.end.lo) {
		return 0, until
	}
	return max(0, w.free(headroom)), until
}
