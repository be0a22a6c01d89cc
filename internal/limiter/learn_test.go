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

func acquire(t *testing.T, m limiter.Limiter, a limiter.Ask) *limiter.Slot {
	t.Helper()
	slot, err := m.Acquire(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// Of a bucket nothing is known of, one request goes alone: the quota may be spent, say by this gateway before a restart.
func TestRestartInTheMiddleOfAWindow(t *testing.T) {
	for _, left := range []int{0, 1, 5, 119} {
		t.Run(strconv.Itoa(left)+" left", func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				u := newUpstream(1, standard)
				u.count(project, getProject)
				for u.served < standard.N-left {
					u.count(project, getProject)
				}
				time.Sleep(20 * time.Second)
				m := open(patientConfig())
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
	kept(t, func(t *testing.T, open opener) {
		m := open(patientConfig())
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
			kept(t, func(t *testing.T, open opener) {
				const minutes = 40
				u := newUpstream(9, standard)
				u.perEndpoint, u.blocks = perEndpoint, true
				m := open(patientConfig())
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
	kept(t, func(t *testing.T, open opener) {
		m := open(patientConfig())
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
	kept(t, func(t *testing.T, open opener) {
		m := open(patientConfig())
		one, two := ask("a", 1), ask("a", 1)
		one.Op, two.Op = operation("v1-one", getProject.Class), operation("v1-two", getProject.Class)
		answer := func(a limiter.Ask, used int) int {
			t.Helper()
			acquire(t, m, a).Learn(200, quotaHeaders(120, 120-used, 60))
			synctest.Wait()
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
			kept(t, func(t *testing.T, open opener) {
				u := newUpstream(4, standard)
				u.millis = millis
				m := open(limiter.Config{MaxWait: 10 * time.Minute, Headroom: 2})
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
			kept(t, func(t *testing.T, open opener) {
				m := open(limiter.Config{Granularity: test.granularity, MaxWait: time.Hour})
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
			kept(t, func(t *testing.T, open opener) {
				m := open(patientConfig())
				test.do(acquire(t, m, smallAsk(5, "a", false)))
				synctest.Wait()
				if _, left, _ := m.Quota("bot", project, small(5)); left != test.left {
					t.Errorf("%d left, want %d", left, test.left)
				}
			})
		})
	}
}

func TestQuotaAndSnapshot(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{Headroom: 1, MaxWait: time.Hour})
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
		synctest.Wait()
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
