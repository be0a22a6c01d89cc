package limiter_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// quotaHeaders is what upstream tells: limit, remaining, seconds to the reset.
func quotaHeaders(limit, remaining, reset int) http.Header {
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(remaining)},
		"X-Ratelimit-Reset":     {strconv.Itoa(reset)},
	}
}

func acquire(t *testing.T, m *limiter.Memory, a limiter.Ask) *limiter.Slot {
	t.Helper()
	slot, err := m.Acquire(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

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
			synctest.Test(t, func(t *testing.T) {
				m := limiter.New(limiter.Config{MaxWait: time.Hour})
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
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{MaxWait: 50 * time.Second})
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
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{MaxWait: time.Hour, QueuePerBucket: 2})
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
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{MaxWait: time.Hour})
		op := operation("v1-context", class("context", catalog.Limit{N: 10, Window: time.Minute}, catalog.Limit{N: 2, Window: time.Second}))
		slot := acquire(t, m, limiter.Ask{Owner: "bot", Scope: project, Op: op, Team: "a"})
		slot.Learn(429, http.Header{"X-Ratelimit-Limit": {"2"}, "Retry-After": {"3"}})
		for _, s := range m.Snapshot() {
			if s.Held != (s.Limit == 2) {
				t.Errorf("limit %d: held %v", s.Limit, s.Held)
			}
		}
	})
}

// Of a bucket nothing is known of, one request goes alone: the quota may be spent, say by this gateway before a restart.
func TestRestartInTheMiddleOfAWindow(t *testing.T) {
	for _, left := range []int{0, 1, 5, 119} {
		t.Run(strconv.Itoa(left)+" left", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpstream(1, standard)
				u.count(project, getProject)
				for u.served < standard.N-left {
					u.count(project, getProject)
				}
				time.Sleep(20 * time.Second)
				m := limiter.New(patientConfig())
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				saturate(ctx, &wg, m, u, ask("a", 1), 200, func() {})
				wg.Wait()
				if want := min(1, max(0, 1-left)); u.refused != want { // with nothing left the first one cannot know
					t.Errorf("upstream answered 429 %d times, want %d", u.refused, want)
				}
			})
		})
	}
}

// A learning bucket does not wait for a slow answer: a refusal would have come at once.
func TestLearningIsNotHeldUpByASlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(patientConfig())
		slow := acquire(t, m, ask("a", 1))
		second := acquire(t, m, ask("a", 1))
		if second.Waited() != time.Second {
			t.Errorf("the second waited %s, want 1 s", second.Waited())
		}
		second.Learn(200, nil)
		if third := acquire(t, m, ask("a", 1)); third.Waited() != 0 {
			t.Errorf("the third waited %s, want nothing", third.Waited())
		}
		slow.Learn(200, nil)
	})
}

// With auto, a bucket splits per endpoint where upstream's counts prove that it counts so, and nowhere else.
func TestAutoGranularity(t *testing.T) {
	for _, perEndpoint := range []bool{false, true} {
		t.Run("per endpoint "+strconv.FormatBool(perEndpoint), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const minutes = 40
				u := newUpstream(9, standard)
				u.perEndpoint, u.blocks = perEndpoint, true
				m := limiter.New(patientConfig())
				ctx, cancel := context.WithTimeout(t.Context(), minutes*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				for _, id := range []string{"v1-one", "v1-two", "v1-three"} {
					a := ask("a", 1)
					a.Op = operation(id, getProject.Class)
					saturate(ctx, &wg, m, u, a, 130, func() {})
				}
				wg.Wait()
				if u.refused != 0 {
					t.Errorf("upstream answered 429 %d times, want 0", u.refused)
				}
				buckets, quota, least := 1, minutes*120, 0.99
				if perEndpoint {
					buckets, quota, least = 3, 3*minutes*120, 0.98 // the first windows are spent finding out
				}
				if got := len(m.Snapshot()); got != buckets {
					t.Errorf("%d buckets, want %d", got, buckets)
				}
				if used := float64(u.served) / float64(quota); used < least {
					t.Errorf("used %.2f %% of the quota, want %.0f %%", 100*used, 100*least)
				}
			})
		})
	}
}

// Where upstream's counts show that it counts per scope, an endpoint's own window holds nothing up.
func TestAutoIsNotHeldUpPerScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(patientConfig())
		one, two := ask("a", 1), ask("a", 1)
		one.Op, two.Op = operation("v1-one", getProject.Class), operation("v1-two", getProject.Class)
		for _, call := range []struct {
			ask         limiter.Ask
			used, reset int
		}{{one, 1, 60}, {two, 2, 55}} {
			slot := acquire(t, m, call.ask)
			time.Sleep(100 * time.Millisecond)
			slot.Learn(200, quotaHeaders(120, 120-call.used, call.reset))
			time.Sleep(4900 * time.Millisecond)
		}
		time.Sleep(50*time.Second + 200*time.Millisecond) // the window has ended 100 ms ago at the latest
		if waited := acquire(t, m, two).Waited(); waited != 0 {
			t.Errorf("waited %s, want nothing", waited)
		}
	})
}

// One answer that contradicts one count per scope is not enough while others contradict one count per endpoint.
func TestAutoNeedsProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(patientConfig())
		one, two := ask("a", 1), ask("a", 1)
		one.Op, two.Op = operation("v1-one", getProject.Class), operation("v1-two", getProject.Class)
		answer := func(a limiter.Ask, used int) int {
			t.Helper()
			acquire(t, m, a).Learn(200, quotaHeaders(120, 120-used, 60))
			return len(m.Snapshot())
		}
		answer(one, 1)
		answer(one, 2)
		answer(two, 1) // cannot be: two were counted before
		answer(two, 5) // cannot be per endpoint, unless outsiders were there
		if n := answer(two, 2); n != 1 {
			t.Errorf("%d buckets, want one still", n)
		}
		if n := answer(two, 3); n != 2 {
			t.Errorf("%d buckets, want two now", n)
		}
	})
}

// Outsiders who spend a tenth of the quota at random cost the gateway a 429 in under 1 % of windows.
func TestOutsiders(t *testing.T) {
	for _, millis := range []bool{false, true} {
		t.Run("milliseconds "+strconv.FormatBool(millis), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpstream(4, standard)
				u.millis = millis
				m := limiter.New(limiter.Config{MaxWait: 10 * time.Minute, Headroom: 2})
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour)
				defer cancel()
				var wg sync.WaitGroup
				saturate(ctx, &wg, m, u, ask("a", 1), 150, func() {})
				own := 0 // 429s answered to outsiders are theirs
				wg.Go(func() {
					for ctx.Err() == nil {
						time.Sleep(u.pause(5 * time.Second))
						if status, _ := u.count(project, getProject); status == http.StatusTooManyRequests {
							own--
						}
					}
				})
				wg.Wait()
				own += u.refused
				if share := float64(own) / float64(u.begun); share >= 0.01 {
					t.Errorf("%d 429s in %d windows, want under 1 %%", own, u.begun)
				}
			})
		})
	}
}

// Two operations, two owners, two scopes: what upstream counts apart is waited for apart.
func TestBucketsApart(t *testing.T) {
	one, two := operation("v1-one", class("small", catalog.Limit{N: 1, Window: time.Minute})), operation("v1-two", class("small", catalog.Limit{N: 1, Window: time.Minute}))
	first := limiter.Ask{Owner: "bot", Scope: project, Op: one, Team: "a"}
	for _, test := range []struct {
		name        string
		granularity limiter.Granularity
		set         func(*limiter.Ask)
		waits       bool
	}{
		{"the same", limiter.PerScope, func(*limiter.Ask) {}, true},
		{"another operation, per scope", limiter.PerScope, func(a *limiter.Ask) { a.Op = two }, true},
		{"another operation, auto", limiter.Auto, func(a *limiter.Ask) { a.Op = two }, true},
		{"another operation, per endpoint", limiter.PerEndpoint, func(a *limiter.Ask) { a.Op = two }, false},
		{"another class", limiter.PerScope, func(a *limiter.Ask) { a.Op = getProject }, false},
		{"another owner", limiter.PerScope, func(a *limiter.Ask) { a.Owner = "other" }, false},
		{"another scope", limiter.PerScope, func(a *limiter.Ask) { a.Scope = "organization:acme" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := limiter.New(limiter.Config{Granularity: test.granularity, MaxWait: time.Hour})
				acquire(t, m, first).Learn(200, nil)
				second := first
				test.set(&second)
				if waited := acquire(t, m, second).Waited(); waited > 0 != test.waits {
					t.Errorf("waited %s, want a wait: %v", waited, test.waits)
				}
			})
		})
	}
}

// A place is given back by Unsent, spent by Lost, and either counts once.
func TestFateOfASlot(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*limiter.Slot)
		left int // of 5
	}{
		{"answered", func(s *limiter.Slot) { s.Learn(200, nil) }, 4},
		{"answered with upstream's count", func(s *limiter.Slot) { s.Learn(200, quotaHeaders(5, 2, 60)) }, 2},
		{"answered by something in front of upstream", func(s *limiter.Slot) { s.Learn(502, nil) }, 4},
		{"lost", (*limiter.Slot).Lost, 4},
		{"unsent", (*limiter.Slot).Unsent, 5},
		{"unsent, and again", func(s *limiter.Slot) { s.Unsent(); s.Unsent(); s.Lost() }, 5},
		{"lost, and then answered", func(s *limiter.Slot) { s.Lost(); s.Learn(200, quotaHeaders(5, 1, 60)) }, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := limiter.New(patientConfig())
				test.do(acquire(t, m, smallAsk(5, "a", false)))
				if _, left, _ := m.Quota("bot", project, small(5)); left != test.left {
					t.Errorf("%d left, want %d", left, test.left)
				}
			})
		})
	}
}

func TestReserve(t *testing.T) {
	for _, test := range []struct {
		name    string
		reserve []limiter.Reserve
		team    string
		at      once
	}{
		{"nothing reserved", nil, "a", 9},
		{"for another team", []limiter.Reserve{{Team: "b", Share: 0.34}}, "a", 6},
		{"for this team", []limiter.Reserve{{Team: "a", Share: 0.34}}, "a", 9},
		{"for outsiders", []limiter.Reserve{{Share: 0.34}}, "a", 6},
		{"for both", []limiter.Reserve{{Share: 0.34}, {Team: "b", Share: 0.34}}, "a", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := limiter.New(limiter.Config{MaxWait: time.Hour, Reserve: test.reserve})
				a := smallAsk(9, test.team, false)
				n := once(0)
				for {
					slot := acquire(t, m, a)
					if slot.Waited() > 0 {
						break
					}
					n++
					slot.Learn(200, nil)
				}
				if n != test.at {
					t.Errorf("%d at once, want %d", n, test.at)
				}
			})
		})
	}
}

// What a team gives back unsent it has not had: it stays reserved for it.
func TestUnsentIsReservedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{MaxWait: time.Hour, Reserve: []limiter.Reserve{{Team: "b", Share: 0.34}}})
		fill(t, m, smallAsk(9, "a", false), 5)
		for range 3 {
			acquire(t, m, smallAsk(9, "b", false)).Unsent()
		}
		fill(t, m, smallAsk(9, "a", false), 1)
		if waited := acquire(t, m, smallAsk(9, "a", false)).Waited(); waited == 0 {
			t.Error("another team got what is reserved")
		}
	})
}

// However much is kept back, every window serves somebody.
func TestNothingKeptBackStopsABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{MaxWait: time.Hour, Headroom: 20, Reserve: []limiter.Reserve{{Share: 0.9}}})
		for i := range 3 {
			slot := acquire(t, m, smallAsk(9, "a", false))
			if slot.Waited() > time.Minute {
				t.Errorf("request %d waited %s, want at most a window", i, slot.Waited())
			}
			slot.Learn(200, nil)
		}
	})
}

// once is how many of 9 requests a minute are served without a wait.
type once int

func TestQuotaAndSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{Headroom: 1, MaxWait: time.Hour})
		context := operation("v1-context", class("context", catalog.Limit{N: 10, Window: time.Minute}, catalog.Limit{N: 2, Window: time.Second}))
		if limit, left, reset := m.Quota("bot", project, context); limit != 2 || left != 1 || reset != 0 {
			t.Errorf("before the first call: %d of %d for %s, want 1 of 2", left, limit, reset)
		}
		acquire(t, m, limiter.Ask{Owner: "bot", Scope: project, Op: context, Team: "a"}).Learn(200, quotaHeaders(10, 7, 60))
		time.Sleep(3 * time.Second)
		if limit, left, reset := m.Quota("bot", project, context); limit != 2 || left != 1 || reset != 0 {
			t.Errorf("a second later: %d of %d for %s, want 1 of 2 for 0s", left, limit, reset)
		}
		slot := acquire(t, m, limiter.Ask{Owner: "bot", Scope: project, Op: getProject, Team: "a"})
		slot.Learn(429, http.Header{"Retry-After": {"30"}})
		states := m.Snapshot()
		if len(states) != 3 {
			t.Fatalf("%d buckets, want 3: %+v", len(states), states)
		}
		if s := states[1]; s.Class != "context" || s.Limit != 10 || s.Remaining != 6 || s.Outsiders != 2 || s.Period != time.Minute {
			t.Errorf("the minute's bucket: %+v", s)
		}
		if s := states[2]; s.Class != "default" || !s.Held || s.Reset != 30*time.Second || s.Remaining != 0 {
			t.Errorf("the held bucket: %+v", s)
		}
	})
}

// Scopes at rest are forgotten, scopes in use are not, and there is an end to both.
func TestScopesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limiter.New(limiter.Config{Scopes: 320})
		a := ask("a", 1)
		fillScopes := func(round string) (refused int) {
			for i := range 1000 {
				a.Scope = "project:" + round + strconv.Itoa(i)
				slot, err := m.Acquire(t.Context(), a)
				if err != nil {
					refused++
					continue
				}
				slot.Learn(200, nil)
			}
			return refused
		}
		if refused := fillScopes("first"); refused < 680 {
			t.Errorf("%d scopes at a time, want at most 320", 1000-refused)
		}
		time.Sleep(3 * time.Minute)
		if refused := fillScopes("second"); refused > 750 {
			t.Errorf("%d scopes after the first ones came to rest, want about 320", 1000-refused)
		}
	})
}
