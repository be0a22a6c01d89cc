package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchBytes is when a batch is full and is written without waiting for the flush: enough to make a sync worth its
	// while, little enough that intents behind it wait no more than a millisecond or two longer.
	batchBytes = 1 << 20
	// retryEvery is how often a failed sink is tried again: soon enough that a short fault stays unseen by reads.
	retryEvery = 250 * time.Millisecond
)

var (
	errClosed = errors.New("the audit log is closed")
	errFull   = errors.New("the audit buffer is full")
)

// queue gathers lines in memory and lets its worker write them in batches: while one batch is synced the next gathers,
// and is synced as soon as the last sync ends. No lock is held while the sink works.
type queue struct {
	name     string
	required bool
	bounds   bounds
	log      *slog.Logger
	out      sink
	hang     *time.Timer   // runs hung
	wake     chan struct{} // capacity 1
	stopped  chan struct{} // closed when the worker has ended
	fault    atomic.Pointer[fault]
	count    counters
	rhythm   // the worker's own

	mu sync.Mutex // guards what follows; never held across I/O
	state
}

// bounds are the queue's share of Config.
type bounds struct {
	flush, timeout time.Duration
	bytes, records int64
}

type counters struct {
	records                   atomic.Int64 // in memory, those being written included
	recorded, failed, dropped atomic.Uint64
}

// state is where the queue's lines are.
type state struct {
	next    *batch        // gathers
	full    []*batch      // have gathered batchBytes, oldest first
	taken   *batch        // being written, or waiting to be tried again
	spare   []*batch      // memory of written batches, for new ones
	bytes   int64         // of all lines in memory
	writing time.Time     // when the write under way began; zero: none
	watched bool          // hang is armed
	retry   time.Time     // when a failed batch is tried again
	room    chan struct{} // closed when there may be room; nil while nobody waits
	closing bool
}

// rhythm is what the worker remembers of its last batch.
type rhythm struct {
	expected int64         // callers that waited for it, and those that already wait for the next
	patience time.Duration // how long the next may be held back for all of them
}

// fault is why a sink cannot record, since when, and how many lines had been dropped before.
type fault struct {
	err     error
	since   time.Time
	dropped uint64
}

func newQueue(c Config, name string, required bool, out sink) *queue {
	q := &queue{
		name: name, required: required, log: c.Log.With("sink", name), out: out,
		bounds: bounds{flush: c.Flush, timeout: c.Timeout, bytes: int64(c.BufferBytes), records: int64(c.BufferRecords)},
		wake:   make(chan struct{}, 1), stopped: make(chan struct{}),
		state: state{next: &batch{}},
	}
	q.hang = time.AfterFunc(q.bounds.timeout, q.hung)
	q.hang.Stop()
	go q.work()
	return q
}

func (q *queue) healthy() error {
	if f := q.fault.Load(); f != nil {
		return fmt.Errorf("audit sink %s cannot record: %w", q.name, f.err)
	}
	return nil
}

// crowded reports whether three quarters of the buffer are taken: the rest is for what is already under way.
func (q *queue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes >= q.bounds.bytes/4*3 || q.count.records.Load() >= q.bounds.records/4*3
}

func (q *queue) stats() Stats {
	return Stats{
		Sink: q.name, Required: q.required, Recorded: q.count.recorded.Load(), Failed: q.count.failed.Load(), Dropped: q.count.dropped.Load(),
		Waiting: int(q.count.records.Load()), Err: q.healthy(),
	}
}

// add takes a line on. With a failed sink it refuses intents at once and the rest when the buffer is full; with a sound
// one that is required it waits for room, so that a slow disk slows callers instead of failing them.
func (q *queue) add(ctx context.Context, line body, e entry) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		f := q.fault.Load()
		switch {
		case q.closing:
			q.count.dropped.Add(1)
			return nil, errClosed
		case f != nil && e.opens && q.required:
			q.count.dropped.Add(1)
			return nil, fmt.Errorf("audit sink %s cannot record: %w", q.name, f.err)
		case q.hasRoom(line.len()):
			return q.put(line, e), nil
		case f != nil || !q.required:
			q.count.dropped.Add(1)
			return nil, errFull
		}
		if err := q.awaitRoom(ctx); err != nil {
			q.count.dropped.Add(1)
			return nil, err
		}
	}
}

func (q *queue) hasRoom(n int) bool {
	return q.bytes+int64(n) <= q.bounds.bytes && q.count.records.Load() < q.bounds.records
}

// awaitRoom waits, unlocked, until something was written or the sink failed.
func (q *queue) awaitRoom(ctx context.Context) error {
	if q.room == nil {
		q.room = make(chan struct{})
	}
	room := q.room
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errFull, context.Cause(ctx))
	}
}

func (q *queue) put(line body, e entry) *ticket {
	b := q.next
	if len(b.ends) == 0 {
		b.since = time.Now()
	}
	b.add(line)
	if e.opens || e.closes {
		b.marks = append(b.marks, e)
	}
	b.urgent = b.urgent || e.urgent
	q.bytes += int64(line.len())
	q.count.records.Add(1)
	if e.waits {
		b.waiting++
		if b.ticket == nil {
			b.ticket = &ticket{done: make(chan struct{})}
		}
	}
	ticket := b.ticket
	if b.size >= batchBytes {
		q.full = append(q.full, b)
		q.next = q.fresh()
		q.signal()
	} else if e.urgent || len(b.ends) == 1 {
		q.signal()
	}
	return ticket
}

// fresh returns an empty batch, with the memory of an old one where there is one.
func (q *queue) fresh() *batch {
	n := len(q.spare)
	if n == 0 {
		return &batch{}
	}
	old := q.spare[n-1]
	q.spare = q.spare[:n-1]
	return old.again()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake, or about to be
	}
}

// work is the one goroutine that writes.
func (q *queue) work() {
	defer close(q.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, stop := q.idle(time.Now())
		if stop {
			return
		}
		if wait <= 0 {
			q.gather()
			q.turn()
			continue
		}
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// gather lets the callers whom the last batch has released hand in their next lines, so that these share one sync with
// those that came meanwhile, instead of two groups waiting for each other's: it gives way until all may have come, for a
// part of what a sync takes at most. Whoever was alone waits for nobody.
func (q *queue) gather() {
	const tries = 1000 // a bound on the processor time too, where nobody else has anything to do
	until := time.Now().Add(q.patience)
	for i := 0; i < tries && q.count.records.Load() < q.expected && time.Now().Before(until); i++ {
		runtime.Gosched()
	}
}

// idle returns how long there is nothing to do, and whether the worker is to end.
func (q *queue) idle(now time.Time) (wait time.Duration, stop bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	const forever = time.Hour // a look at the clock now and then costs nothing
	switch b := q.next; {
	case q.closing && q.taken == nil && len(q.full) == 0 && len(b.ends) == 0:
		return 0, true
	case q.closing:
		return 0, false
	case q.taken != nil:
		return q.retry.Sub(now), false
	case b.urgent || len(q.full) > 0:
		return 0, false
	case len(b.ends) > 0:
		return b.since.Add(q.bounds.flush).Sub(now), false
	}
	if due := q.out.due(); !due.IsZero() {
		return min(due.Sub(now), forever), false
	}
	return forever, false
}

// turn writes one batch and settles it. Those who wait are woken when the lock is free, since the first thing they may do is
// to hand in their next line.
func (q *queue) turn() {
	b := q.take()
	began := time.Now()
	lost, err := q.out.write(b)
	q.patience = min(time.Since(began)/3, maxPatience)
	q.settle(b, lost, err).settle(nil)
}

// maxPatience bounds how long the worker spins for lines to share a sync: on a disk whose syncs take longer it gains less.
const maxPatience = 250 * time.Microsecond

// take chooses the batch to write and starts the watchdog.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.taken != nil: // once more
	case len(q.full) > 0:
		q.taken = q.full[0]
		q.full = slices.Delete(q.full, 0, 1)
	default:
		q.taken, q.next = q.next, q.fresh()
	}
	q.writing = time.Now()
	if !q.watched { // once in a while: arming it for each batch would cost a system call
		q.watched = true
		q.hang.Reset(q.bounds.timeout)
	}
	return q.taken
}

// settle notes how the write of a batch ended, and returns the ticket of those who wait for it, if it is recorded.
func (q *queue) settle(b *batch, lost int, err error) *ticket {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = time.Time{}
	if err != nil {
		q.count.failed.Add(1)
		q.retry = time.Now().Add(retryEvery)
		q.fail(err)
		if q.closing { // no second chance
			q.count.dropped.Add(uint64(len(b.ends)))
			q.forget(b)
		}
		return nil
	}
	q.count.recorded.Add(uint64(len(b.ends) - lost))
	q.count.dropped.Add(uint64(lost))
	waiting := b.ticket
	b.ticket = nil
	q.expected = b.waiting + q.next.waiting
	q.forget(b)
	q.recover()
	return waiting
}

// maxSpare is how many written batches keep their memory: the one that gathers and the one that is written take turns.
const maxSpare = 2

// forget gives the room of a batch back and keeps its memory for another one.
func (q *queue) forget(b *batch) {
	q.taken = nil
	q.bytes -= int64(b.size)
	q.count.records.Add(-int64(len(b.ends)))
	if len(q.spare) < maxSpare {
		q.spare = append(q.spare, b)
	}
	q.makeRoom()
}

func (q *queue) makeRoom() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// hung is the watchdog: a write that does not come back counts as a failure, or callers would wait for ever.
func (q *queue) hung() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing.IsZero() {
		q.watched = false
		return
	}
	if left := q.bounds.timeout - time.Since(q.writing); left > 0 { // a later write than the one it was armed for
		q.hang.Reset(left)
		return
	}
	q.watched = false
	q.count.failed.Add(1)
	q.fail(fmt.Errorf("a write has been hanging for %v", q.bounds.timeout))
}

// fail marks the sink as failed and lets go everybody who waits. The lines stay and are written when it recovers.
func (q *queue) fail(err error) {
	if q.fault.Load() == nil {
		q.fault.Store(&fault{err: err, since: time.Now(), dropped: q.count.dropped.Load()})
		q.log.Error("audit sink cannot record", "error", err, "required", q.required)
	}
	if q.taken != nil {
		q.taken.release(err)
	}
	for _, b := range q.full {
		b.release(err)
	}
	q.next.release(err)
	q.makeRoom()
}

// recover marks a failed sink as sound again and says so in the chain itself, with what was lost.
func (q *queue) recover() {
	f := q.fault.Swap(nil)
	if f == nil {
		return
	}
	lost := q.count.dropped.Load() - f.dropped
	q.log.Warn("audit sink records again", "after", time.Since(f.since), "lost", lost)
	q.put(noteBody("recovered", fmt.Sprintf("could not record from %s on: %v; %d lines were refused or lost",
		f.since.UTC().Format(time.RFC3339), f.err, lost)), entry{urgent: true})
}

// noteBody is a line that the log says about itself.
func noteBody(event, detail string) body {
	return body{own: appendRecord(nil, &Record{Time: time.Now(), Phase: Note, ID: newID(), Event: event, Detail: detail})}
}

func (q *queue) close() error {
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return nil
	}
	q.closing = true
	q.makeRoom()
	q.signal()
	q.mu.Unlock()
	select {
	case <-q.stopped:
		err := q.healthy()
		return errors.Join(err, q.out.close())
	case <-time.After(2 * q.bounds.timeout): // one write under way, one for the rest
		return fmt.Errorf("audit sink %s hangs: %d lines are lost", q.name, q.count.records.Load())
	}
}
