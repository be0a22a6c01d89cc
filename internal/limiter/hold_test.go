package limiter_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// After a 429 nothing goes before the time upstream names; then the refused request goes first, alone, and its
// fellows only once it has been answered.
func TestHoldAfter429(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		hold   time.Duration
	}{
		{"Retry-After", http.Header{"Retry-After": {"42"}}, 42 * time.Second},
		{"Retry-After before the reset", http.Header{"Retry-After": {"42"}, "X-Ratelimit-Reset": {"50"}}, 42 * time.Second},
		{"reset", http.Header{"X-Ratelimit-Reset": {"50"}}, 51 * time.Second}, // rounded either way
		{"neither", nil, 60 * time.Second},                                    // the window that is running
	} {
		t.Run(test.name, func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				m := open(limiter.Config{MaxWait: time.Hour})
				a := ask("a", 1)
				slot := acquire(t, m, a)
				slot.Learn(200, quotaHeaders(120, 119, 60))
				slot = acquire(t, m, a)
				began := time.Now()
				var wg sync.WaitGroup
				var mu sync.Mutex
				var others []time.Duration
				slot.Learn(429, test.header)
				for range 3 {
					wg.Go(func() {
						other := acquire(t, m, a)
						mu.Lock()
						others = append(others, time.Since(began))
						mu.Unlock()
						other.Learn(200, quotaHeaders(120, 100, 60))
					})
				}
				synctest.Wait()
				again, err := slot.Retry(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if held := time.Since(began); held != test.hold {
					t.Errorf("sent again after %s, want %s", held, test.hold)
				}
				time.Sleep(300 * time.Millisecond)
				mu.Lock()
				if len(others) != 0 {
					t.Errorf("%d went before the first was answered", len(others))
				}
				mu.Unlock()
				again.Learn(200, quotaHeaders(120, 119, 60))
				wg.Wait()
				if last := others[2]; last != test.hold+300*time.Millisecond {
					t.Errorf("the others went after %s, want as soon as the first was answered", last)
				}
			})
		})
	}
}

// A request sent again keeps the wait it was first granted.
func TestRetryKeepsItsDeadline(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 50 * time.Second})
		slot := acquire(t, m, ask("a", 1))
		time.Sleep(5 * time.Second)
		slot.Learn(429, http.Header{"Retry-After": {"46"}})
		_, err := slot.Retry(t.Context())
		if p := queueTimeout(t, err); p.RetryAfter != 46*time.Second {
			t.Errorf("RetryAfter %s, want 46 s", p.RetryAfter)
		}
	})
}

// A request that is sent again goes before everybody, other teams included, and however full the queue is.
func TestRetryGoesFirst(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour, QueuePerBucket: 2})
		slot := acquire(t, m, smallAsk(1, "a", false))
		slot.Learn(429, http.Header{"Retry-After": {"30"}})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				other := acquire(t, m, smallAsk(1, "b", false))
				if other.Waited() < time.Minute {
					t.Errorf("another team went after %s, before the request sent again", other.Waited())
				}
				other.Learn(200, nil)
			})
		}
		synctest.Wait()
		again, err := slot.Retry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again.Waited() != 30*time.Second {
			t.Errorf("sent again after %s, want 30 s", again.Waited())
		}
		again.Learn(200, nil)
		wg.Wait()
	})
}

// Of two limits, the one that upstream names in a 429 is held, the other is not.
func TestHoldOnlyTheLimitNamed(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour})
		op := operation("v1-context", class("context", catalog.Limit{N: 10, Window: time.Minute}, catalog.Limit{N: 2, Window: time.Second}))
		slot := acquire(t, m, limiter.Ask{Owner: "bot", Scope: project, Op: op, Team: "a"})
		slot.Learn(429, http.Header{"X-Ratelimit-Limit": {"2"}, "Retry-After": {"3"}})
		synctest.Wait()
		for _, s := range m.Snapshot() {
			if s.Held != (s.Limit == 2) {
				t.Errorf("limit %d: held %v", s.Limit, s.Held)
			}
		}
	})
}
