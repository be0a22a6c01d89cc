package limiter

import (
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

// A scope that is forgotten between look-up and lock is made anew: what is counted in the old one would be lost.
func TestAForgottenGroupIsNotUsed(t *testing.T) {
	m, k := New(Config{}), scopeKey{"bot", "account"}
	old, err := m.lockSite(k)
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
	found, err := m.lockSite(k)
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
	g := newGroup(m.settings, "account", newOwner())
	enter := func(now time.Time) *waiter {
		w, refused := g.enter(now, &claim{kind: kind{"v1-small", "small", []catalog.Limit{{N: 1, Window: time.Minute}}}, team: "a", weight: 1, asked: now, deadline: now.Add(time.Hour)})
		if refused != nil {
			t.Fatal(refused.problem())
		}
		return w
	}
	now := time.Now()
	enter(now)
	w := enter(now)
	later := now.Add(3 * time.Minute)
	g.dispatch(later)
	if len(g.delivered) != 1 || g.delivered[0] != w {
		t.Fatalf("%d delivered, want the one that waited", len(g.delivered))
	}
	g.leave(later, w)
	if b := g.lanes["small"].gates[0]; b.count != 0 {
		t.Errorf("%d places of the window taken, want none", b.count)
	}
}
