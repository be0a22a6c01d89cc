package limiter

import (
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

// A scope that is forgotten between look-up and lock is made anew: what is counted in the old one would be lost.
func TestAForgottenGroupIsNotUsed(t *testing.T) {
	m, k := New(Config{}), scopeKey{"bot", "account"}
	old, err := m.lockGroup(k)
	if err != nil {
		t.Fatal(err)
	}
	old.gone = true
	old.mu.Unlock()
	go func() {
		for i := range m.shards {
			m.shards[i].mu.Lock()
			m.shards[i].forget(time.Now())
			m.shards[i].mu.Unlock()
		}
	}()
	found, err := m.lockGroup(k)
	if err != nil {
		t.Fatal(err)
	}
	if found == old {
		t.Error("the forgotten group was used")
	}
}

// A caller that leaves in the very moment its turn comes gives its place back.
func TestLeavingAsTheTurnComes(t *testing.T) {
	m := New(Config{MaxWait: time.Hour})
	op := &catalog.Operation{ID: "v1-small", Class: &catalog.Class{Name: "small", Limits: []catalog.Limit{{N: 1, Window: time.Minute}}}}
	g, err := m.lockGroup(scopeKey{"bot", "account"})
	if err != nil {
		t.Fatal(err)
	}
	enter := func(now time.Time) *waiter {
		w, err := g.enter(now, &Slot{ask: Ask{Op: op, Team: "a", Weight: 1}, asked: now, deadline: now.Add(time.Hour)}, false)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	now := time.Now()
	enter(now)
	w := enter(now)
	g.dispatch(now.Add(3 * time.Minute))
	g.mu.Unlock()
	<-w.ready
	g.leave(w)
	if b := g.lanes["small"].gates[0]; b.count != 0 {
		t.Errorf("%d places of the window taken, want none", b.count)
	}
}
