package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

func TestADeafReplicaDoesNotTrustItsMemory(t *testing.T) {
	c := newCluster(t, cache.Config{StaleIfError: time.Minute})
	var down atomic.Bool
	a := c.replica(func(n int, _ http.Header) (*cache.Answer, error) {
		if down.Load() {
			return nil, errDown
		}
		return ok(fmt.Sprint(n)), nil
	})
	a.get()
	if s := a.get(); s.result.Status != cache.Hit {
		t.Fatalf("before: %s", s.cacheStatus())
	}
	c.server.Kill()
	within(t, 2*time.Second, "it stops trusting", func() bool { s, _ := a.cache.SharedStats(); return !s.Trusted })
	before := a.unanswered()
	if s := a.get(); s.Body.String() != "2" || s.err != nil {
		t.Errorf("deaf: %q %s %v", s.Body, s.cacheStatus(), s.err)
	}
	if a.unanswered() != before {
		t.Error("the read waited for Redis")
	}
	down.Store(true)
	if s := a.get(); !errors.Is(s.err, errDown) {
		t.Errorf("what may be older than a write stands in for an answer: %s", s.cacheStatus())
	}
	down.Store(false)
	within(t, 5*time.Second, "writes do not wait any more", func() bool {
		start := time.Now()
		a.cache.Invalidate("project:a")
		return time.Since(start) < 20*time.Millisecond
	})
	c.server.Restart()
	within(t, 10*time.Second, "it trusts again", func() bool { s, _ := a.cache.SharedStats(); return s.Trusted })
	if s := a.get(); s.result.Status == cache.Hit {
		t.Errorf("after the outage: %s", s.cacheStatus())
	}
	if s := a.get(); s.result.Status != cache.Hit {
		t.Errorf("then: %s", s.cacheStatus())
	}
}

func TestADeafReplicaStillCoalesces(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a := c.replica(answers())
	c.server.Kill()
	within(t, 2*time.Second, "it stops trusting", func() bool { s, _ := a.cache.SharedStats(); return !s.Trusted })
	a.slow()
	for _, s := range a.together(300) {
		if s.err != nil {
			t.Fatal(s.err)
		}
	}
	if n := a.calls.Load(); n > 3 {
		t.Errorf("%d upstream calls for 300 reads at once", n)
	}
}

// Property: a read that starts on any replica after a write's Invalidate has returned on any other never sees a state
// from before that write, while Redis is paused, killed and flushed.
func TestFencePropertyAcrossReplicas(t *testing.T) {
	c := newCluster(t, cache.Config{StaleIfError: time.Minute})
	var state, told atomic.Int64
	upstream := func(n int, sent http.Header) (*cache.Answer, error) {
		time.Sleep(rand.N(2 * time.Millisecond))
		seen := strconv.FormatInt(state.Load(), 10)
		time.Sleep(rand.N(10 * time.Millisecond))
		switch {
		case n%17 == 0:
			return nil, errDown
		case sent.Get("If-None-Match") == `"`+seen+`"`:
			return answer(304, ""), nil
		}
		return ok(seen, `Etag: "`+seen+`"`, "Cache-Control: max-age=60, stale-while-revalidate=5"), nil
	}
	replicas := []*world{c.untrusting(upstream), c.untrusting(upstream), c.untrusting(upstream)}
	c.trusting(replicas...)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var reads, hits, writes atomic.Int64
	group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(rand.N(40 * time.Millisecond))
			write := state.Add(1)
			replicas[i%len(replicas)].cache.Invalidate("project:a")
			told.Store(write)
			writes.Add(1)
		}
	})
	for i := range 9 {
		group.Go(func() {
			w := replicas[i%len(replicas)]
			for ctx.Err() == nil {
				time.Sleep(rand.N(3 * time.Millisecond))
				floor := told.Load()
				s := w.get()
				if s.err != nil {
					continue
				}
				reads.Add(1)
				if s.result.Status == cache.Hit {
					hits.Add(1)
				}
				if got, _ := strconv.ParseInt(s.Body.String(), 10, 64); got < floor {
					t.Errorf("a read on replica %d after write %d saw %d (%s)", i%len(replicas), floor, got, s.cacheStatus())
				}
			}
		})
	}
	run := func(d time.Duration) { time.Sleep(d) } // the property is about what happens meanwhile
	run(time.Second)
	c.server.Flush()
	run(time.Second)
	for _, pause := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second} {
		c.server.Pause()
		run(pause)
		c.server.Resume()
		run(time.Second)
	}
	c.server.Kill()
	run(time.Second)
	c.server.Restart()
	run(2 * time.Second)
	// With hardly any hits the test would test nothing. A busy machine may take longer to have them.
	within(t, 30*time.Second, "a twentieth of the reads are hits", func() bool { return hits.Load() >= reads.Load()/20 })
	cancel()
	group.Wait()
	c.trusting(replicas...)
	t.Logf("%d writes, %d reads, %d of them hits in memory or Redis", writes.Load(), reads.Load(), hits.Load())
}
