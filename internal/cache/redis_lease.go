package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// leasedFor is how long the other replicas wait for one that died while it fetched: less than two seconds, with
	// lookAgainAfter. Its holder extends it three times in that time.
	leasedFor      = 1500 * time.Millisecond
	extendEvery    = 500 * time.Millisecond
	lookAgainAfter = 250 * time.Millisecond
)

// The words of lookScript, and what waiting ends with.
const (
	wordFresh = "fresh"
	wordLead  = "lead"
	wordWait  = "wait"
	wordEnded = "ended"
)

var errOutage = errors.New("redis was not heard of while it was asked")

// lease lets one replica fetch an answer for all. It is used by the goroutine of one fetch.
type lease struct {
	in          *shared
	id          string // the key's
	owner       string
	header      http.Header // by which the answer is selected
	indexes     string
	generations string // where the scopes stood in Redis when the read began
	marks       []mark // where they stood here before that
	stop        context.CancelFunc
}

// hold keeps the lease alive until it is finished.
func (l *lease) hold(ctx context.Context) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		ticker := time.NewTicker(extendEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			command, cancel := l.in.command(ctx)
			_ = extendScript.Run(command, l.in.client, []string{keyGenerations, keyLease + l.id}, l.owner, leasedFor.Milliseconds()).Err()
			cancel() // a lease that is lost costs one more call
		}
	}()
}

// sent notes the generations anew where a write was heard of since they were read: the fetch waited in the queue, and what
// it brings is from after that write.
func (l *lease) sent(marks []mark) {
	if slices.Equal(marks, l.marks) {
		return
	}
	ctx, cancel := l.in.command(context.Background())
	defer cancel()
	generations, err := markScript.Run(ctx, l.in.client, []string{keyGenerations, keyLease + l.id}, l.indexes, l.owner, leasedFor.Milliseconds()).Text()
	if err == nil {
		l.generations, l.marks = generations, marks // otherwise the older ones are right as well, and keep it from being stored
	}
}

// finish stores what the fetch brought, nil where nothing is to be stored, and lets the others go on.
func (l *lease) finish(e *Entry) {
	l.stop()
	var err error
	if e != nil {
		err = l.in.keep(context.Background(), l, e)
	} else {
		err = l.in.release(context.Background(), l)
	}
	if err != nil {
		l.in.tally.failed.Add(1) // fail open: the others fetch for themselves when the lease ends
	}
}

// recall looks for an answer in Redis before upstream is asked, and waits where another replica is asking. It reports
// true where the result is to be served. Otherwise the result holds what is to be validated, and the lease is for the
// fetch; without one the fetch is this replica's alone.
func (c *Cache) recall(ctx context.Context, fill *Fill, r Request, found Result) (Result, *lease, bool) {
	s := c.shared
	if s == nil || found.Status == Requested || !s.usable() {
		return found, nil, false
	}
	l := &lease{in: s, id: r.Key.digest(), owner: s.id + " " + strconv.FormatUint(s.calls.Add(1), 10), header: r.Header}
	wanted := l.owner
	for waited := false; ; waited = true {
		word, result, err := c.recallOnce(ctx, l, fill, r, found, wanted)
		if err != nil {
			if ctx.Err() == nil {
				s.tally.failed.Add(1)
			}
			return found, nil, false
		}
		switch {
		case result.Status == Hit && waited:
			result.Status, result.forward, result.collapsed = Collapsed, found.forward, true
			s.tally.waited.Add(1)
			return result, nil, true
		case result.Status == Hit:
			s.tally.found.Add(1)
			return result, nil, true
		case word == wordEnded:
			wanted = "" // what the other fetched was not to be stored: waiting for the next would gain nothing
		case word == wordLead:
			s.tally.missed.Add(1)
			l.hold(ctx)
			return result, l, false
		case word != wordWait:
			s.tally.missed.Add(1)
			return result, nil, false
		}
	}
}

// Recall looks into Redis for a request with only-if-cached that Get found nothing for in memory: one command, bounded as
// all are, and upstream is not asked. The result is as Get's.
func (c *Cache) Recall(ctx context.Context, r Request, rule Rule) Result {
	missing := unserved(r.Directives, nil, Miss, fwdMiss)
	if c.shared == nil || !c.shared.usable() || r.Directives.NoStore || rule.Secret {
		return missing
	}
	r.Key = r.Key.owned()
	l := &lease{in: c.shared, id: r.Key.digest()}
	_, result, err := c.recallOnce(ctx, l, &Fill{key: r.Key, scopes: rule.Scopes}, r, missing, "")
	if err != nil {
		if ctx.Err() == nil {
			c.shared.tally.failed.Add(1)
		}
		return missing
	}
	if result.Entry != nil { // recognise takes a stale one for a fetch to validate, but there will be none
		result = c.judge(result.Entry, r, time.Now())
	}
	if result.Status.served() {
		c.shared.tally.found.Add(1)
	} else {
		c.shared.tally.missed.Add(1)
	}
	return result.withoutUnserved()
}

// recallOnce looks once, and where another replica is fetching waits until there is a reason to look again.
func (c *Cache) recallOnce(ctx context.Context, l *lease, fill *Fill, r Request, found Result, wanted string) (word string, result Result, err error) {
	s := c.shared
	ended := s.waits.begin(l.id) // before the look, so that the end is not missed
	defer s.waits.leave(l.id, ended)
	raises := c.fence.raises.Load()
	l.marks = c.fence.marks(fill.key, fill.scopes)
	l.indexes = indexesOf(l.marks)
	seen, err := s.look(ctx, l.id, r.Header, l.indexes, wanted)
	switch {
	case err != nil:
		return "", found, err
	case !s.usable():
		return "", found, errOutage // what was seen may be from before it
	}
	l.generations = seen.begun
	result = c.recognise(seen, fill.key, r, found, raises)
	if seen.word != wordWait {
		return seen.word, result, nil
	}
	timer := time.NewTimer(lookAgainAfter)
	defer timer.Stop()
	select {
	case <-ended:
		return wordEnded, result, nil
	case <-timer.C:
		return wordWait, result, nil
	case <-ctx.Done():
		return "", found, ctx.Err()
	}
}

// recognise takes over an entry that Redis had, and says what may be done with it. raises is what the fence had counted
// before the look: where a write was heard of since, the entry may be from before it, and is not kept.
func (c *Cache) recognise(seen sight, key Key, r Request, found Result, raises uint64) Result {
	if len(seen.sealed) == 0 {
		return found
	}
	now := time.Now()
	record, err := c.shared.unseal(seen.variant, seen.sealed)
	if err != nil {
		return found
	}
	e, packable, err := readRecord(record, seen.age, now, c.maxBody)
	counters, ok := countersOf(seen.marked)
	if err != nil || !ok || !selected(e.selectors, r.Header) {
		return found
	}
	kept := kept{in: c, slot: slot{Key: key}, id: c.ids.Add(1), packable: packable}
	for _, index := range counters {
		kept.marks = append(kept.marks, c.fence.mark(index))
	}
	judged := c.judge(e, r, now)
	if judged.Status == Stale {
		judged = unserved(r.Directives, e, Expired, fwdStale) // one that others share must be fresh
	}
	if c.fence.raises.Load() == raises {
		e.kept = kept
		if seen.word == wordFresh {
			c.memory.put(e)
		}
	} else if judged.Status != Hit {
		return found
	}
	if judged.Status == Hit || found.Entry == nil || found.Entry.fresh.age(now) > e.fresh.age(now) {
		return judged
	}
	return found
}

// indexesOf is the list of counters as scripts take it.
func indexesOf(marks []mark) string {
	indexes := make([]uint32, len(marks))
	for i, m := range marks {
		indexes[i] = m.index
	}
	slices.Sort(indexes)
	return joined(slices.Compact(indexes))
}

// waits are fetches of other replicas that somebody here waits for, by key.
type waits struct {
	mu   sync.Mutex
	byID map[string][]chan struct{}
}

func (w *waits) begin(id string) chan struct{} {
	ended := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byID[id] = append(w.byID[id], ended)
	return ended
}

func (w *waits) leave(id string, ended chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := slices.DeleteFunc(w.byID[id], func(one chan struct{}) bool { return one == ended })
	if w.byID[id] = left; len(left) == 0 {
		delete(w.byID, id)
	}
}

// end wakes all who wait for a key.
func (w *waits) end(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ended := range w.byID[id] {
		close(ended)
	}
	delete(w.byID, id)
}
