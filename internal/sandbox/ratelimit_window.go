package sandbox

import "time"

// window is one fixed window of one limit. The zero value has not started. All arithmetic takes the time from outside.
type window struct {
	start   time.Time // of its first request
	used    int
	blocked time.Time // refuses everything before this time; zero: not blocked
}

// roll forgets a window that has ended, so that the next request starts a new one.
func (w *window) roll(now time.Time, l limit) {
	if w.blocked.After(now) {
		return
	}
	if !w.blocked.IsZero() || !now.Before(w.start.Add(l.window)) {
		*w = window{}
	}
}

// full reports whether one more request would be too many.
func (w *window) full(now time.Time, l limit) bool {
	return w.blocked.After(now) || w.used >= l.n
}

// spend counts n requests, starting the window if it has not.
func (w *window) spend(now time.Time, n int) {
	if w.start.IsZero() {
		w.start = now
	}
	w.used += n
}

// overshoot notes a request made while the window was full.
func (w *window) overshoot(now time.Time, l limit) {
	w.blocked = now.Add(l.window)
}

// remaining is how many more requests it takes.
func (w *window) remaining(now time.Time, l limit) int {
	if w.blocked.After(now) {
		return 0
	}
	return max(0, l.n-w.used)
}

// reset is how long until it takes requests afresh. A window that has not started would last its whole length.
func (w *window) reset(now time.Time, l limit) time.Duration {
	switch {
	case w.blocked.After(now):
		return w.blocked.Sub(now)
	case w.start.IsZero():
		return l.window
	default:
		return w.start.Add(l.window).Sub(now)
	}
}

// over reports whether the window says nothing any more.
func (w *window) over(now time.Time, l limit) bool {
	return !w.blocked.After(now) && !now.Before(w.start.Add(l.window))
}
