package limiter_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/test/redis"
)

var (
	report = flag.String("report", "", "file that the table is written to; without it nothing is measured")
	hours  = flag.Float64("hours", 24, "simulated hours of the long run; the others take a twenty-fourth")
)

const (
	limit  = 120
	period = time.Minute
)

// upstream counts in windows that begin with their first request; one request too many blocks for a whole one.
type upstream struct {
	mu             sync.Mutex
	rand           *rand.Rand
	start, blocked time.Time
	used           int
	served         int
	refused        int
	windows, bad   int // windows begun, and those in which the gateway met a 429
	badWindow      bool
}

func (u *upstream) way() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Duration(20+u.rand.IntN(131)) * time.Millisecond / 2
}

func (u *upstream) count(ours bool) (int, http.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if now.Sub(u.start) >= period && !now.Before(u.blocked) {
		u.start, u.used, u.badWindow = now, 0, false
		u.windows++
	}
	if u.used >= limit || now.Before(u.blocked) {
		if ours {
			u.refused++
			u.blocked = now.Add(period)
			if !u.badWindow {
				u.bad++
				u.badWindow = true
			}
		}
		left := max(u.start.Add(period).Sub(now), u.blocked.Sub(now))
		return http.StatusTooManyRequests, http.Header{"Retry-After": {strconv.Itoa(int(left/time.Second) + 1)}}
	}
	u.used++
	if ours {
		u.served++
	}
	return http.StatusOK, http.Header{"X-Ratelimit-Limit": {strconv.Itoa(limit)}, "X-Ratelimit-Remaining": {strconv.Itoa(limit - u.used)},
		"X-Ratelimit-Reset": {strconv.Itoa(int((u.start.Add(period).Sub(now) + time.Second - 1) / time.Second))}}
}

func (u *upstream) call() (int, http.Header) {
	time.Sleep(u.way())
	status, h := u.count(true)
	time.Sleep(u.way())
	return status, h
}

var operation = &catalog.Operation{ID: "v1-get-project", Class: &catalog.Class{Name: "default", Limits: []catalog.Limit{{N: limit, Window: period}}}}

func client(t *testing.T, server *redis.Server) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr(), ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1, ConnMaxIdleTime: -1, PoolTimeout: time.Hour,
		Dialer: func(_ context.Context, network, address string) (net.Conn, error) { return net.Dial(network, address) }})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run is one simulation: teams saturate three replicas, and what is given runs beside them.
func run(t *testing.T, length time.Duration, config limiter.Config, weights map[string]int, beside func(ctx context.Context, u *upstream, replicas []*limiter.Shared)) (u *upstream, served map[string]int, worst float64) {
	server := redis.Start(t)
	synctest.Test(t, func(t *testing.T) {
		u = &upstream{rand: rand.New(rand.NewPCG(1, 2))}
		config.MaxWait, config.Granularity = 10*time.Minute, limiter.PerScope
		var replicas []*limiter.Shared
		for range 3 {
			s := limiter.NewShared(limiter.SharedConfig{Config: config, Client: client(t, server), Owners: []string{"bot"}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
			t.Cleanup(s.Close)
			replicas = append(replicas, s)
		}
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		var mu sync.Mutex
		served = map[string]int{}
		perWindow := map[int]map[string]int{}
		var wg sync.WaitGroup
		for _, s := range replicas {
			for team, weight := range weights {
				for range 150 / len(weights) {
					wg.Go(func() {
						for ctx.Err() == nil {
							window, err := send(ctx, s, u, limiter.Ask{Owner: "bot", Scope: "project:a", Op: operation, Team: team, Weight: weight})
							if err != nil {
								time.Sleep(time.Second)
								continue
							}
							mu.Lock()
							served[team]++
							if perWindow[window] == nil {
								perWindow[window] = map[string]int{}
							}
							perWindow[window][team]++
							mu.Unlock()
						}
					})
				}
			}
		}
		if beside != nil {
			wg.Go(func() { beside(ctx, u, replicas) })
		}
		wg.Wait()
		worst = 1
		for n, shares := range perWindow {
			if n > 1 && n < u.windows {
				worst = min(worst, jain(shares, weights))
			}
		}
	})
	return u, served, worst
}

func send(ctx context.Context, s *limiter.Shared, u *upstream, a limiter.Ask) (window int, err error) {
	slot, err := s.Acquire(ctx, a)
	for err == nil {
		status, h := u.call()
		slot.Learn(status, h)
		if status == http.StatusOK {
			u.mu.Lock()
			defer u.mu.Unlock()
			return u.windows, nil
		}
		slot, err = slot.Retry(ctx)
	}
	return 0, err
}

func jain(served, weights map[string]int) float64 {
	sum, squares := 0.0, 0.0
	for team, weight := range weights {
		x := float64(served[team]) / float64(weight)
		sum, squares = sum+x, squares+x*x
	}
	return sum * sum / (float64(len(weights)) * squares)
}

// peer is another way to limit: whether a request may go now. All replicas share it without delay, better than it could be.
func peer(t *testing.T, length time.Duration, allow func(now time.Time) bool) (u *upstream) {
	synctest.Test(t, func(t *testing.T) {
		u = &upstream{rand: rand.New(rand.NewPCG(1, 2))}
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 450 {
			wg.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					goes := allow(time.Now())
					mu.Unlock()
					if goes {
						if status, h := u.call(); status == http.StatusTooManyRequests {
							seconds, _ := strconv.Atoi(h.Get("Retry-After"))
							time.Sleep(time.Duration(seconds) * time.Second)
						}
					} else {
						time.Sleep(250 * time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
	})
	return u
}

func TestReport(t *testing.T) {
	if *report == "" {
		t.Skip("say -report FILE to measure")
	}
	long := time.Duration(*hours * float64(time.Hour))
	short := long / 24
	var out strings.Builder
	row := func(what, must, got string) {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", what, must, got)
		t.Log(what, got)
	}
	used := func(u *upstream, d time.Duration) string {
		return fmt.Sprintf("%.2f %%", 100*float64(u.served)/(d.Minutes()*limit))
	}

	u, _, _ := run(t, long, limiter.Config{}, map[string]int{"a": 1}, nil)
	row(fmt.Sprintf("upstream 429s in %g simulated hours, saturated, 3 replicas, 20 to 150 ms", *hours), "0", strconv.Itoa(u.refused))
	row("quota used in them", "≥ 99 %", used(u, long))
	for _, weights := range []map[string]int{{"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 4}} {
		u, served, worst := run(t, short, limiter.Config{}, weights, nil)
		row(fmt.Sprintf("Jain index, weights %d:%d:%d", weights["a"], weights["b"], weights["c"]), "≥ 0.99", fmt.Sprintf("%.4f overall, %.4f in the worst window, %d 429s", jain(served, weights), worst, u.refused))
	}
	var waits []time.Duration
	run(t, short, limiter.Config{}, map[string]int{"heavy": 1}, func(ctx context.Context, u *upstream, replicas []*limiter.Shared) {
		for i := 0; ctx.Err() == nil; i++ {
			slot, err := replicas[i%3].Acquire(ctx, limiter.Ask{Owner: "bot", Scope: "project:a", Op: operation, Team: "light", Weight: 1})
			if err == nil {
				waits = append(waits, slot.Waited())
				slot.Learn(u.call())
			}
			time.Sleep(5 * time.Second)
		}
	})
	slices.Sort(waits)
	row("wait of a light team beside a saturating one", "≤ 60 s, median < 1 s", fmt.Sprintf("longest %s, median %s", waits[len(waits)-1].Round(time.Millisecond), waits[len(waits)/2].Round(time.Millisecond)))
	u, _, _ = run(t, short, limiter.Config{Headroom: 2}, map[string]int{"a": 1}, func(ctx context.Context, u *upstream, _ []*limiter.Shared) {
		for ctx.Err() == nil {
			time.Sleep(time.Duration(rand.ExpFloat64() * float64(period) / (limit / 10)))
			u.count(false)
		}
	})
	row("windows with a 429 of ours, outsiders spending 10 %, headroom 2", "< 1 %", fmt.Sprintf("%.2f %% (%d of %d)", 100*float64(u.bad)/float64(u.windows), u.bad, u.windows))
	trips, ratio := throughput(t)
	row("Redis round trips per granted, uncontended request", "1", fmt.Sprintf("%.3f", trips))
	row("reservations/s against plain EVALSHA of an empty three-key script, same client, same run", "≥ 0.8", fmt.Sprintf("%.2f", ratio))

	interval := period / limit
	var theoretical time.Time
	gcra := peer(t, short, func(now time.Time) bool { // the formula of go-redis/redis_rate: burst 120, one more every half second
		next := theoretical
		if next.Before(now) {
			next = now
		}
		if next.Add(interval).Sub(now) > period {
			return false
		}
		theoretical = next.Add(interval)
		return true
	})
	row("peer: GCRA by its formula, 120 a minute, burst 120", "", fmt.Sprintf("%d 429s, %s used", gcra.refused, used(gcra, short)))
	var minute, n int
	wall := peer(t, short, func(now time.Time) bool {
		if m := int(now.Add(17*time.Second).Unix() / 60); m != minute {
			minute, n = m, 0
		}
		n++
		return n <= limit
	})
	row("peer: windows by the wall clock, 120 each", "", fmt.Sprintf("%d 429s, %s used", wall.refused, used(wall, short)))
	if err := os.WriteFile(*report, []byte(fmt.Sprintf(header, *hours)+out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

const header = "# The limiter, measured\n\n`go test ./bench/limiter -run TestReport -report $PWD/bench/results/limiter.md -hours %g -timeout 2h`\n\n" +
	"Limit: 120 a minute; one request too many blocks for a whole window. Long run first; the others take a twenty-fourth of its time.\n\n" +
	"A peer's clients wait as long as upstream says after a 429, and still meet the next: each one blocks the window anew. GCRA is run by\n" +
	"its formula, since the script of `go-redis/redis_rate` asks Redis for the time, and Redis cannot be told a simulated one. The library\n" +
	"itself runs beside the limiter in real time in [limiter-peers.md](limiter-peers.md).\n\n| what | must reach | reached |\n|---|---|---|\n"

// counter counts round trips.
type counter struct{ scripts int }

func (c *counter) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (c *counter) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}
func (c *counter) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.scripts++
		return next(ctx, cmd)
	}
}

// throughput measures, in real time, round trips per grant one after another, and grants by many callers at a time against
// as many plain scripts.
func throughput(t *testing.T) (trips, ratio float64) {
	server := redis.Start(t)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	count := &counter{}
	roomy := &catalog.Operation{ID: "v1-roomy", Class: &catalog.Class{Name: "roomy", Limits: []catalog.Limit{{N: 1 << 40, Window: time.Minute}}}}
	s := limiter.NewShared(limiter.SharedConfig{Client: c, Config: limiter.Config{Granularity: limiter.PerScope}, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	acquire := func() *limiter.Slot {
		slot, err := s.Acquire(t.Context(), limiter.Ask{Owner: "bot", Scope: "project:a", Op: roomy, Team: "a", Weight: 1})
		if err != nil {
			t.Fatal(err)
		}
		return slot
	}
	acquire().Learn(http.StatusOK, nil)
	time.Sleep(500 * time.Millisecond)
	c.AddHook(count)
	var held []*limiter.Slot
	const sequential = 200
	for range sequential {
		held = append(held, acquire())
	}
	trips = float64(count.scripts) / sequential
	for _, slot := range held {
		slot.Learn(http.StatusOK, nil)
	}
	empty := goredis.NewScript("return 0")
	each := func(callers, n int, do func()) float64 {
		began := time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range n {
					do()
				}
			})
		}
		wg.Wait()
		return float64(callers*n) / time.Since(began).Seconds()
	}
	plain, ours := 0.0, 0.0
	for range 3 { // the best of three each, side by side
		plain = max(plain, each(16, 500, func() { empty.Run(t.Context(), c, []string{"{a}1", "{a}2", "{a}3"}) }))
		ours = max(ours, each(16, 500, func() { acquire().Learn(http.StatusOK, nil) }))
	}
	return trips, ours / plain
}
