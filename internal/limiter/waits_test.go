package limiter_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/limiter"
)

// What a snapshot tells of a queue: who is in it, and how long others waited lately.
func TestSnapshotOfAQueue(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour})
		fill(t, m, smallAsk(1, "z", false), 1)
		if s := m.Snapshot()[0]; s.Queue != nil || s.Waits != nil {
			t.Errorf("before anybody waited: queue %v, waits %v", s.Queue, s.Waits)
		}
		var wg sync.WaitGroup
		for _, ask := range []limiter.Ask{smallAsk(1, "a", false), smallAsk(1, "b", true)} {
			wg.Go(func() {
				slot, err := m.Acquire(t.Context(), ask)
				if err != nil {
					t.Error(err)
					return
				}
				slot.Learn(200, nil)
			})
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		want := []limiter.Waiting{
			{Team: "a", Operation: "v1-small", Since: 10 * time.Second},
			{Team: "b", Operation: "v1-small", Since: 5 * time.Second, Batch: true},
		}
		if got := m.Snapshot()[0].Queue; !slices.Equal(got, want) {
			t.Errorf("in the queue: %v, want %v", got, want)
		}
		wg.Wait()
		s := m.Snapshot()[0]
		if len(s.Waits) != 30 || s.Queue != nil {
			t.Fatalf("afterwards: queue %v, waits of %d minutes, want 30", s.Queue, len(s.Waits))
		}
		if last := s.Waits[28:]; !slices.Equal(last, []time.Duration{60 * time.Second, 115 * time.Second}) {
			t.Errorf("waits in the last two minutes: %v, want 1 minute and 1 minute 55 seconds", last)
		}
	})
}

func TestWaitsAreForgotten(t *testing.T) {
	inMemory(t, func(t *testing.T, open opener) { // Redis forgets sooner
		m := open(limiter.Config{MaxWait: time.Hour})
		fill(t, m, smallAsk(1, "a", false), 2)
		if m.Snapshot()[0].Waits == nil {
			t.Fatal("the second request waited, and nothing shows it")
		}
		time.Sleep(29 * time.Minute)
		if m.Snapshot()[0].Waits == nil {
			t.Error("forgotten before half an hour is over")
		}
		time.Sleep(2 * time.Minute)
		if got := m.Snapshot()[0].Waits; got != nil {
			t.Errorf("after half an hour: %v", got)
		}
	})
}

func TestSnapshotNamesTheFirstOfALongQueue(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 24 * time.Hour})
		fill(t, m, smallAsk(1, "z", false), 1)
		var wg sync.WaitGroup
		for _, team := range []string{"a", "b"} {
			for range 50 {
				wg.Go(func() {
					if slot, err := m.Acquire(t.Context(), smallAsk(1, team, false)); err == nil {
						slot.Learn(200, nil)
					}
				})
			}
		}
		synctest.Wait()
		named := map[string]int{}
		for _, request := range m.Snapshot()[0].Queue {
			named[request.Team]++
		}
		if named["a"] != 20 || named["b"] != 20 {
			t.Errorf("names %v, want the first 20 of each team", named)
		}
		wg.Wait()
	})
}
