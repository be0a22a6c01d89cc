package limiter_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/test/redis"
)

// cable is the connection of all replicas to Redis, which a test may cut.
type cable struct{ cut atomic.Bool }

var errCut = errors.New("no connection")

func (c *cable) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (c *cable) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}
func (c *cable) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, command goredis.Cmder) error {
		if c.cut.Load() {
			return errCut
		}
		return next(ctx, command)
	}
}

// outage cuts the cable while every replica has clients that ask without pause, and returns what each was served.
func (f *fleet) outage(cable *cable, lasts time.Duration) []int {
	cable.cut.Store(true)
	ctx, cancel := context.WithTimeout(f.t.Context(), lasts)
	defer cancel()
	served := make([]int, len(f.replicas))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, s := range f.replicas {
		saturate(ctx, &wg, s, f.upstream, ask("a", 1), 20, func() { mu.Lock(); served[i]++; mu.Unlock() })
	}
	wg.Wait()
	cable.cut.Store(false)
	return served
}

// spend sends n requests through a replica, one after another.
func (f *fleet) spend(s *limiter.Shared, n int) {
	f.t.Helper()
	for range n {
		if err := send(f.t.Context(), s, f.upstream, ask("a", 1)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// inSharing runs a test of three such replicas in simulated time.
func inSharing(t *testing.T, test func(t *testing.T, f *fleet, cable *cable)) {
	server := redis.Start(t)
	synctest.Test(t, func(t *testing.T) {
		cable := &cable{}
		test(t, newFleetOf(t, server, 3, time.Now, func(c *limiter.SharedConfig) {
			c.ShareAway = true
			c.Client.(*goredis.Client).AddHook(cable)
		}), cable)
	})
}

// While Redis is away each replica spends its part of what was left, and no more; then the window is the replicas' again.
func TestSharesOfWhatWasLeft(t *testing.T) {
	inSharing(t, func(t *testing.T, f *fleet, cable *cable) {
		f.spend(f.replicas[0], 10)
		for _, s := range f.replicas {
			f.spend(s, 1)
		}
		time.Sleep(time.Second)
		for i, served := range f.outage(cable, 20*time.Second) {
			if most := (120 - 13) / 3; served > most || served < most-4 {
				t.Errorf("replica %d was served %d requests while Redis was away, want its share of %d, or few less", i, served, most)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		var served atomic.Int64
		f.saturate(ctx, &wg, ask("a", 1), 20, func() { served.Add(1) })
		wg.Wait()
		if served.Load() < 3*120 {
			t.Errorf("%d served in four minutes after the outage, want at least three windows, %d", served.Load(), 3*120)
		}
		f.wantNoRefusals()
	})
}

// Outages under load, whenever they come and however long they are, lead to no request too many.
func TestSharesUnderLoad(t *testing.T) {
	inSharing(t, func(t *testing.T, f *fleet, cable *cable) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		var served atomic.Int64
		f.saturate(ctx, &wg, ask("a", 1), 10, func() { served.Add(1) })
		for i := range 20 {
			time.Sleep(17*time.Second + time.Duration(i)*700*time.Millisecond)
			cable.cut.Store(true)
			time.Sleep(time.Duration(1+i) * 1100 * time.Millisecond)
			cable.cut.Store(false)
		}
		wg.Wait()
		f.wantNoRefusals()
		if served.Load() < 8*120 {
			t.Errorf("%d served in fifteen minutes with outages, want at least eight windows, %d", served.Load(), 8*120)
		}
	})
}

// Nothing is sent that is not known to have been left: of a scope nobody has asked in, of a window that is over, of one
// this replica knows too little of.
func TestNoShareOfWhatIsNotKnown(t *testing.T) {
	other := ask("a", 1)
	other.Scope = "project:bbbbbbbbbbbbbbbbbbbb"
	for name, test := range map[string]struct {
		before func(f *fleet)
		lasts  time.Duration // of the outage, before it asks
		ask    limiter.Ask
	}{
		"a scope nobody has asked in":      {func(f *fleet) { f.spend(f.replicas[1], 1) }, 3 * time.Second, other},
		"a scope it has not asked in":      {func(f *fleet) { f.spend(f.replicas[0], 1) }, 3 * time.Second, ask("a", 1)},
		"a window that is over":            {func(f *fleet) { f.spend(f.replicas[1], 1) }, 61 * time.Second, ask("a", 1)},
		"a window that was used up":        {func(f *fleet) { f.spend(f.replicas[1], 119) }, 3 * time.Second, ask("a", 1)},
		"an upstream that tells no counts": {func(f *fleet) { f.upstream.silent = true; f.spend(f.replicas[1], 1) }, 3 * time.Second, ask("a", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			inSharing(t, func(t *testing.T, f *fleet, cable *cable) {
				test.before(f)
				time.Sleep(time.Second)
				cable.cut.Store(true)
				go func() { _, _ = f.replicas[1].Acquire(t.Context(), ask("b", 1)) }() // notices the outage
				time.Sleep(test.lasts)
				_, err := f.replicas[1].Acquire(t.Context(), test.ask)
				var p *problem.Error
				if !errors.As(err, &p) || p.Code != problem.LimiterUnavailable {
					t.Errorf("got %v, want limiter_unavailable", err)
				}
				cable.cut.Store(false)
			})
		})
	}
}

// What others spent unseen, just before the outage, shows in the first answer: the rest is less than was thought.
func TestAShareShrinksByWhatUpstreamTells(t *testing.T) {
	inSharing(t, func(t *testing.T, f *fleet, cable *cable) {
		for _, s := range f.replicas {
			f.spend(s, 1)
		}
		time.Sleep(time.Second)
		for range 90 { // by an outsider, or by a replica in the very last moment
			f.upstream.count(project, getProject)
		}
		total := 0
		for _, served := range f.outage(cable, 20*time.Second) {
			total += served
		}
		f.wantNoRefusals()
		if total < 3 || total > 120-93 {
			t.Errorf("%d served while Redis was away, want some of the %d that were left", total, 120-93)
		}
	})
}

// The same with a Redis that is really stopped, in real time.
func TestSharesWhileRedisIsStopped(t *testing.T) {
	server := redis.Start(t)
	limit := catalog.Limit{N: 60, Window: 10 * time.Second}
	u := newUpstream(1, limit)
	u.blocks = true
	a := limiter.Ask{Owner: "bot", Scope: project, Op: operation("v1-quick", class("quick", limit)), Team: "a"}
	var replicas [2]*limiter.Shared
	for i := range replicas {
		client := goredis.NewClient(&goredis.Options{Addr: server.Addr(), ReadTimeout: 200 * time.Millisecond, DialTimeout: 200 * time.Millisecond, MaxRetries: -1})
		replicas[i] = limiter.NewShared(limiter.SharedConfig{Client: client, Owners: []string{"bot"}, ShareAway: true, Log: slog.New(slog.DiscardHandler),
			Config: limiter.Config{Granularity: limiter.PerScope}})
		t.Cleanup(func() { replicas[i].Close(); _ = client.Close() })
	}
	one := func(s *limiter.Shared) bool { return send(t.Context(), s, u, a) == nil }
	load := func(lasts time.Duration) (served [2]int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		end := time.Now().Add(lasts)
		for i, s := range replicas {
			for range 4 {
				wg.Go(func() {
					for time.Now().Before(end) {
						if one(s) {
							mu.Lock()
							served[i]++
							mu.Unlock()
						}
					}
				})
			}
		}
		wg.Wait()
		return served
	}
	time.Sleep(3 * time.Second) // both have shown themselves for long enough to be reckoned with
	one(replicas[0])
	one(replicas[1])
	time.Sleep(time.Second)
	server.Pause()
	served := load(4 * time.Second)
	server.Resume()
	for i, n := range served {
		if most := (60 - 2) / 2; n == 0 || n > most {
			t.Errorf("replica %d was served %d requests while Redis was stopped, want some, and not more than its share of %d", i, n, most)
		}
	}
	if back := load(3 * time.Second); back[0]+back[1] == 0 {
		t.Error("nothing is served after Redis has come back")
	}
	if u.refused != 0 {
		t.Errorf("upstream answered 429 %d times, want 0", u.refused)
	}
	t.Logf("served %v while Redis was stopped", served)
}
