package limiter

import (
	"container/heap"
	"math"
	"time"
)

// batchEvery lets one batch request of a team pass for so many interactive ones, so that it is slow but never starves.
const batchEvery = 8

// waiter is one request in a queue.
type waiter struct {
	claim    *claim
	queue    *queue
	line     *line
	next     *waiter
	prev     *waiter
	deadline time.Time
	refused  *refusal // set when it must wait no longer
	index    int      // in queue.expiry; -1: not waiting
	order    uint64   // of arrival
	again    bool     // upstream refused it: it keeps its seniority and has paid its share
}

// list is a queue of waiters that may leave from anywhere.
type list struct {
	head, tail *waiter
	len        int
}

func (l *list) pushBack(w *waiter) {
	w.prev, w.next = l.tail, nil
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	l.len++
}

func (l *list) pushFront(w *waiter) {
	w.prev, w.next = nil, l.head
	if l.head == nil {
		l.tail = w
	} else {
		l.head.prev = w
	}
	l.head = w
	l.len++
}

func (l *list) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.len--
}

// all lists it from its head.
func (l *list) all() []*waiter {
	var all []*waiter
	for w := l.head; w != nil; w = w.next {
		all = append(all, w)
	}
	return all
}

// line is one team's requests in a queue, first come first served within each priority.
type line struct {
	team        string
	weight      int
	start       float64 // virtual time at which its next request begins
	finish      float64 // virtual time at which its last request ended
	interactive list
	batch       list
	streak      int // interactive requests served since the last batch one
}

func (l *line) len() int { return l.interactive.len + l.batch.len }

// head returns the line's next request: interactive before batch, but for every batchEvery-th.
func (l *line) head() *waiter {
	switch {
	case l.interactive.head == nil, l.batch.head != nil && l.streak >= batchEvery && !l.interactive.head.again:
		return l.batch.head
	default:
		return l.interactive.head
	}
}

func (l *line) listOf(w *waiter) *list {
	if w.claim.batch {
		return &l.batch
	}
	return &l.interactive
}

// queue shares a bucket between teams by start-time fair queueing: virtual time runs with the service given, a
// request of weight w lasts 1/w of it, and the request that begins first in virtual time goes first. That is weighted
// max-min for the backlogged; a team that idled begins at the present and has saved up nothing.
type queue struct {
	lines   map[string]*line // teams with requests waiting, and those served since the queue was last empty
	backlog []*line          // of these, the ones with requests waiting
	expiry  expiry           // all waiters, the first to run out of time on top
	virtual float64          // start of the request served last
	orders  uint64
}

func (q *queue) len() int { return len(q.expiry) }

// push puts w into its team's line: at the end, or at the front when upstream refused it.
func (q *queue) push(w *waiter) {
	if q.lines == nil {
		q.lines = map[string]*line{}
	}
	l := q.lines[w.claim.team]
	if l == nil {
		l = &line{team: w.claim.team}
		q.lines[l.team] = l
	}
	l.weight = w.claim.weight
	if l.len() == 0 {
		l.start = math.Max(q.virtual, l.finish)
		q.backlog = append(q.backlog, l)
	}
	q.orders++
	w.queue, w.line, w.order = q, l, q.orders
	if w.again {
		l.listOf(w).pushFront(w)
	} else {
		l.listOf(w).pushBack(w)
	}
	heap.Push(&q.expiry, w)
}

// restore puts back w, read from a snapshot, behind those of its line that were.
func (q *queue) restore(w *waiter, l *line) {
	if l.len() == 0 {
		q.backlog = append(q.backlog, l)
	}
	w.queue, w.line = q, l
	l.listOf(w).pushBack(w)
	heap.Push(&q.expiry, w)
}

// goesBefore reports whether a's next request goes before b's.
func goesBefore(a, b *line) bool {
	x, y := a.head(), b.head()
	switch {
	case x.again != y.again:
		return x.again
	case a.start != b.start && !x.again:
		return a.start < b.start
	}
	return x.order < y.order
}

// serve takes w, the head of its line, out and charges its team.
func (q *queue) serve(w *waiter) {
	l := w.line
	switch {
	case w.again:
	case w.claim.batch:
		l.streak = 0
	default:
		l.streak++
	}
	if !w.again {
		q.virtual = math.Max(q.virtual, l.start)
		l.finish = l.start + 1/float64(l.weight)
		l.start = l.finish
	}
	q.remove(w)
}

// remove takes w out, wherever it stands.
func (q *queue) remove(w *waiter) {
	heap.Remove(&q.expiry, w.index)
	l := w.line
	l.listOf(w).remove(w)
	if l.len() > 0 {
		return
	}
	for i, other := range q.backlog {
		if other == l {
			last := len(q.backlog) - 1
			q.backlog[i], q.backlog[last] = q.backlog[last], nil
			q.backlog = q.backlog[:last]
			break
		}
	}
	if len(q.expiry) == 0 { // the busy time is over: nobody owes or is owed anything
		*q = queue{orders: q.orders}
	}
}

// ahead returns how many requests would be served before a new one of the team, as things stand.
func (q *queue) ahead(team string, weight int, batch bool) int {
	own, start := 0, q.virtual
	if l := q.lines[team]; l != nil {
		own, start = l.interactive.len, math.Max(start, l.finish)
		if batch {
			own += l.batch.len
		}
	}
	return q.before(team, weight, own, start)
}

// position returns how many requests will be served before w, as things stand.
func (q *queue) position(w *waiter) int {
	own := 0
	for p := w.prev; p != nil; p = p.prev {
		own++
	}
	if w.claim.batch {
		own += w.line.interactive.len
	}
	return q.before(w.line.team, w.line.weight, own, w.line.start)
}

// before counts what goes before a request with own others of its team ahead, the first of which begins at start: these,
// and of every other line those that begin no later in virtual time.
func (q *queue) before(team string, weight, own int, start float64) int {
	begins := start + float64(own)/float64(weight)
	n := own
	for _, l := range q.backlog {
		if l.team != team && l.start <= begins {
			n += min(l.len(), int((begins-l.start)*float64(l.weight))+1)
		}
	}
	return n
}

// byTeam returns how many requests of each team wait; nil: none.
func (q *queue) byTeam() map[string]int {
	if len(q.backlog) == 0 {
		return nil
	}
	waiting := make(map[string]int, len(q.backlog))
	for _, l := range q.backlog {
		waiting[l.team] = l.len()
	}
	return waiting
}

// expiry is a heap of waiters by deadline.
type expiry []*waiter

func (e expiry) Len() int { return len(e) }
func (e expiry) Less(i, j int) bool {
	if e[i].deadline.Equal(e[j].deadline) {
		return e[i].order < e[j].order // so that which is on top follows from what is in it
	}
	return e[i].deadline.Before(e[j].deadline)
}
func (e expiry) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}
func (e *expiry) Push(x any) {
	w := x.(*waiter)
	w.index = len(*e)
	*e = append(*e, w)
}
func (e *expiry) Pop() any {
	last := len(*e) - 1
	w := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	w.index = -1
	return w
}
