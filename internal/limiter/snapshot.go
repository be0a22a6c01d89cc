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

// Snapshot implements Limiter.
func (m *Memory) Snapshot() []BucketState {
	now := time.Now()
	var all []BucketState
	m.each(func(k scopeKey, g *group) { all = g.appendState(all, now, k.owner) })
	sortStates(all)
	return all
}

// Waiting implements Limiter.
func (m *Memory) Waiting() map[string]int {
	waiting := map[string]int{}
	m.each(func(_ scopeKey, g *group) {
		for _, l := range g.lanes {
			if n := l.queue.len(); n > 0 {
				waiting[l.gates[0].class] += n
			}
		}
	})
	return waiting
}

// each calls do with every group, locked.
func (m *Memory) each(do func(scopeKey, *group)) {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.RLock()
		for k, g := range sh.sites {
			g.mu.Lock()
			do(k, g.group)
			g.mu.Unlock()
		}
		sh.mu.RUnlock()
	}
}

func sortStates(all []BucketState) {
	slices.SortFunc(all, func(a, b BucketState) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Class, b.Class),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Period, b.Period))
	})
}

// appendState adds the state of g's buckets. Looking changes nothing.
func (g *group) appendState(all []BucketState, now time.Time, owner string) []BucketState {
	for _, l := range g.lanes {
		waiting, requests, waits := l.queue.byTeam(), l.queue.requests(now), l.waits.recent(now)
		for _, b := range l.gates {
			w := b.window
			w.advance(now)
			s := BucketState{Owner: owner, Scope: g.scope, Class: b.class, Operation: b.operation,
				Limit: w.limit, Period: w.period, Held: now.Before(w.blocked), Outsiders: w.others, Waiting: waiting, Queue: requests, Waits: waits}
			s.Remaining, s.Reset = w.left(now, g.settings.Headroom)
			all = append(all, s)
		}
	}
	return all
}

// Quota implements Limiter.
func (m *Memory) Quota(owner, scope string, op *catalog.Operation) (limit, remaining int, reset time.Duration) {
	k := scopeKey{owner, scope}
	sh := &m.shards[maphash.Comparable(m.seed, k)%shardCount]
	sh.mu.RLock()
	g := sh.sites[k]
	sh.mu.RUnlock()
	call := m.config.kind(op)
	if g == nil {
		return call.quota(m.config.Headroom)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.quota(time.Now(), &call)
}

// quota returns what a call of k can still expect.
func (g *group) quota(now time.Time, k *kind) (limit, remaining int, reset time.Duration) {
	l := g.find(k)
	if l == nil {
		return k.quota(g.settings.Headroom)
	}
	remaining = -1
	for _, b := range l.gates {
		w := b.window
		w.advance(now)
		if n, until := w.left(now, g.settings.Headroom); remaining < 0 || n < remaining {
			limit, remaining, reset = w.limit, n, until
		}
	}
	return limit, remaining, reset
}

// quota returns what a call of k can expect where nothing has been sent lately.
func (k *kind) quota(headroom int) (limit, remaining int, reset time.Duration) {
	remaining = -1
	for _, l := range k.limits {
		if n := max(1, l.N-headroom); remaining < 0 || n < remaining {
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
