package limiter_test

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// roomy is an operation whose limit no benchmark reaches.
var roomy = operation("v1-roomy", class("roomy", catalog.Limit{N: 1 << 40, Window: time.Minute}))

// An uncontended request: a slot, and what the answer teaches.
func BenchmarkAcquire(b *testing.B) {
	told := http.Header{"X-Ratelimit-Limit": {strconv.Itoa(1 << 40)}, "X-Ratelimit-Remaining": {strconv.Itoa(1<<40 - 1)}, "X-Ratelimit-Reset": {"60"}}
	for _, bench := range []struct {
		name        string
		granularity limiter.Granularity
		header      http.Header
	}{
		{"scope", limiter.PerScope, told},
		{"endpoint", limiter.PerEndpoint, told},
		{"auto", limiter.Auto, told},
		{"silent upstream", limiter.PerScope, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := limiter.New(limiter.Config{Granularity: bench.granularity})
			a := limiter.Ask{Owner: "bot", Scope: project, Op: roomy, Team: "a", Weight: 1}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				slot, err := m.Acquire(ctx, a)
				if err != nil {
					b.Fatal(err)
				}
				slot.Learn(http.StatusOK, bench.header)
			}
		})
	}
}

// The same in many scopes at a time.
func BenchmarkAcquireParallel(b *testing.B) {
	m := limiter.New(limiter.Config{})
	var workers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		a := limiter.Ask{Owner: "bot", Scope: "project:" + strconv.FormatInt(workers.Add(1), 10), Op: roomy, Team: "a", Weight: 1}
		for pb.Next() {
			slot, err := m.Acquire(context.Background(), a)
			if err != nil {
				b.Fatal(err)
			}
			slot.Learn(http.StatusOK, nil)
		}
	})
}

// The attack: a thousand teams hold a queue full, and one more request asks to be let in.
func BenchmarkRefusedByAFullQueue(b *testing.B) {
	m := limiter.New(limiter.Config{MaxWait: 24 * time.Hour, QueuePerBucket: 2000})
	closed := operation("v1-closed", class("closed", catalog.Limit{N: 1, Window: 24 * time.Hour}))
	a := limiter.Ask{Owner: "bot", Scope: project, Op: closed, Team: "first", Weight: 1}
	slot, err := m.Acquire(context.Background(), a)
	if err != nil {
		b.Fatal(err)
	}
	slot.Learn(http.StatusOK, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for team := range 1000 {
		for range 2 {
			a.Team = "team-" + strconv.Itoa(team)
			go m.Acquire(ctx, a)
		}
	}
	for len(m.Snapshot()[0].Waiting) < 1000 {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Acquire(context.Background(), a); err == nil {
			b.Fatal("let in")
		}
	}
}
