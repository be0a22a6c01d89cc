package limiter_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/test/redis"
)

// fleet is some replicas before one upstream, in simulated time.
type fleet struct {
	t        *testing.T
	server   *redis.Server
	upstream *upstream
	replicas []*limiter.Shared
	clients  []*goredis.Client
	clock    func() time.Time // Redis's
}

func newFleet(t *testing.T, server *redis.Server, replicas int, clock func() time.Time) *fleet {
	return newFleetOf(t, server, replicas, clock, func(*limiter.SharedConfig) {})
}

// newFleetOf is a fleet whose replicas' configuration is changed.
func newFleetOf(t *testing.T, server *redis.Server, replicas int, clock func() time.Time, change func(*limiter.SharedConfig)) *fleet {
	f := &fleet{t: t, server: server, upstream: newUpstream(42, standard), clock: clock}
	f.upstream.blocks = true
	for range replicas {
		client := untimed(t, server)
		config := limiter.SharedConfig{Config: limiter.Config{MaxWait: 5 * time.Minute, Granularity: limiter.PerScope}, Client: client,
			Owners: []string{"bot"}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.clock() }}
		change(&config)
		s := limiter.NewShared(config)
		t.Cleanup(s.Close)
		f.replicas, f.clients = append(f.replicas, s), append(f.clients, client)
	}
	time.Sleep(2 * time.Second)
	return f
}

// inFleet runs a test of three replicas in simulated time, with a real Redis.
func inFleet(t *testing.T, test func(t *testing.T, f *fleet)) {
	server := redis.Start(t)
	synctest.Test(t, func(t *testing.T) { test(t, newFleet(t, server, 3, time.Now)) })
}

// saturate runs clients of a team at each replica until ctx ends.
func (f *fleet) saturate(ctx context.Context, wg *sync.WaitGroup, a limiter.Ask, clients int, served func()) {
	for _, s := range f.replicas {
		saturate(ctx, wg, s, f.upstream, a, clients, served)
	}
}

func (f *fleet) wantNoRefusals() {
	f.t.Helper()
	if f.upstream.refused != 0 {
		f.t.Errorf("upstream answered 429 %d times, want 0", f.upstream.refused)
	}
}

// Teams share every window by their weights, wherever their requests come in, and none of the quota is lost.
func TestReplicasShareFairly(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		weights := map[string]int{"a": 1, "b": 2, "c": 4}
		const windows = 10
		ctx, cancel := context.WithTimeout(t.Context(), windows*time.Minute)
		defer cancel()
		var mu sync.Mutex
		served := map[string]int{}
		var wg sync.WaitGroup
		for team, weight := range weights {
			f.saturate(ctx, &wg, ask(team, weight), 50, func() { mu.Lock(); served[team]++; mu.Unlock() })
		}
		wg.Wait()
		f.wantNoRefusals()
		if index := jain(served, weights); index < 0.99 {
			t.Errorf("Jain index %.4f of %v, want 0.99", index, served)
		}
		if used := float64(f.upstream.served) / (windows * 120); used < 0.99 {
			t.Errorf("used %.1f %% of the quota, want 99 %%", 100*used)
		}
	})
}

// A replica that dies gives up its places within two seconds, and what it had under way counts.
func TestADeadReplicaStandsInNobodysWay(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		one := func(s *limiter.Shared) {
			slot, err := s.Acquire(t.Context(), smallAsk(1, "a", false))
			if err == nil {
				slot.Learn(http.StatusOK, nil)
			}
		}
		one(f.replicas[0]) // the window's only place
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _, _ = f.replicas[1].Acquire(t.Context(), smallAsk(1, "a", false)) })
		}
		synctest.Wait()
		f.clients[1].Close() // it hears and says no more
		time.Sleep(2 * time.Second)
		began := time.Now()
		one(f.replicas[0])
		if waited := time.Since(began); waited > 61*time.Second {
			t.Errorf("waited %s behind a dead replica, want the rest of the window", waited)
		}
		wg.Wait()
	})
}

// What Redis forgets under load leads to no request too many, and to no request that is lost.
func TestRedisForgetsEverything(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		f.saturate(ctx, &wg, ask("a", 1), 30, func() {})
		for range 8 {
			time.Sleep(61*time.Second + 300*time.Millisecond)
			f.server.Flush()
		}
		wg.Wait()
		f.wantNoRefusals()
		if used := float64(f.upstream.served) / (10 * 120); used < 0.9 {
			t.Errorf("used %.1f %% of the quota, want 90 %%", 100*used)
		}
	})
}

// Replicas whose clocks are a minute off Redis's share its windows all the same.
func TestClocksThatAreOff(t *testing.T) {
	server := redis.Start(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, server, 2, func() time.Time { return time.Now().Add(time.Minute) })
		behind := newFleet(t, server, 1, f.clock)
		behind.upstream = f.upstream
		f.replicas = append(f.replicas, behind.replicas...)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		f.saturate(ctx, &wg, ask("a", 1), 40, func() {})
		wg.Wait()
		f.wantNoRefusals()
	})
}

// While Redis does not answer, requests are held for a short time and then told so; when it answers again, all goes on.
func TestRedisDoesNotAnswer(t *testing.T) {
	server := redis.Start(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr(), ReadTimeout: 100 * time.Millisecond, DialTimeout: 100 * time.Millisecond, MaxRetries: -1})
	s := limiter.NewShared(limiter.SharedConfig{Client: client, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { s.Close(); _ = client.Close() })
	one := func() error {
		slot, err := s.Acquire(t.Context(), ask("a", 1))
		if err == nil {
			slot.Learn(http.StatusOK, nil)
		}
		return err
	}
	if err := one(); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	began := time.Now()
	err := one()
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != problem.LimiterUnavailable || p.Status != http.StatusServiceUnavailable {
		t.Errorf("got %v, want limiter_unavailable", err)
	}
	if held := time.Since(began); held > 5*time.Second {
		t.Errorf("held for %s", held)
	}
	server.Resume()
	for deadline := time.Now().Add(10 * time.Second); one() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("Redis answers again, and the limiter does not")
		}
	}
}
