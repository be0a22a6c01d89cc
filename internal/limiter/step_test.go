package limiter_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/test/redis"
)

// Redis's clock is set, forwards and backwards, by less than a window and by more: upstream's windows do not end for that,
// and nobody waits until a clock shows again what it showed before.
func TestRedisClockIsSet(t *testing.T) {
	for name, step := range map[string]time.Duration{"a little ahead": 10 * time.Second, "an hour ahead": time.Hour, "a little back": -10 * time.Second, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := redis.Start(t)
			synctest.Test(t, func(t *testing.T) {
				var set atomic.Int64
				f := newFleet(t, server, 3, func() time.Time { return time.Now().Add(time.Duration(set.Load())) })
				const windows = 8
				ctx, cancel := context.WithTimeout(t.Context(), windows*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				f.saturate(ctx, &wg, ask("a", 1), 20, func() {})
				for range 4 {
					time.Sleep(windows * time.Minute / 5)
					synctest.Wait() // Redis reads its clock as it takes a letter; these have read it before they are sent
					set.Add(int64(step))
				}
				wg.Wait()
				f.wantNoRefusals()
				if used := float64(f.upstream.served) / (windows * 120); used < 0.9 {
					t.Errorf("used %.1f %% of the quota, want 90 %%", 100*used)
				}
			})
		})
	}
}
