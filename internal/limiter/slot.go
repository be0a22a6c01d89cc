package limiter

import (
	"context"
	"net/http"
	"time"
)

// Slot is the right to send one request now. Exactly one of Learn, Lost and Unsent must be called when it is known
// what became of the request; further calls do nothing.
type Slot struct {
	claim  // embedded, so that a slot is one allocation
	ask    Ask
	keeper keeper
}

// keeper is where a slot came from: what keeps the buckets in memory, or in Redis.
type keeper interface {
	settleSlot(s *Slot, o outcome)
	retry(ctx context.Context, s *Slot) (*Slot, error)
}

// Waited is how long it took from the first asking until this slot was granted.
func (s *Slot) Waited() time.Duration { return s.waited }

// Learn tells the limiter what upstream answered: it corrects the buckets by X-RateLimit-Limit, -Remaining and -Reset,
// and after a 429 holds them until the time upstream names.
func (s *Slot) Learn(status int, h http.Header) {
	o := outcome{headers: readHeaders(h, time.Now()), vague: status >= 500}
	if status == http.StatusTooManyRequests {
		o.what = limited
	}
	s.keeper.settleSlot(s, o)
}

// Lost tells the limiter that the request was sent, or may have been, and that no answer will come: its place counts
// as spent.
func (s *Slot) Lost() { s.keeper.settleSlot(s, outcome{what: lost}) }

// Unsent gives the place back: the request surely never left.
func (s *Slot) Unsent() { s.keeper.settleSlot(s, outcome{what: unsent}) }

// Retry waits for another slot for a request that upstream refused with 429, which Learn has been told. It keeps its
// seniority: the head of its queue, within the wait it was first granted. Errors are those of Acquire.
func (s *Slot) Retry(ctx context.Context) (*Slot, error) { return s.keeper.retry(ctx, s) }

// again is the slot that is asked for after a refusal by upstream.
func (s *Slot) again() *Slot {
	return &Slot{ask: s.ask, claim: claim{kind: s.kind, team: s.team, weight: s.weight, batch: s.batch, again: true, asked: s.asked, deadline: s.deadline}}
}
