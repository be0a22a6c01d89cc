package limiter

import (
	"testing"
	"time"
)

// epoch is the beginning of every test's time; at is so many seconds later.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// known returns a window of 10 a minute whose first request was sent at 0 and answered, with no headers, at 0.2.
func known(more int) (*window, []place) {
	w := newWindow(10, time.Minute)
	places := []place{w.take(at(0))}
	w.answer(at(0.2), places[0], told{})
	for range more {
		places = append(places, w.take(at(1)))
	}
	return &w, places
}

// counts is an answer that tells upstream's count.
func counts(used int) told { return told{counted: true, seen: true, limit: 10, used: used} }

// ends is such an answer that also tells the end of the window, in seconds give or take one.
func ends(used int, end float64) told {
	t := counts(used)
	t.dated, t.end = true, span{at(end - 1), at(end + 1)}
	return t
}

func wantRoom(t *testing.T, w *window, now time.Time, want int) {
	t.Helper()
	w.advance(now)
	if got, again := w.room(now, 0); got != want {
		t.Errorf("at %s: room for %d until %s, want %d", now.Sub(epoch), got, again.Sub(epoch), want)
	}
}

// The window ends between a minute after its first request was sent and a minute after that was answered.
func TestNothingIsSentIntoTheUncertaintyAroundTheEnd(t *testing.T) {
	w, _ := known(0)
	wantRoom(t, w, at(0.3), 9)
	wantRoom(t, w, at(59.9), 9)
	wantRoom(t, w, at(60), 0)
	wantRoom(t, w, at(60.1), 0)
	wantRoom(t, w, at(60.2), 10)
}

func TestTheUncertaintyShrinksWithAnswers(t *testing.T) {
	w, places := known(1)
	answer := counts(2)
	answer.dated, answer.end = true, span{at(60.05), at(60.1)}
	w.answer(at(1.1), places[1], answer)
	wantRoom(t, w, at(60.04), 8)
	wantRoom(t, w, at(60.06), 0)
	wantRoom(t, w, at(60.1), 10)
}

func TestARequestThatMayStraddleTheEndCountsInBoth(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer *told
		at     float64
		room   int // in the second window, at 61
	}{
		{"not answered yet", nil, 0, 9},
		{"answered before the end", &told{}, 59.9, 10},
		{"answered in the uncertainty", &told{}, 60.1, 9},
		{"answered in the uncertainty, proved to be of the first", new(ends(2, 60)), 60.1, 10},
		{"answered later", &told{}, 60.5, 9},
		{"answered later, proved to be of the first", new(ends(2, 60)), 60.5, 10},
		{"answered later, proved to be of the second", new(ends(1, 120)), 60.5, 9},
		{"answered later, and outsiders were in the second, too", new(ends(4, 120)), 60.5, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, _ := known(0)
			p := w.take(at(59.8))
			if test.answer != nil {
				now := at(test.at)
				w.advance(now)
				w.answer(now, p, *test.answer)
			}
			w.learning = false
			wantRoom(t, w, at(61), test.room)
		})
	}
}

// An answer proves that the next window has begun although nobody could know.
func TestAWindowThatBeganEarly(t *testing.T) {
	w, places := known(2)
	bucket := bucket{window: *w}
	if v := bucket.answer(at(60.1), places[1], ends(1, 120)); v != turned {
		t.Fatalf("verdict %v, want turned", v)
	}
	bucket.begin(at(60.1), ends(1, 120))
	wantRoom(t, &bucket.window, at(60.3), 10-1-1) // itself, and the one still on its way
}

func TestCountIsCorrected(t *testing.T) {
	for _, test := range []struct {
		name string
		used []int // by the answers to the second, third, … request, in this order
		room int   // of 10, after 5 requests
	}{
		{"as expected", []int{2, 3, 4, 5}, 5},
		{"out of order", []int{5, 2, 4, 3}, 5},
		{"outsiders", []int{2, 5, 6, 8}, 2},
		{"outsiders, out of order", []int{8, 2, 5, 6}, 2},
		{"no headers", []int{0, 0, 0, 0}, 5},
		{"everything spent", []int{10}, 0},
		{"more than everything", []int{12}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, places := known(4)
			for i, used := range test.used {
				answer := told{}
				if used > 0 {
					answer = counts(used)
				}
				w.answer(at(1.5), places[1+i], answer)
			}
			w.learning = false
			wantRoom(t, w, at(2), test.room)
		})
	}
}

// What was lost and what upstream counts elsewhere is not held against the window once its own count shows.
func TestCountIsLowered(t *testing.T) {
	w, places := known(3)
	for _, p := range places[1:] {
		w.lose(at(1.5), p)
	}
	wantRoom(t, w, at(2), 6)
	p := w.take(at(2))
	w.answer(at(2.1), p, counts(2)) // the first, and this
	wantRoom(t, w, at(3), 5)        // the lost ones may still arrive
	p = w.take(at(11))
	w.answer(at(11.1), p, counts(3)) // they never did
	wantRoom(t, w, at(12), 7)
}

// A lost request is held against every window in which it may still be counted, and against none after that.
func TestALostRequestStraysThroughShortWindows(t *testing.T) {
	short := func() (*window, place) {
		w := newWindow(10, 3*time.Second)
		p := w.take(at(0))
		w.answer(at(0), p, told{})
		return &w, w.take(at(0))
	}
	for name, lost := range map[string]float64{"in its own window": 1, "in the next one": 4, "in the one after that": 7} {
		t.Run(name, func(t *testing.T) {
			w, p := short()
			for now := 0.5; now < 22; now += 0.5 {
				if now == lost {
					w.lose(at(now), p)
				}
				w.advance(at(now))
				if free := w.free(0); now < 10 && free > 9 {
					t.Fatalf("after %gs all of the window is free: the request may arrive until 10s after it was sent", now)
				}
			}
			wantRoom(t, w, at(22), 10)
		})
	}
}

// An answer that came late in a window after the one that granted it may have been counted in the one that follows.
func TestALateAnswerToACarriedRequest(t *testing.T) {
	w := newWindow(10, 3*time.Second)
	p := w.take(at(0))
	w.answer(at(0), p, told{})
	carried := w.take(at(0))
	w.advance(at(3))
	first := w.take(at(3))
	w.answer(at(3.1), first, told{})
	w.answer(at(6.05), carried, told{}) // the window ends between 6 and 6.1
	wantRoom(t, &w, at(6.1), 9)
}

// The answer to a request of an earlier window says nothing of this one.
func TestAnswersOfAnEarlierWindow(t *testing.T) {
	w, _ := known(0)
	old := w.take(at(50))
	wantRoom(t, w, at(61), 9) // it may be counted here
	for range 3 {
		w.take(at(61))
	}
	w.advance(at(62))
	w.answer(at(62), old, ends(9, 60))
	wantRoom(t, w, at(62), 7)
	if w.others != 0 {
		t.Errorf("%d requests put down to outsiders, want none", w.others)
	}
}

// Outsiders may have opened a window before our first request. Only upstream's word tells its end then.
func TestAWindowThatOutsidersOpened(t *testing.T) {
	w, _ := known(0)
	w.advance(at(70))
	p := w.take(at(70))
	w.answer(at(70.1), p, ends(4, 100))
	wantRoom(t, w, at(71), 6)
	wantRoom(t, w, at(100), 0)
	wantRoom(t, w, at(101.1), 1) // outsiders may be there again: one goes first
}

// Of a window nobody has heard of, one request goes alone; a slow answer holds the next up for a second.
func TestLearning(t *testing.T) {
	w := newWindow(10, time.Minute)
	wantRoom(t, &w, at(0), 1)
	first := w.take(at(0))
	wantRoom(t, &w, at(0.5), 0)
	wantRoom(t, &w, at(1), 1)
	second := w.take(at(1))
	w.answer(at(1.5), second, told{vague: true})
	wantRoom(t, &w, at(1.6), 0) // an error of something in front of upstream teaches nothing
	w.answer(at(1.7), first, told{})
	wantRoom(t, &w, at(1.8), 8)
}

// A window whose first requests were lost begins with the first that arrives, whichever that is.
func TestLostRequestsOpenNothing(t *testing.T) {
	w := newWindow(10, time.Minute)
	w.lose(at(0.1), w.take(at(0)))
	p := w.take(at(30))
	w.answer(at(30.2), p, told{})
	wantRoom(t, &w, at(75), 0) // by the first one the window would be over
	wantRoom(t, &w, at(90.2), 10)
}

func TestBlock(t *testing.T) {
	w, _ := known(3)
	w.refuse(at(40))
	w.refuse(at(30)) // the longer one counts
	wantRoom(t, w, at(39.9), 0)
	wantRoom(t, w, at(40), 1) // alone, although one is still on its way
}

// A request that hangs for minutes has been counted long ago and is not held against windows of today.
func TestAHangingRequestIsNotCarriedForEver(t *testing.T) {
	w, _ := known(0)
	w.take(at(50))
	wantRoom(t, w, at(200), 10)
}

// Of several requests carried over, any may have opened the window, the last one included.
func TestSeveralCarriedWithoutHeaders(t *testing.T) {
	w, _ := known(0)
	first, second := w.take(at(59)), w.take(at(59))
	w.advance(at(60.2))
	w.answer(at(60.3), first, told{})
	w.answer(at(61), second, told{})
	wantRoom(t, w, at(120.4), 0)
	wantRoom(t, w, at(121), 10)
}

// An error of something in front of upstream does not prove that the window has begun.
func TestAVagueAnswerProvesNothing(t *testing.T) {
	w := newWindow(10, time.Minute)
	w.answer(at(0.2), w.take(at(0)), told{vague: true})
	w.answer(at(5.2), w.take(at(5)), told{})
	wantRoom(t, &w, at(60.2), 0)
	wantRoom(t, &w, at(65.2), 10)
}

// Nor does an answer without headers where upstream sends them: it may not have been counted.
func TestAnAnswerWithoutHeadersAmongOthersProvesNothing(t *testing.T) {
	w, places := known(1)
	w.answer(at(1.2), places[1], ends(2, 60))
	w.advance(at(61))
	w.answer(at(61.2), w.take(at(61)), told{})
	w.answer(at(63.2), w.take(at(63)), counts(1))
	wantRoom(t, w, at(121.2), 0)
	wantRoom(t, w, at(123.2), 10)
}

// Where upstream names an end that cannot be, as far as is known, upstream is right.
func TestUpstreamIsRightAboutTheEnd(t *testing.T) {
	w, places := known(1)
	w.answer(at(1.2), places[1], ends(2, 180))
	wantRoom(t, w, at(170), 8)
	wantRoom(t, w, at(180), 0)
	wantRoom(t, w, at(181), 10)
}

func TestUnsentGivesThePlaceBack(t *testing.T) {
	w, places := known(1)
	w.unsend(places[1])
	wantRoom(t, w, at(2), 9)

	w, _ = known(0)
	p := w.take(at(59.9))
	w.advance(at(61))
	w.unsend(p)
	wantRoom(t, w, at(61), 10)
}
