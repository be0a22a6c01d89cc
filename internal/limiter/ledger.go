package limiter

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// forgetReplica is how long after its last entry a replica's numbering is remembered: far longer than an entry is tried
// again for.
const forgetReplica = 10 * time.Minute

// ledger is a group as all replicas tell it what happens. Its state follows from the entries and the times Redis gave
// them alone, so every replica that has read the same entries has the same state.
type ledger struct {
	*group
	last    time.Time        // of the last entry: time does not run backwards
	wake    time.Time        // when somebody should tell the group that time has passed; zero: nobody waits
	waiters map[id]*waiter   // in the queues
	claims  map[id]*claim    // granted and not settled
	heard   map[string]heard // by replica
	results []result         // since the keeper last took them
}

// heard is what was last heard of a replica.
type heard struct {
	seq uint64
	at  time.Time
}

// result is that a request was granted (refused is nil) or turned away.
type result struct {
	id      id
	at      time.Time
	waited  time.Duration
	refused *refusal
}

// newLedger returns the ledger of a scope that Redis knows nothing of. Nothing is granted before opens. Its settings come
// with the first entry.
func newLedger(scope string, g Granularity, opens time.Time) *ledger {
	l := &ledger{group: newGroup(&settings{Granularity: g}, scope, newOwner()), waiters: map[id]*waiter{}, claims: map[id]*claim{}, heard: map[string]heard{}}
	l.opens = opens
	return l
}

// apply tells the group what e says.
func (l *ledger) apply(at time.Time, e *entry) {
	now := later(at, l.last)
	l.last = now
	if e.seq > l.heard[e.replica].seq {
		l.heard[e.replica] = heard{e.seq, now}
		for i := range e.ops {
			l.do(now, e.replica, &e.ops[i])
		}
	}
	l.wake = l.dispatch(now)
	for _, w := range l.delivered {
		delete(l.waiters, w.claim.id)
		l.result(now, w.claim, w.refused)
	}
	clear(l.delivered)
	l.delivered = l.delivered[:0]
	l.forget(now)
}

func (l *ledger) do(now time.Time, replica string, o *op) {
	who := id{replica, o.n}
	switch o.verb {
	case enter:
		l.enterClaim(now, who, o)
	case adopt:
		if l.claims[who] == nil && l.waiters[who] == nil {
			c := o.claim(now, who)
			l.adopt(now, c)
			l.claims[who] = c
		}
	case settle:
		if c := l.claims[who]; c != nil {
			l.settleClaim(now, c, o.outcome)
		}
	case leave:
		l.leaveClaim(now, who)
	case gone:
		l.bury(now, o.replica)
	case doubt:
		l.doubt()
	case regroup:
		l.doubt()
		l.opens = later(l.opens, now.Add(grace))
	case adjust:
		l.settings = &o.settings
	}
}

// claim is what o asks for.
func (o *op) claim(now time.Time, who id) *claim {
	return &claim{id: who, kind: o.kind, team: o.team, weight: max(1, o.weight), batch: o.batch, again: o.again, asked: now.Add(-o.age), deadline: now.Add(o.left)}
}

func (l *ledger) enterClaim(now time.Time, who id, o *op) {
	if l.claims[who] != nil || l.waiters[who] != nil {
		return // told twice
	}
	c := o.claim(now, who)
	w, refused := l.enter(now, c)
	if w != nil {
		l.waiters[who] = w
		return
	}
	l.result(now, c, refused)
}

func (l *ledger) result(now time.Time, c *claim, refused *refusal) {
	if refused == nil {
		l.claims[c.id] = c
	}
	l.results = append(l.results, result{c.id, now, c.waited, refused})
}

func (l *ledger) settleClaim(now time.Time, c *claim, o outcome) {
	whole := !l.split
	l.settle(now, c, o)
	delete(l.claims, c.id)
	if whole && l.split {
		l.dropOldPlaces()
	}
}

// dropOldPlaces forgets the places in buckets that a split has done away with, as who reads the ledger from a snapshot
// does not know them.
func (l *ledger) dropOldPlaces() {
	for _, c := range l.claims {
		c.taken = slices.DeleteFunc(c.taken, func(t taken) bool { return t.bucket.operation == "" })
	}
}

func (l *ledger) leaveClaim(now time.Time, who id) {
	if w := l.waiters[who]; w != nil {
		l.leave(now, w)
		delete(l.waiters, who)
	} else if c := l.claims[who]; c != nil {
		l.settleClaim(now, c, outcome{what: unsent})
	}
}

// bury gives up the queue places of a replica that is gone. What it may have sent counts as spent.
func (l *ledger) bury(now time.Time, replica string) {
	for _, who := range l.of(replica) {
		if c := l.claims[who]; c != nil {
			l.settleClaim(now, c, outcome{what: lost})
			continue
		}
		l.leaveClaim(now, who)
	}
}

// of lists a replica's requests in the order of their numbers.
func (l *ledger) of(replica string) []id {
	var all []id
	for who := range l.waiters {
		if who.replica == replica {
			all = append(all, who)
		}
	}
	for who := range l.claims {
		if who.replica == replica {
			all = append(all, who)
		}
	}
	slices.SortFunc(all, func(a, b id) int { return cmp.Compare(a.n, b.n) })
	return all
}

// replicas lists those that have requests here.
func (l *ledger) replicas() map[string]bool {
	all := map[string]bool{}
	for who := range l.waiters {
		all[who.replica] = true
	}
	for who := range l.claims {
		all[who.replica] = true
	}
	return all
}

// outlived reports whether by now all that l knows is of windows which are over. Then it is worth nothing, and the requests
// it names are of replicas that may have gone since.
func (l *ledger) outlived(now time.Time) bool {
	longest := time.Duration(0)
	for _, lanes := range []map[string]*lane{l.lanes, l.endpoints} {
		for _, lane := range lanes {
			for _, b := range lane.gates {
				if now.Before(b.blocked) {
					return false
				}
				longest = max(longest, b.period)
			}
		}
	}
	return now.Sub(l.last) > longest
}

// renewed is a ledger that knows of l only what does not pass: how upstream counts.
func (l *ledger) renewed() *ledger {
	n := newLedger(l.scope, l.settings.Granularity, time.Time{})
	n.settings, n.owner = l.settings, l.owner
	if l.split {
		n.split, n.endpoints = true, nil
	}
	return n
}

// forget drops the numbering of replicas that ended long ago.
func (l *ledger) forget(now time.Time) {
	if len(l.heard) <= 8 {
		return
	}
	present := l.replicas()
	maps.DeleteFunc(l.heard, func(replica string, h heard) bool { return now.Sub(h.at) > forgetReplica && !present[replica] })
}
