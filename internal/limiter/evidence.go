package limiter

import "time"

// What upstream's answers prove about a window. Like the rest of the arithmetic this only computes.

// told is what one upstream answer says about the window that counted it.
type told struct {
	counted bool // limit and used are known
	limit   int  // requests per window
	used    int  // requests upstream had counted in the window, this one included
	dated   bool // end is known
	end     span // when the window ends
	seen    bool // upstream's counter surely saw the request
	vague   bool // an error of something in front of upstream's counter, perhaps never counted
}

// verdict says what an answer means for the window it was granted in.
type verdict uint8

const (
	learnt verdict = iota // the window knows more, or nothing could be learnt
	turned                // the next window has begun: call begin
	apart                 // it contradicts what earlier answers of the same window proved
)

// answer learns from the answer to the request at p. The verdict apart means that nothing was learnt: upstream keeps
// another count for this call, or its window ended before it could. Call advance first.
func (w *window) answer(now time.Time, p place, t told) verdict {
	w.flying--
	w.speaks = w.speaks || t.seen
	if p.gen != w.gen {
		if w.open && !now.Before(w.end.lo) && !(t.dated && t.end.hi.Before(w.end.lo.Add(w.period))) {
			w.late++ // it may have taken so long that it was counted in the next window
			return learnt
		}
		w.hearCarried(now, t)
		return learnt
	}
	if w.proves(t) {
		w.learning = false
	}
	if w.open && !now.Before(w.end.lo) {
		switch {
		case t.dated && t.end.hi.Before(w.end.lo.Add(w.period)): // too early to be the next window's end: counted here
		case t.dated && t.end.lo.After(w.end.hi):
			return turned
		default:
			w.late++
			return learnt
		}
	}
	if t.counted && t.dated && t.used <= p.heard {
		return apart
	}
	w.recount(p, t)
	w.sharpen(now, t)
	return learnt
}

// proves reports whether an answer proves that upstream counted the request: it says so, or upstream never says
// anything and this is no error of something in front of it.
func (w *window) proves(t told) bool { return t.seen || !w.speaks && !t.vague }

// begin rolls into the window that an answer proves to have begun already.
func (w *window) begin(now time.Time, t told) {
	w.roll(now)
	w.open, w.end, w.toldLo = true, t.end, t.end.lo
	w.count = max(w.count+1, t.used+w.flying)
	w.carried = w.flying
	w.heard, w.peak, w.proved = 1, t.used, true
}

// recount corrects the count by upstream's own. The truth lies between what the answer tells and that plus all of
// ours which upstream may not yet have seen when it told.
func (w *window) recount(p place, t told) {
	if !t.counted {
		return
	}
	w.heard++
	w.limit = t.limit
	if t.used > w.count {
		w.others += t.used - w.count
		w.count = t.used
		w.foreign = wary
		// An outsider may have opened the window before our first request: only upstream's word tells its end.
		if t.dated {
			w.end.lo = later(w.toldLo, t.end.lo)
		}
	}
	if t.used < w.peak {
		return // an older count: it knows nothing of what outsiders did since
	}
	w.peak = t.used
	if most := t.used + p.flying + w.granted - p.seq; most < w.count {
		w.others = max(0, w.others-(w.count-most))
		w.count = most
	}
}

// sharpen narrows the end of the window by an answer of it: the window had begun when the answer came, and upstream
// may have named its end. Where the two contradict each other, upstream is right.
func (w *window) sharpen(now time.Time, t told) {
	if w.proves(t) {
		w.proved = true
		w.end.hi = earlier(w.end.hi, now.Add(w.period))
	}
	if !t.dated {
		return
	}
	w.toldLo = later(w.toldLo, t.end.lo)
	met := span{later(w.end.lo, t.end.lo), earlier(w.end.hi, t.end.hi)}
	if met.hi.Before(met.lo) {
		met, w.toldLo = t.end, t.end.lo
	}
	w.end = met
}

// hearCarried learns from an answer to a request of an earlier window. It never raises the count but where the answer
// proves to be of this window.
func (w *window) hearCarried(now time.Time, t told) {
	if w.carried == 0 {
		return
	}
	switch {
	case t.dated && t.end.hi.Before(w.end.lo): // counted in an earlier window
		w.carried--
		w.count--
		w.open = w.count > 0
	case t.dated && t.end.lo.After(w.last): // counted in this one
		w.carried--
		if t.counted && t.used > w.count {
			w.others += t.used - w.count
			w.count = t.used
			w.foreign = wary
		}
		w.sharpen(now, t)
	case !t.dated && w.granted == 0 && w.flying == 0: // if any carried over opened this window, it did so before now
		w.end.hi = earlier(w.end.hi, now.Add(w.period))
	}
}
