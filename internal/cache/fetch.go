package cache

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Fetcher asks upstream: it waits in the queue, sends, and takes the whole answer in (see Cache.Read). It runs for all
// who wait for the same answer: ctx is none of theirs, and it must not carry one caller's own patience. It calls
// Fill.Validate on the header it sends, and Fill.Sent at the last moment before it sends.
type Fetcher func(ctx context.Context, fill *Fill) (*Answer, error)

// Fetch gets the answer from upstream for a request that Get did not serve. Identical requests share one call of fn,
// which goes on when the first of them leaves, with its own time-out; when all have left before it was sent, its ctx is
// cancelled. Nobody joins a fetch that began before a write to one of its scopes. Errors of fn go to everyone who waits,
// and a request whose ctx ends gets the cause of that, unless a stale answer may stand in (RFC 5861).
//
// The result says how it went even where err is not nil.
func (c *Cache) Fetch(ctx context.Context, r Request, rule Rule, fn Fetcher) (Result, error) {
	if r.Directives.NoStore || rule.Secret {
		forward := fwdBypass
		if r.Directives.NoStore {
			forward = fwdRequest
		}
		return c.fetchAlone(ctx, r, rule, unserved(r.Directives, nil, Bypass, forward), fn)
	}
	arrived := time.Now()
	c.flights.mu.Lock()
	for f := c.joinable(r); f != nil; f = c.joinable(r) {
		f.waiting++
		useful := c.trusted() || !f.sent.Before(arrived) || f.sent.IsZero()
		c.flights.mu.Unlock()
		if useful {
			return c.follow(ctx, f, r, rule, fn)
		}
		// Another replica's write that is not heard of may have come after this fetch was sent. All who wait here share
		// the next.
		if err := c.wait(ctx, f, false); err != nil {
			return c.gone(r, Result{Status: Miss, forward: fwdMiss}, f, err)
		}
		c.flights.mu.Lock()
	}
	// A fetch may have ended since Get looked. Looked up under the lock, exactly one request begins the next.
	found := c.find(r, time.Now())
	if found.Status.served() || found.Status == NotCached {
		c.flights.mu.Unlock()
		return found.withoutUnserved(), nil
	}
	f, run := c.begin(ctx, r, rule, found, fn)
	f.waiting, f.led = 1, true
	c.flights.mu.Unlock()
	go run()
	if err := c.wait(ctx, f, true); err != nil {
		return c.gone(r, found, f, err)
	}
	out := f.out
	if out.result.Rest != nil {
		// What streams is this request's alone by now, and ends with it.
		context.AfterFunc(ctx, func() { f.cancel(context.Cause(ctx)) })
	}
	return c.settle(r, out)
}

// joinable is the fetch under way that a request may wait for; flights.mu is held.
func (c *Cache) joinable(r Request) *flight {
	f := c.flights.byKey[r.Key]
	if f == nil || !c.fence.holds(f.marks) || r.Directives.OnlyIfCached {
		return nil
	}
	return f
}

// Refresh fetches in the background what Get served stale (RFC 5861 section 3), unless that is under way already.
func (c *Cache) Refresh(ctx context.Context, r Request, rule Rule, fn Fetcher) {
	r.Directives = Directives{}
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if c.joinable(r) != nil {
		return
	}
	found := c.find(r, time.Now())
	if found.Status == Hit {
		return
	}
	f, run := c.begin(ctx, r, rule, found, fn)
	f.goesOn = true
	go run()
}

// follow waits for a flight that another request began. What is not to be shared, or was selected by other headers, is
// fetched for this request alone.
func (c *Cache) follow(ctx context.Context, f *flight, r Request, rule Rule, fn Fetcher) (Result, error) {
	if err := c.wait(ctx, f, false); err != nil {
		return c.gone(r, Result{Status: Collapsed, forward: fwdMiss, collapsed: true}, f, err)
	}
	out := f.out
	if !out.shared || out.result.Entry != nil && !selected(out.result.Entry.selectors, r.Header) {
		return c.fetchAlone(ctx, r, rule, c.find(r, time.Now()), fn)
	}
	if out.recalled {
		if c.judge(out.result.Entry, r, time.Now()).Status != Hit {
			return c.Fetch(ctx, r, rule, fn) // others may have what Redis had, but this request asks for a newer one
		}
		return out.result, nil
	}
	out.result.Rest = nil
	out.result.collapsed = true
	out.result.Status = Collapsed
	return c.settle(r, out)
}

// fetchAlone calls fn for one request, on its goroutine and within its ctx.
func (c *Cache) fetchAlone(ctx context.Context, r Request, rule Rule, found Result, fn Fetcher) (Result, error) {
	if found.Status.served() || found.Status == NotCached {
		return found.withoutUnserved(), nil
	}
	r.Key = r.Key.owned()
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.timeout, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	fill := &Fill{cache: c, key: r.Key, scopes: rule.Scopes, stale: found.Entry, marks: c.fence.marks(r.Key, rule.Scopes), requested: time.Now()}
	answer, err := c.call(ctx, fill, fn)
	if err != nil {
		cancel(nil)
		return c.settle(r, outcome{result: found.withoutEntry(), err: err, stale: found.Entry})
	}
	out := c.complete(answer, fill, r, rule, found)
	if out.result.Rest == nil {
		cancel(nil)
	} else {
		out.result.Rest = streaming{out.result.Rest, cancel}
	}
	out.stale = found.Entry
	return c.settle(r, out)
}

// settle makes one request's result of an outcome: a failure is covered by the stale answer where that is allowed.
func (c *Cache) settle(r Request, out outcome) (Result, error) {
	if out.err == nil && !failing(out.result.upstream) {
		return out.result, nil
	}
	if stale, ok := c.standIn(r, out.stale); ok {
		if out.result.Rest != nil {
			out.result.Rest.Close()
		}
		stale.upstream, stale.collapsed = out.result.upstream, out.result.collapsed
		return stale, nil
	}
	return out.result, out.err
}

// gone is the result of a request whose ctx ended while it waited: the stale answer, where its time ran out.
func (c *Cache) gone(r Request, found Result, f *flight, err error) (Result, error) {
	if errors.Is(err, context.DeadlineExceeded) {
		c.flights.mu.Lock()
		stale := f.out.stale
		c.flights.mu.Unlock()
		if result, ok := c.standIn(r, stale); ok {
			return result, nil
		}
	}
	return found.withoutEntry(), err
}

// StandIn is Fetch's result for a request that Get did not serve and that it is hopeless to send, for the reason given.
func (c *Cache) StandIn(r Request, reason error) (Result, error) {
	found := c.find(r, time.Now())
	return c.settle(r, outcome{result: found.withoutEntry(), err: reason, stale: found.Entry})
}

// standIn is the result with a stale entry in place of a failed fetch (RFC 5861 section 4).
func (c *Cache) standIn(r Request, stale *Entry) (Result, bool) {
	if stale == nil || !c.trusted() || !c.fence.holds(stale.kept.marks) || !selected(stale.selectors, r.Header) ||
		!stale.fresh.standsIn(r.Directives, time.Now()) {
		return Result{}, false
	}
	return Result{Entry: stale, Status: Stale, detail: detailIfError}, true
}

// failing are the statuses that count as an error in stale-if-error (RFC 5861 section 4), and 429: out of quota.
func failing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
