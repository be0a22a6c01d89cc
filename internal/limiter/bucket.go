package limiter

import (
	"time"

	"corp.example/gateway/internal/catalog"
)

// bucket is one window with who has had what of it.
type bucket struct {
	window
	shares
	class     string // limit class
	operation string // operation id; "" while counts are kept per scope
}

func newBuckets(limits []catalog.Limit, class, operation string) []*bucket {
	buckets := make([]*bucket, len(limits))
	for i, l := range limits {
		buckets[i] = &bucket{window: newWindow(l.N, l.Window), class: class, operation: operation}
	}
	return buckets
}

// advance moves the bucket on to the next window when it is time.
func (b *bucket) advance(now time.Time) {
	if b.window.advance(now) {
		b.shares.reset()
	}
}

// begin moves the bucket on to the next window, which an answer proves to have begun.
func (b *bucket) begin(now time.Time, t told) {
	b.window.begin(now, t)
	b.shares.reset()
}

// begun is when the window began, at the earliest.
func (b *bucket) begun(now time.Time) time.Time {
	if !b.open {
		return now
	}
	return b.end.lo.Add(-b.period)
}

// room returns how many requests the team may send now, and when to look again if none.
func (b *bucket) room(now time.Time, s *settings, team string, weight int) (int, time.Time) {
	n, again := b.window.room(now, s.Headroom)
	if n == 0 || b.count == 0 { // whatever is reserved, every window serves somebody
		return n, again
	}
	free := b.free(s.Headroom)
	if len(s.Reserve) > 0 {
		open := free - b.reserved(s.Reserve, team, b.limit, b.others)
		if open <= 0 {
			return 0, b.end.hi
		}
		n = min(n, open)
	}
	if free > b.limit/lateShare || !b.paced(team, weight) {
		return n, time.Time{}
	}
	if kept := keptLate(now, b.begun(now), b.period, b.limit); free <= kept {
		return 0, releasedAt(b.begun(now), b.period, b.limit, free-1)
	}
	return 1, time.Time{}
}

// paced reports whether the team gets the last part of the window only bit by bit. Where outsiders spend the same
// quota nothing is kept back: they would have it before any team that comes late.
func (b *bucket) paced(team string, weight int) bool {
	return b.foreign == 0 && b.satisfied(team, weight, b.limit)
}

// turn estimates when a request of the team with so many ahead of it finds room.
func (b *bucket) turn(now time.Time, s *settings, team string, weight, ahead int) time.Time {
	whole, opens := max(1, b.limit-s.Headroom), b.opens(now)
	free := max(0, b.free(s.Headroom))
	if now.Before(b.blocked) || b.open && !now.Before(b.end.lo) {
		free = 0 // the rest of this window is lost
	}
	switch left := free - ahead; {
	case left > b.limit/lateShare, left > 0 && !b.paced(team, weight):
		return now
	case left > 0:
		return later(now, releasedAt(b.begun(now), b.period, b.limit, left-1))
	}
	return opens.Add(time.Duration((ahead-free)/whole) * b.period)
}
