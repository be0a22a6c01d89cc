package limiter

import (
	"cmp"
	"slices"
	"time"
)

const (
	// waitMinutes is how far back waits are remembered: long enough to see a burst that is over.
	waitMinutes = 30
	// waitNoted is the shortest wait worth a note; below it a request went at once.
	waitNoted = time.Millisecond
	// maxWaitingShown bounds how many waiting requests of one team a snapshot names, the first in line first.
	maxWaitingShown = 20
)

// waits is the longest wait of the requests that were served in each of the last minutes.
type waits struct {
	minute  int64 // since 1970, of the last entry
	longest [waitMinutes]time.Duration
}

// note takes in the wait of a request that is served now.
func (w *waits) note(now time.Time, waited time.Duration) {
	w.advance(now)
	last := &w.longest[waitMinutes-1]
	*last = max(*last, waited)
}

// advance moves on to the present minute.
func (w *waits) advance(now time.Time) {
	minute := now.Unix() / 60
	passed := int(min(max(0, minute-w.minute), waitMinutes))
	copy(w.longest[:], w.longest[passed:])
	clear(w.longest[waitMinutes-passed:])
	w.minute = max(w.minute, minute)
}

// recent returns what is remembered, the oldest minute first and the present one last; nil: nobody waited.
func (w *waits) recent(now time.Time) []time.Duration {
	if w == nil {
		return nil
	}
	present := *w // looking changes nothing
	present.advance(now)
	if slices.Max(present.longest[:]) == 0 {
		return nil
	}
	return present.longest[:]
}

// noteWait remembers how long a request of the lane waited.
func (l *lane) noteWait(now time.Time, waited time.Duration) {
	if waited < waitNoted {
		return
	}
	if l.waits == nil {
		l.waits = &waits{}
	}
	l.waits.note(now, waited)
}

// Waiting is one request in a queue.
type Waiting struct {
	Team      string
	Operation string
	Since     time.Duration // how long it has waited
	Batch     bool          // it lets interactive ones go first
}

// requests names the waiting requests, those that came first first.
func (q *queue) requests(now time.Time) []Waiting {
	var all []Waiting
	for _, l := range q.backlog {
		left := maxWaitingShown
		for _, head := range []*waiter{l.interactive.head, l.batch.head} {
			for w := head; w != nil && left > 0; w, left = w.next, left-1 {
				c := w.claim
				all = append(all, Waiting{Team: c.team, Operation: c.kind.operation, Since: now.Sub(c.asked), Batch: c.batch})
			}
		}
	}
	slices.SortFunc(all, func(a, b Waiting) int { return cmp.Compare(b.Since, a.Since) })
	return all
}
