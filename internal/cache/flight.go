package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

var (
	errAbandoned = errors.New("everybody who waited for the answer has left")
	errNoAnswer  = errors.New("the fetch ended without an answer")
)

// flights are the fetches under way that others may join. Only reads that miss come here.
type flights struct {
	mu    sync.Mutex
	byKey map[Key]*flight
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byKey)
}

// forget takes a flight off, unless another has taken its place; mu is held.
func (f *flights) forget(old *flight) {
	if f.byKey[old.key] == old {
		delete(f.byKey, old.key)
	}
}

// flight is one fetch for all who ask the same.
type flight struct {
	key    Key
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when out stands

	// Guarded by flights.mu.
	waiting  int    // requests that wait for it
	goesOn   bool   // it was sent, or runs in the background: it goes on though nobody waits
	led      bool   // the request that began it still waits: it alone can have the rest of a large body
	finished bool   // out stands
	marks    []mark // where the scopes stood when the read began
	sent     time.Time

	out outcome
}

// outcome is what a fetch came to.
type outcome struct {
	result Result
	err    error
	shared bool   // others than the first may have it (RFC 9111 section 4)
	stale  *Entry // what may stand in for it

	recalled bool // it came out of Redis
}

// begin prepares a flight; flights.mu is held. What it returns does the work.
func (c *Cache) begin(ctx context.Context, r Request, rule Rule, found Result, fn Fetcher) (*flight, func()) {
	r.Key, r.Header = r.Key.owned(), r.Header.Clone() // both outlive the request
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f := &flight{key: r.Key, cancel: cancel, done: make(chan struct{}), marks: c.fence.marks(r.Key, rule.Scopes)}
	f.out.stale = found.Entry
	c.flights.byKey[r.Key] = f
	fill := &Fill{cache: c, flight: f, key: r.Key, scopes: rule.Scopes, stale: found.Entry, marks: f.marks, requested: time.Now()}
	return f, func() { c.fly(ctx, f, fill, r, rule, found, fn) }
}

// fly makes the call and hands its outcome to those who wait.
func (c *Cache) fly(ctx context.Context, f *flight, fill *Fill, r Request, rule Rule, found Result, fn Fetcher) {
	out := outcome{result: found.withoutEntry(), err: errNoAnswer, shared: true, stale: found.Entry}
	defer func() { c.land(f, out) }()
	timer := time.AfterFunc(c.timeout, func() { f.cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	found, lease, recalled := c.recall(ctx, fill, r, found)
	if recalled {
		out.result, out.err, out.recalled = found, nil, true
		return
	}
	if lease != nil {
		defer func() { go lease.finish(out.toKeep()) }() // nobody here waits for Redis
	}
	fill.lease, fill.stale = lease, found.Entry
	out.result, out.stale = found.withoutEntry(), found.Entry
	c.offerStale(f, found.Entry)
	answer, err := c.call(ctx, fill, fn)
	if err != nil {
		out.err = err
		return
	}
	out = c.complete(answer, fill, r, rule, found)
}

// toKeep is the entry that goes into Redis, too: what was stored here.
func (o *outcome) toKeep() *Entry {
	if !o.result.Stored {
		return nil
	}
	return o.result.Entry
}

// offerStale says what may stand in for the fetch, for those whose time is over before it ends.
func (c *Cache) offerStale(f *flight, stale *Entry) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	f.out.stale = stale
}

// land publishes an outcome. The rest of a large body goes to the request that began the fetch, or is closed.
func (c *Cache) land(f *flight, out outcome) {
	rest := out.result.Rest
	if rest != nil {
		out.result.Rest = streaming{rest, f.cancel}
	} else {
		f.cancel(nil)
	}
	c.flights.mu.Lock()
	c.flights.forget(f)
	f.out, f.finished = out, true
	led := f.led
	close(f.done)
	c.flights.mu.Unlock()
	if !led && rest != nil {
		out.result.Rest.Close()
	}
}

// wait waits for a flight to land. When ctx ends first it leaves the flight, which is given up if it was not sent yet and
// nobody else waits: a queue must not fill with calls that nobody wants any more.
func (c *Cache) wait(ctx context.Context, f *flight, leader bool) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
	}
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if f.finished {
		return nil
	}
	if leader {
		f.led = false
	}
	f.waiting--
	if f.waiting == 0 && !f.goesOn {
		f.cancel(errAbandoned)
		c.flights.forget(f)
	}
	return context.Cause(ctx)
}

// call calls fn. It runs on a goroutine that no handler's recovery covers, so a panic becomes an error here.
func (c *Cache) call(ctx context.Context, fill *Fill, fn Fetcher) (answer *Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("the fetch panicked: %v\n%s", p, debug.Stack())
		}
	}()
	answer, err = fn(ctx, fill)
	switch {
	case err != nil && errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return nil, fmt.Errorf("fetching for too long: %w", context.DeadlineExceeded)
	case err == nil && answer == nil:
		return nil, errNoAnswer
	}
	return answer, err
}
