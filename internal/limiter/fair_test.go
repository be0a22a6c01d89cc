package limiter_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/limiter"
)

// Backlogged teams share every window by their weights.
func TestFairShares(t *testing.T) {
	for _, test := range []struct {
		name    string
		weights map[string]int
	}{
		{"1:1:1", map[string]int{"a": 1, "b": 1, "c": 1}},
		{"1:2:4", map[string]int{"a": 1, "b": 2, "c": 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, open opener) { // for replicas see TestReplicasShareFairly
				u := newUpstream(5, standard)
				m := open(patientConfig())
				ctx, cancel := context.WithTimeout(t.Context(), 31*time.Minute)
				defer cancel()
				var mu sync.Mutex
				windows := []map[string]int{{}}
				all := map[string]int{}
				last := time.Now()
				var wg sync.WaitGroup
				for team, weight := range test.weights {
					saturate(ctx, &wg, m, u, ask(team, weight), 150, func() {
						mu.Lock()
						defer mu.Unlock()
						if time.Since(last) > 5*time.Second { // the quota was spent: a window is over
							windows = append(windows, map[string]int{})
						}
						last = time.Now()
						windows[len(windows)-1][team]++
						if len(windows) > 1 {
							all[team]++
						}
					})
				}
				wg.Wait()
				if len(windows) < 30 {
					t.Fatalf("%d windows in 31 minutes", len(windows))
				}
				for i := 1; i < 30; i++ { // the first window begins before all are backlogged
					if index := jain(windows[i], test.weights); index < 0.99 {
						t.Errorf("window %d: Jain index %.4f of %v, want 0.99", i, index, windows[i])
					}
				}
				if index := jain(all, test.weights); index < 0.999 {
					t.Errorf("over 30 windows: Jain index %.4f of %v, want 0.999", index, all)
				}
				if u.refused != 0 {
					t.Errorf("upstream answered 429 %d times, want 0", u.refused)
				}
			})
		})
	}
}

// A light team beside a saturating one waits at most a window, and usually hardly at all; the quota is spent all the same.
func TestLightTeamBesideASaturatingOne(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		u := newUpstream(11, standard)
		m := open(patientConfig())
		ctx, cancel := context.WithTimeout(t.Context(), span(m, time.Hour))
		defer cancel()
		var wg sync.WaitGroup
		saturate(ctx, &wg, m, u, ask("heavy", 1), 200, func() {})
		var waits []time.Duration
		var mu sync.Mutex
		for ctx.Err() == nil {
			wg.Go(func() {
				slot, err := m.Acquire(t.Context(), ask("light", 1))
				if err != nil {
					t.Errorf("light team: %v", err)
					return
				}
				slot.Learn(u.call(project, getProject))
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, slot.Waited())
			})
			time.Sleep(5 * time.Second)
		}
		wg.Wait()
		slices.Sort(waits)
		if longest := waits[len(waits)-1]; longest > time.Minute {
			t.Errorf("longest wait %s, want at most a window", longest)
		}
		if median := waits[len(waits)/2]; median > time.Second {
			t.Errorf("median wait %s, want under 1 s", median)
		}
		if used := float64(u.served) / (span(m, time.Hour).Minutes() * 120); used < 0.99 {
			t.Errorf("used %.2f %% of the quota, want 99 %%", 100*used)
		}
		if u.refused != 0 {
			t.Errorf("upstream answered 429 %d times, want 0", u.refused)
		}
	})
}

// fill spends n requests at once, so that the window is closed to others.
func fill(t *testing.T, m limiter.Limiter, a limiter.Ask, n int) {
	t.Helper()
	for i := range n {
		slot, err := m.Acquire(t.Context(), a)
		if err != nil {
			t.Fatalf("request %d of the window: %v", i+1, err)
		}
		slot.Learn(200, nil)
	}
}

// order starts one waiter per ask, in this order, and returns the names in the order they were served. The asks must
// be for one request per window, so that no two are served together.
func order(t *testing.T, m limiter.Limiter, asks []limiter.Ask, names []string) []string {
	t.Helper()
	var mu sync.Mutex
	served := map[time.Duration]string{}
	var wg sync.WaitGroup
	for i, a := range asks {
		wg.Go(func() {
			slot, err := m.Acquire(t.Context(), a)
			if err != nil {
				t.Errorf("%s: %v", names[i], err)
				return
			}
			mu.Lock()
			served[slot.Waited()] = names[i]
			mu.Unlock()
			slot.Learn(200, nil)
		})
		synctest.Wait()
	}
	wg.Wait()
	var inOrder []string
	for _, waited := range slices.Sorted(maps.Keys(served)) {
		inOrder = append(inOrder, served[waited])
	}
	return inOrder
}
