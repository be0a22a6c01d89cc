package limiter

import (
	"slices"
	"time"
)

// The arithmetic of one upstream window. Nothing here reads a clock, takes a lock or waits: every function computes
// what follows from (now, what was known, what happened), so that whatever keeps the state can share it.

const (
	// transit is how long a request may be on its way to upstream's counter. It bounds the start of a window whose
	// first request has not been answered: 10 s is the longest a dial is given.
	transit = 10 * time.Second

	// patience is how long a learning window waits for an answer before it lets one more request go. A refusal comes
	// at once, so a request that is still unanswered after a second has been let in and is merely slow.
	patience = time.Second

	// wary is for how many windows outsiders are expected again after their traces were seen.
	wary = 10
)

// span is a stretch of time that surely contains a moment the gateway cannot see.
type span struct{ lo, hi time.Time }

// place is what a request remembers of the moment it was counted in a window.
type place struct {
	gen    uint64    // which window
	seq    int       // how many had been granted in it, this one included
	flying int       // how many others were on their way, or lost and perhaps still so
	heard  int       // how many answers had told of this very window
	sent   time.Time // when it was granted
}

// window is what is known of one upstream window: a fixed stretch that starts with its first request.
//
// count is never below what upstream has counted of the gateway's own requests plus those still on their way; end
// always contains the true end.
type window struct {
	limit  int           // requests per window, as configured or as upstream said
	period time.Duration // length
	gen    uint64        // which window: rises with every roll
	open   bool          // a request that has or may have opened it is known
	tally
	edges
	flying   int         // sent and not answered, in whichever window
	sent     time.Time   // the last grant
	blocked  time.Time   // upstream said 429: nothing goes before this
	learning bool        // upstream's count is unknown: one at a time
	foreign  int         // for how many more windows outsiders are expected
	speaks   bool        // upstream's answers carry counts
	strays   []time.Time // when each request that was lost lately has surely been counted, if ever; ascending
}

// tally is what has been counted in one window.
type tally struct {
	count   int // an upper bound of what upstream counts in it
	others  int // of these, what outsiders spent
	carried int // of these, sent in an earlier window and perhaps counted there
	granted int // granted in this window
	late    int // answered when the window may have been over: perhaps counted in the next
	heard   int // answers that surely tell of this window
	peak    int // the highest count they told
}

// edges is what is known of a window's place in time.
type edges struct {
	end    span      // its end, when open
	toldLo time.Time // the earliest end that upstream's own words allow
	last   time.Time // the end of the window before, at the latest
	proved bool      // an answer has proved that it began, and by when
}

// newWindow returns a window of which nothing is known yet: it starts by learning, since the quota may be half spent.
func newWindow(limit int, period time.Duration) window {
	return window{limit: limit, period: period, learning: true}
}

// advance moves w on to the next window when this one is surely over, or its block has passed. It reports whether it did.
func (w *window) advance(now time.Time) bool {
	switch {
	case !w.blocked.IsZero():
		if now.Before(w.blocked) {
			return false
		}
		w.blocked = time.Time{}
		w.roll(now)
	case w.open && !now.Before(w.end.hi):
		w.roll(now)
	default:
		return false
	}
	return true
}

// roll starts the next window. What is on its way, or was answered too late to tell, may have been counted in the old
// window or the new one, and so counts in both.
func (w *window) roll(now time.Time) {
	next := span{lo: w.end.lo.Add(w.period), hi: w.end.lo.Add(transit + w.period)}
	carry := 0
	w.strays = after(w.strays, w.end.lo)
	if now.Before(next.hi) { // else the window that such a request may have opened is over, too
		carry = w.flying + w.late + len(w.strays)
	}
	w.gen++
	w.open = carry > 0
	w.tally = tally{count: carry, carried: carry}
	w.edges = edges{end: next, last: w.end.hi}
	if w.foreign > 0 {
		w.foreign--
		w.learning = true
	}
}

// room returns how many requests may be sent now, keeping back headroom, and when to look again if none.
// Call advance first.
func (w *window) room(now time.Time, headroom int) (int, time.Time) {
	if now.Before(w.blocked) {
		return 0, w.blocked
	}
	if w.open && !now.Before(w.end.lo) {
		return 0, w.end.hi // the uncertainty around the end: it would be counted in one of two windows
	}
	n := w.free(headroom)
	if n <= 0 {
		return 0, w.end.hi
	}
	if w.learning {
		if again := w.sent.Add(patience); w.flying > 0 && now.Before(again) {
			return 0, again
		}
		return 1, time.Time{}
	}
	return n, time.Time{}
}

// free returns how many requests the window still takes, keeping back headroom.
func (w *window) free(headroom int) int { return max(1, w.limit-headroom) - w.count }

// opens returns when the next window begins, at the earliest: for estimates and for people.
func (w *window) opens(now time.Time) time.Time {
	switch {
	case now.Before(w.blocked):
		return w.blocked
	case w.open && now.Before(w.end.lo):
		return w.end.lo
	case w.open && now.Before(w.end.hi):
		return w.end.hi
	}
	return now
}

// take counts one request, which is sent now.
func (w *window) take(now time.Time) place {
	switch {
	case !w.open:
		w.open = true
		w.end = span{now.Add(w.period), now.Add(transit + w.period)}
	case !w.proved: // those before may never have arrived, and then this one opens it
		w.end.hi = now.Add(transit + w.period)
	}
	p := place{gen: w.gen, flying: w.flying + w.straying(now), heard: w.heard, sent: now}
	w.count++
	w.granted++
	w.flying++
	w.sent = now
	p.seq = w.granted
	return p
}

// unsend takes back a place whose request was never sent. It reports whether it was a place of this window.
func (w *window) unsend(p place) bool {
	w.flying--
	switch {
	case p.gen == w.gen:
		w.count = max(0, w.count-1)
	case w.carried > 0:
		w.carried--
		w.count = max(0, w.count-1)
	default:
		return false
	}
	w.open = w.count > 0
	return p.gen == w.gen
}

// lose notes that a request will never be answered. Until transit has passed since it was sent it may be counted: in this
// window, in the next, and where windows are short in one after that.
func (w *window) lose(now time.Time, p place) {
	w.flying--
	counted := p.sent.Add(transit)
	left := after(w.strays, earlier(now, w.end.lo))
	w.strays = slices.Insert(left, len(left)-len(after(left, counted)), counted)
}

// straying returns how many lost requests may still be on their way.
func (w *window) straying(now time.Time) int { return len(after(w.strays, now)) }

// after returns those of all, which ascend, that come after than. What is added to them goes to a slice of its own: who only
// looks at a window advances a copy.
func after(all []time.Time, than time.Time) []time.Time {
	first, _ := slices.BinarySearchFunc(all, than, func(t, than time.Time) int {
		if t.After(than) {
			return 1
		}
		return -1
	})
	return slices.Clip(all[first:])
}

// refuse notes a 429: nothing goes before until, and then one at a time. Somebody else must have spent the quota.
func (w *window) refuse(until time.Time) {
	w.flying--
	w.foreign = wary
	if until.After(w.blocked) {
		w.blocked = until
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
