package limiter

import (
	"testing"
	"time"
)

// A replica's share is its part of what it knows to be left, as long as it knows so.
func TestAllowance(t *testing.T) {
	known := allowance{window: window{limit: 120, speaks: true}, until: at(60), parts: 3, most: 120}
	for name, test := range map[string]struct {
		change func(*allowance)
		now    time.Time
		free   int
		open   bool
	}{
		"the last of its part":              {func(a *allowance) { a.spent = 29 }, at(1), 90, true},
		"its part is spent":                 {func(a *allowance) { a.spent = 30 }, at(1), 90, false},
		"fewer are left than replicas":      {func(*allowance) {}, at(1), 2, false},
		"upstream has told of less":         {func(a *allowance) { a.most = 0 }, at(1), 90, false},
		"the window may be over":            {func(*allowance) {}, at(60), 90, false},
		"no window ran":                     {func(a *allowance) { a.until = time.Time{} }, at(600), 120, true},
		"its first request is under way":    {func(a *allowance) { a.flying = 1 }, at(1), 90, false},
		"its first request was answered":    {func(a *allowance) { a.flying, a.learned = 1, true }, at(1), 90, true},
		"what is left was still being told": {func(a *allowance) { a.window.learning = true }, at(1), 90, false},
		"upstream tells no counts":          {func(a *allowance) { a.window.speaks = false }, at(1), 90, false},
		"upstream answered 429":             {func(a *allowance) { a.window.blocked = at(90) }, at(1), 90, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := known
			test.change(&a)
			if open := a.open(test.now, test.free); open != test.open {
				t.Errorf("open: %v, want %v", open, test.open)
			}
		})
	}
}

// After shares were spent all replicas have time to tell of theirs before anything is granted, and then one goes alone.
func TestRegroup(t *testing.T) {
	l := newLedger("account", PerScope, time.Time{})
	enters := func(n uint64) op { return op{verb: enter, n: n, kind: kind{"v1-a", "a", general}, left: time.Minute} }
	l.apply(at(0), &entry{"one", 1, []op{{verb: adjust, settings: settings{Granularity: PerScope, QueuePerTeam: 9, QueuePerBucket: 9}}, enters(1)}})
	l.apply(at(0.1), &entry{"one", 2, []op{{verb: settle, n: 1, outcome: outcome{headers: headers{limit: 120, remaining: 119, reset: 60}}}}})
	l.results = nil
	l.apply(at(1), &entry{"one", 3, []op{{verb: regroup}, enters(2), enters(3)}})
	if len(l.results) != 0 {
		t.Error("granted before the others could tell")
	}
	l.apply(at(2.5), &entry{"one", 4, []op{{verb: tick}}})
	if len(l.results) != 1 {
		t.Errorf("%d granted, want one that goes alone", len(l.results))
	}
}
