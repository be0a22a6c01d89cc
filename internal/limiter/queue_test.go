package limiter_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/problem"
)

// small is an operation limited to n requests a minute: too few for any part to be kept for late teams below 10.
func small(n int) *catalog.Operation {
	return operation("v1-small", class("small", catalog.Limit{N: n, Window: time.Minute}))
}

func smallAsk(n int, team string, batch bool) limiter.Ask {
	return limiter.Ask{Owner: "bot", Scope: project, Op: small(n), Team: team, Weight: 1, Batch: batch}
}

func repeat(a limiter.Ask, n int) []limiter.Ask { return slices.Repeat([]limiter.Ask{a}, n) }

func TestOrderOfService(t *testing.T) {
	a, b := smallAsk(1, "a", false), smallAsk(1, "b", false)
	batch := smallAsk(1, "a", true)
	for _, test := range []struct {
		name string
		asks []limiter.Ask
		want string // teams in order of service; upper case: batch
	}{
		{"first come first served within a team", repeat(a, 6), "a1 a2 a3 a4 a5 a6"},
		{"teams take turns", append(repeat(a, 4), repeat(b, 2)...), "a1 b5 a2 b6 a3 a4"},
		{"interactive before batch", append(repeat(batch, 2), repeat(a, 2)...), "a3 a4 A1 A2"},
		{"one team's batch does not wait for another team", append(repeat(batch, 2), repeat(b, 2)...), "A1 b3 A2 b4"},
		{"batch passes at every ninth turn", append(repeat(batch, 1), repeat(a, 10)...), "a2 a3 a4 a5 a6 a7 a8 a9 A1 a10 a11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				m := open(limiter.Config{MaxWait: time.Hour})
				fill(t, m, smallAsk(1, "z", false), 1)
				names := make([]string, len(test.asks))
				for i, ask := range test.asks {
					names[i] = ask.Team + strconv.Itoa(i+1)
					if ask.Batch {
						names[i] = strings.ToUpper(names[i])
					}
				}
				if got := strings.Join(order(t, m, test.asks, names), " "); got != test.want {
					t.Errorf("served %s, want %s", got, test.want)
				}
			})
		})
	}
}

// A team that sent nothing for ten minutes has saved up nothing: it takes turns like everybody else.
func TestNoCreditForIdling(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: time.Hour})
		fill(t, m, smallAsk(1, "z", false), 1)
		var mu sync.Mutex
		var served string
		var wg sync.WaitGroup
		enter := func(team string, n int) {
			for range n {
				wg.Go(func() {
					slot := acquire(t, m, smallAsk(1, team, false))
					mu.Lock()
					served += team
					mu.Unlock()
					slot.Learn(200, nil)
				})
			}
			synctest.Wait()
		}
		enter("b", 1)
		enter("a", 14)
		time.Sleep(10*time.Minute + time.Second)
		enter("b", 3)
		wg.Wait()
		if want := "baaaaaaaaa" + "bababa" + "aa"; served != want {
			t.Errorf("served %s, want %s", served, want)
		}
	})
}

// A team that comes for the first time finds room in a window that another team has been saturating from its start.
func TestLateTeamGetsInWithinTheWindow(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(patientConfig())
		u := newUpstream(1, standard)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		saturate(ctx, &wg, m, u, ask("early", 1), 200, func() {})
		time.Sleep(30 * time.Second)
		for range 4 {
			slot, err := m.Acquire(t.Context(), ask("late", 1))
			if err != nil {
				t.Fatal(err)
			}
			if slot.Waited() > time.Second {
				t.Errorf("the late team waited %s, want under 1 s", slot.Waited())
			}
			slot.Learn(u.call(project, getProject))
		}
		cancel()
		wg.Wait()
	})
}

func queueTimeout(t *testing.T, err error) *problem.Error {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Status != 429 || p.Code != problem.QueueTimeout {
		t.Fatalf("got %v, want 429 queue_timeout", err)
	}
	return p
}

// A request whose turn lies beyond its deadline is told at once, and honestly.
func TestRefusedAtOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		maxWait time.Duration
		ctxWait time.Duration
		queued  int
		retry   time.Duration
		text    string
	}{
		{"its own wait is too short", 10 * time.Second, 0, 0, 60 * time.Second,
			"Upstream's rate limit leaves no turn within 10 s: position 1 in the queue for " + project + ", limit class small, whose turn comes in about 60 s. Come back then."},
		{"the context's deadline is", 0, 10 * time.Second, 0, 60 * time.Second, "position 1"},
		{"it does not want to wait", -1, 0, 0, 60 * time.Second, "no turn within 0 s"},
		{"too many are ahead", 100 * time.Second, 0, 9, 180 * time.Second, "position 10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				m := open(patientConfig())
				ctx, cancel := context.WithCancel(t.Context())
				fill(t, m, smallAsk(4, "a", false), 4)
				began := time.Now()
				var wg sync.WaitGroup
				for range test.queued {
					wg.Go(func() { m.Acquire(ctx, smallAsk(4, "a", false)) })
				}
				synctest.Wait()
				a := smallAsk(4, "a", false)
				a.MaxWait = test.maxWait
				own := ctx
				if test.ctxWait > 0 {
					var done func()
					own, done = context.WithTimeout(ctx, test.ctxWait)
					defer done()
				}
				_, err := m.Acquire(own, a)
				p := queueTimeout(t, err)
				if time.Since(began) != 0 {
					t.Errorf("refused after %s, want at once", time.Since(began))
				}
				if p.RetryAfter != test.retry {
					t.Errorf("RetryAfter %s, want %s", p.RetryAfter, test.retry)
				}
				if !strings.Contains(p.Message, test.text) {
					t.Errorf("message %q does not say %q", p.Message, test.text)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

// A wait may be shortened by the request, never lengthened beyond the operator's.
func TestMaxWaitIsTheOperators(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 30 * time.Second})
		fill(t, m, smallAsk(2, "a", false), 2)
		a := smallAsk(2, "a", false)
		a.MaxWait = time.Hour
		_, err := m.Acquire(t.Context(), a)
		queueTimeout(t, err)
	})
}

// A request that was queued in good hope leaves at its deadline.
func TestDeadlineWhileWaiting(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 50 * time.Second})
		fill(t, m, smallAsk(2, "a", false), 1)
		last, err := m.Acquire(t.Context(), smallAsk(2, "a", false))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := m.Acquire(t.Context(), smallAsk(2, "a", false))
			done <- err
		}()
		synctest.Wait()
		// The window ends in 40 s, but upstream now says to stay away for much longer than the waiter can.
		last.Learn(429, map[string][]string{"Retry-After": {"300"}})
		p := queueTimeout(t, <-done)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("told after %s, want as soon as it was hopeless", waited)
		}
		if p.RetryAfter != 300*time.Second {
			t.Errorf("RetryAfter %s, want 300 s", p.RetryAfter)
		}
	})
}

// Whoever leaves is forgotten at once, place and memory.
func TestLeavingGivesThePlaceUp(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 24 * time.Hour, QueuePerTeam: 5000})
		fill(t, m, smallAsk(1, "a", false), 1)
		var before, during, after runtime.MemStats
		heap := func(into *runtime.MemStats) { runtime.GC(); runtime.ReadMemStats(into) }
		heap(&before)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := m.Acquire(ctx, smallAsk(1, "a", false)); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want context.Canceled", err)
				}
			})
		}
		synctest.Wait()
		heap(&during)
		if waiting := m.Snapshot()[0].Waiting["a"]; waiting != 1000 {
			t.Fatalf("%d waiting, want 1000", waiting)
		}
		// 5,000 waiters may cost 80 MiB altogether: 16 KiB each, goroutine included.
		if each := (int64(during.HeapInuse+during.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / 1000; each > 16<<10 {
			t.Errorf("a waiter costs %d bytes, want at most 16 KiB", each)
		}
		cancel()
		wg.Wait()
		synctest.Wait()
		if waiting := m.Snapshot()[0].Waiting; waiting != nil {
			t.Errorf("still waiting: %v", waiting)
		}
		heap(&after)
		if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 1<<20 {
			t.Errorf("%d bytes kept after all have left", kept)
		}
	})
}

func TestQueueBounds(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		m := open(limiter.Config{MaxWait: 24 * time.Hour, QueuePerTeam: 2, QueuePerBucket: 3})
		fill(t, m, smallAsk(1, "a", false), 1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		enter := func(team string) {
			wg.Go(func() { m.Acquire(ctx, smallAsk(1, team, false)) })
			synctest.Wait()
		}
		enter("a")
		enter("a")
		_, err := m.Acquire(ctx, smallAsk(1, "a", false))
		if p := queueTimeout(t, err); !strings.Contains(p.Message, `is full: 2 requests wait, 2 of them of team "a"`) {
			t.Errorf("message %q", p.Message)
		}
		enter("b")
		if _, err = m.Acquire(ctx, smallAsk(1, "c", false)); err == nil {
			t.Error("the bucket's fourth waiter was let in")
		}
		cancel()
		wg.Wait()
	})
}
