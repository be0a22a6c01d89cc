package cache

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Fill is one fetch as its Fetcher sees it. It is used by the Fetcher's goroutine alone.
type Fill struct {
	cache     *Cache
	flight    *flight // nil where nobody may join
	lease     *lease  // nil where no other replica waits for it, and nothing is put into Redis
	key       Key
	scopes    []string
	stale     *Entry
	marks     []mark
	requested time.Time
}

// Validate adds the conditions to an outgoing header by which upstream can answer 304: those of the stored answer, if
// there is one. The client's own conditions must not be forwarded beside them.
func (f *Fill) Validate(h http.Header) {
	if f.stale == nil {
		return
	}
	if f.stale.etag != "" {
		h.Set("If-None-Match", f.stale.etag)
	}
	if modified := f.stale.Header("Last-Modified"); modified != "" {
		h.Set("If-Modified-Since", modified)
	}
}

// Sent says that the request is about to be sent: the answer's age and the writes it may have missed count from here,
// and the fetch goes on though everybody leaves. It reports false where everybody has left already: then do not send.
// Call it again before each further attempt.
func (f *Fill) Sent() bool {
	marks := f.cache.fence.marks(f.key, f.scopes)
	f.marks, f.requested = marks, time.Now()
	if f.lease != nil {
		f.lease.sent(marks)
	}
	if f.flight == nil {
		return true
	}
	flights := &f.cache.flights
	flights.mu.Lock()
	defer flights.mu.Unlock()
	if f.flight.waiting == 0 && !f.flight.goesOn {
		return false
	}
	f.flight.goesOn, f.flight.sent = true, f.requested
	f.flight.marks = marks
	return true
}

// complete makes an entry of upstream's answer and stores it where that is allowed.
func (c *Cache) complete(a *Answer, fill *Fill, r Request, rule Rule, found Result) outcome {
	result := found.withoutEntry()
	result.upstream = a.Status
	validated := a.Status == http.StatusNotModified && fill.stale != nil
	if validated {
		a = fill.stale.freshened(a)
		result.Status = Revalidated
	}
	received := time.Now()
	fresh, reason := c.assess(a, exchange{fill.requested, received}, rule)
	selectors, selectable := c.selectors(a.Header, r.Header)
	switch {
	case reason != "":
	case !selectable:
		reason = detailVary
	case r.Directives.NoStore:
		reason = detailRequest
	case !c.fence.holds(fill.marks):
		reason = detailFenced
	}
	e := newEntry(a, selectors, received)
	e.fresh = fresh
	result.Entry, result.Rest, result.detail = e, a.Rest, reason
	if reason == "" {
		result.Stored = true
		if validated {
			e.inherit(fill.stale)
		}
		c.store(e, a, fill)
	} else if fill.stale != nil && supersedes(a.Status, reason) {
		c.memory.drop(fill.stale)
	}
	return outcome{result: result, shared: shareable(reason), stale: found.Entry}
}

// store keeps an entry. A write that comes between the check in complete and here does no harm: the entry's marks are
// older than it, so that no look-up takes it.
func (c *Cache) store(e *Entry, a *Answer, fill *Fill) {
	e.kept = kept{in: c, slot: slot{Key: fill.key}, marks: fill.marks, id: c.ids.Add(1)}
	if e.plain.etag == nil && e.status == http.StatusOK {
		e.plain.etag = []string{ETag(e.plain.body)}
	}
	if packable(e, parseControl(a.Header)) {
		e.kept.packable = true
		e.varies()
	}
	c.memory.put(e)
}

// inherit takes over the gzip form of the entry that was validated: the body is the same.
func (e *Entry) inherit(validated *Entry) {
	switch packed := validated.packed.Load(); packed {
	case nil:
	case &validated.plain:
		e.packed.Store(&e.plain)
	default:
		e.packed.Store(packed)
	}
}

// supersedes tells whether an answer that is not stored shows the stored one to be past: it does unless it speaks of the
// gateway's credential or quota, of a failure, or of a state that a write has changed since.
func supersedes(status int, reason string) bool {
	switch {
	case reason == detailFenced, status >= 500:
		return false
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusTooManyRequests:
		return false
	}
	return true
}

// shareable tells whether those who waited for an answer may have it though it is not stored for the reason given. What
// upstream forbids to share is not shared in flight either (RFC 9111 section 4).
func shareable(reason string) bool {
	switch reason {
	case detailNoStore, detailPrivate, detailSetCookie, detailVary, detailTooLarge, detailSecret, detailRequest:
		return false
	}
	return true
}

// streaming is the rest of a large body. Closing it ends the fetch it comes from.
type streaming struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (s streaming) Close() error {
	err := s.ReadCloser.Close()
	s.cancel(nil)
	return err
}
