// Package peers runs the limiter beside go-redis/redis_rate, in real time and with one real Redis: replicas that saturate an
// upstream whose windows begin with their first request. It is a module of its own, so that the gateway does not depend on
// its peer.
package peers

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/test/redis"
)

var report = flag.String("report", "", "file that the table is written to; without it nothing is measured")

const (
	limit    = 120
	period   = 3 * time.Second
	length   = 8 * period
	replicas = 3
	clients  = 60 // of each replica
)

// upstream counts in windows that begin with their first request. It says so in its answers; where it blocks, one request
// too many costs a whole further window.
type upstream struct {
	blocks bool

	mu             sync.Mutex
	start, blocked time.Time
	used           int
	served         int
	refused        int
}

func (u *upstream) call() (int, http.Header) {
	way := time.Duration(10+rand.IntN(66)) * time.Millisecond
	time.Sleep(way)
	defer time.Sleep(way)
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if now.Sub(u.start) >= period && !now.Before(u.blocked) {
		u.start, u.used = now, 0
	}
	if u.used >= limit || now.Before(u.blocked) {
		u.refused++
		if u.blocks {
			u.blocked = now.Add(period)
		}
		left := max(u.start.Add(period).Sub(now), u.blocked.Sub(now))
		return http.StatusTooManyRequests, http.Header{"Retry-After": {strconv.Itoa(int(left/time.Second) + 1)}}
	}
	u.used++
	u.served++
	return http.StatusOK, http.Header{"X-Ratelimit-Limit": {strconv.Itoa(limit)}, "X-Ratelimit-Remaining": {strconv.Itoa(limit - u.used)},
		"X-Ratelimit-Reset": {strconv.Itoa(int((u.start.Add(period).Sub(now) + time.Second - 1) / time.Second))}}
}

// saturate has clients at every replica ask without pause.
func saturate(t *testing.T, one func(ctx context.Context, replica int)) {
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for replica := range replicas {
		for range clients {
			wg.Go(func() {
				for ctx.Err() == nil {
					one(ctx, replica)
				}
			})
		}
	}
	wg.Wait()
}

func connect(t *testing.T, server *redis.Server) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func ours(t *testing.T, u *upstream) {
	server := redis.Start(t)
	op := &catalog.Operation{ID: "v1-quick", Class: &catalog.Class{Name: "quick", Limits: []catalog.Limit{{N: limit, Window: period}}}}
	var all [replicas]*limiter.Shared
	for i := range all {
		all[i] = limiter.NewShared(limiter.SharedConfig{Client: connect(t, server), Owners: []string{"bot"}, Log: slog.New(slog.DiscardHandler),
			Config: limiter.Config{Granularity: limiter.PerScope}})
		t.Cleanup(all[i].Close)
	}
	time.Sleep(2 * time.Second) // a Redis without memory is waited for
	saturate(t, func(ctx context.Context, replica int) {
		slot, err := all[replica].Acquire(ctx, limiter.Ask{Owner: "bot", Scope: "project:a", Op: op, Team: "a", Weight: 1})
		for err == nil {
			status, h := u.call()
			slot.Learn(status, h)
			if status == http.StatusOK {
				return
			}
			slot, err = slot.Retry(ctx)
		}
		sleep(ctx, 250*time.Millisecond)
	})
}

// redisRate is used as its documentation shows: who may not go waits as long as it says, and who is refused by upstream as
// long as upstream says.
func redisRate(t *testing.T, u *upstream) {
	server := redis.Start(t)
	var all [replicas]*redis_rate.Limiter
	for i := range all {
		all[i] = redis_rate.NewLimiter(connect(t, server))
	}
	saturate(t, func(ctx context.Context, replica int) {
		result, err := all[replica].Allow(ctx, "project:a", redis_rate.Limit{Rate: limit, Burst: limit, Period: period})
		switch {
		case err != nil:
			sleep(ctx, 250*time.Millisecond)
			return
		case result.Allowed == 0:
			sleep(ctx, result.RetryAfter)
			return
		}
		if status, h := u.call(); status == http.StatusTooManyRequests {
			seconds, _ := strconv.Atoi(h.Get("Retry-After"))
			sleep(ctx, time.Duration(seconds)*time.Second)
		}
	})
}

func TestReport(t *testing.T) {
	if *report == "" {
		t.Skip("say -report FILE to measure")
	}
	var rows strings.Builder
	for _, blocks := range []bool{false, true} {
		for _, way := range []struct {
			name string
			run  func(*testing.T, *upstream)
		}{{"the limiter", ours}, {"go-redis/redis_rate v10", redisRate}} {
			u := &upstream{blocks: blocks}
			way.run(t, u)
			costs := "is refused"
			if blocks {
				costs = "blocks for a window"
			}
			fmt.Fprintf(&rows, "| %s | %s | %d | %.0f %% |\n", way.name, costs, u.refused, 100*float64(u.served)/(limit*float64(length/period)))
		}
	}
	if err := os.WriteFile(*report, []byte(header+rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

const header = "# The limiter beside redis_rate, in real time\n\n`cd bench/limiter/peers && go test -run TestReport -report $PWD/../../results/limiter-peers.md`\n\n" +
	"Three replicas with 60 clients each, all with one Redis, before an upstream that takes 120 requests in a window of 3 s, which begins with\n" +
	"its first request; 24 s each. redis_rate is given the same 120 in 3 s. It forbids more than that on average, not in one window: beside\n" +
	"a burst of 120 it lets one more go every 25 ms.\n\n| | one request too many | upstream 429s | quota used |\n|---|---|---|---|\n"
