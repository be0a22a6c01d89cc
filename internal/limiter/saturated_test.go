package limiter_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// A saturated bucket spends at least 99 % of N per T, hour after hour, and upstream never says 429.
func TestSaturated(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(*upstream)
		config limiter.Config
		least  float64 // of N per T
	}{
		{name: "seconds", least: 0.99},
		{name: "milliseconds", set: func(u *upstream) { u.millis = true }, least: 0.99},
		{name: "no headers", set: func(u *upstream) { u.silent = true }, least: 0.99},
		{name: "overshoot blocks", set: func(u *upstream) { u.blocks = true }, least: 0.99},
		{name: "slow and uneven", set: func(u *upstream) { u.max = 3 * time.Second }, least: 0.93},
		{name: "forced per scope", config: limiter.Config{Granularity: limiter.PerScope}, least: 0.99},
		{name: "per endpoint", set: func(u *upstream) { u.perEndpoint = true }, config: limiter.Config{Granularity: limiter.PerEndpoint}, least: 0.99},
		{name: "headroom", config: limiter.Config{Headroom: 2}, least: 0.97},
	} {
		t.Run(test.name, func(t *testing.T) {
			kept(t, func(t *testing.T, open opener) {
				u := newUpstream(7, standard)
				u.blocks = true
				if test.set != nil {
					test.set(u)
				}
				test.config.MaxWait = 10 * time.Minute
				m := open(test.config)
				ctx, cancel := context.WithTimeout(t.Context(), span(m, time.Hour))
				defer cancel()
				var wg sync.WaitGroup
				saturate(ctx, &wg, m, u, ask("a", 1), 150, func() {})
				wg.Wait()
				if u.refused != 0 {
					t.Errorf("upstream answered 429 %d times, want 0", u.refused)
				}
				ideal := span(m, time.Hour).Minutes() * float64(standard.N)
				if used := float64(u.served) / ideal; used < test.least {
					t.Errorf("used %.2f %% of the quota, want %.0f %%", 100*used, 100*test.least)
				}
			})
		})
	}
}

// Two limits on one operation: both hold, and the tighter one is spent.
func TestTwoLimitsOnOneOperation(t *testing.T) {
	kept(t, func(t *testing.T, open opener) {
		u := newUpstream(3)
		u.blocks = true
		m := open(patientConfig())
		a := ask("a", 1)
		a.Op = operation("v1-get-database-context", class("context", catalog.Limit{N: 10, Window: time.Minute}, catalog.Limit{N: 1, Window: time.Second}))
		ctx, cancel := context.WithTimeout(t.Context(), span(m, time.Hour))
		defer cancel()
		var wg sync.WaitGroup
		saturate(ctx, &wg, m, u, a, 20, func() {})
		wg.Wait()
		if u.refused != 0 {
			t.Errorf("upstream answered 429 %d times, want 0", u.refused)
		}
		if used := float64(u.served) / (span(m, time.Hour).Minutes() * 10); used < 0.99 {
			t.Errorf("used %.2f %% of the quota, want 99 %%", 100*used)
		}
	})
}
