package limiter

import (
	"context"
	"net/http"
	"time"
)

// Slot is the right to send one request now. Exactly one of Learn, Lost and Unsent must be called when it is known
// what became of the request; further calls do nothing.
type Slot struct {
	ask      Ask
	group    *group
	asked    time.Time // when the caller first asked
	deadline time.Time // when it will not wait any longer
	waited   time.Duration
	taken    []taken
	inline   [4]taken // room for what most calls take, to spare an allocation
	settled  bool     // guarded by group.mu
}

// taken is a place in one bucket.
type taken struct {
	bucket *bucket
	place  place
}

// Waited is how long it took from the first asking until this slot was granted.
func (s *Slot) Waited() time.Duration { return s.waited }

// Learn tells the limiter what upstream answered: it corrects the buckets by X-RateLimit-Limit, -Remaining and -Reset,
// and after a 429 holds them until the time upstream names.
func (s *Slot) Learn(status int, h http.Header) {
	now := time.Now()
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.settled {
		return
	}
	s.settled = true
	if status == http.StatusTooManyRequests {
		g.refused(now, s, readHeaders(h, now))
	} else {
		g.answered(now, s, readHeaders(h, now), status >= 500)
	}
	g.dispatch(now)
}

// Lost tells the limiter that the request was sent, or may have been, and that no answer will come: its place counts
// as spent.
func (s *Slot) Lost() {
	now := time.Now()
	s.settle(now, func(t taken) { t.bucket.lose(now, t.place) })
}

// Unsent gives the place back: the request surely never left.
func (s *Slot) Unsent() {
	s.settle(time.Now(), func(t taken) {
		if t.bucket.unsend(t.place) {
			t.bucket.shares.add(s.ask.Team, s.ask.Weight, -1)
		}
	})
}

func (s *Slot) settle(now time.Time, each func(taken)) {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.settled {
		return
	}
	s.settled = true
	for _, t := range s.taken {
		t.bucket.advance(now)
		each(t)
	}
	g.dispatch(now)
}

// Retry waits for another slot for a request that upstream refused with 429, which Learn has been told. It keeps its
// seniority: the head of its queue, within the wait it was first granted. Errors are those of Acquire.
func (s *Slot) Retry(ctx context.Context) (*Slot, error) {
	next := &Slot{ask: s.ask, asked: s.asked, deadline: s.deadline}
	return s.group.memory.acquire(ctx, next, true)
}
