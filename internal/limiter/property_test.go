package limiter_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// world is one upstream, its network and its clients, all drawn from a seed.
type world struct {
	*upstream
	config    limiter.Config
	ops       []*catalog.Operation
	loses     float64 // chance that an answer never comes
	unsent    float64 // chance that a granted request is not sent
	headerful float64 // chance that an answer carries the headers
	lazy      bool    // clients pause between requests
}

// newWorld draws a world. Nothing in it takes longer than transit to reach upstream, and nobody else spends the quota.
func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 2))
	chance := func(p, x float64) float64 {
		if r.Float64() < p {
			return x
		}
		return 0
	}
	w := &world{upstream: newUpstream(seed), headerful: 1 - chance(0.3, 0.5), loses: chance(0.3, 0.1), unsent: chance(0.3, 0.1), lazy: r.IntN(2) == 0}
	w.blocks, w.millis, w.silent = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(4) == 0
	w.min = time.Duration(r.IntN(200)) * time.Millisecond
	w.max = w.min + time.Duration(r.ExpFloat64()*float64(time.Second))
	w.max = min(w.max, 15*time.Second)
	w.perEndpoint = r.IntN(2) == 0
	w.config = limiter.Config{MaxWait: time.Hour, Headroom: r.IntN(2)}
	if !w.perEndpoint && r.IntN(2) == 0 {
		w.config.Granularity = limiter.PerScope
	}
	if w.perEndpoint && r.IntN(2) == 0 {
		w.config.Granularity = limiter.PerEndpoint
	}
	if w.silent {
		w.headerful = 1 // none carries them
	}
	period := []time.Duration{time.Minute, 3 * time.Minute, 20 * time.Second, 3 * time.Second}[r.IntN(4)]
	limits := []catalog.Limit{{N: 1 + r.IntN(120), Window: period}}
	if r.IntN(4) == 0 {
		limits = append(limits, catalog.Limit{N: 1 + r.IntN(3), Window: time.Second})
	}
	c := class("drawn", limits...)
	for _, id := range []string{"v1-one", "v1-two", "v1-three"}[:1+r.IntN(3)] {
		w.ops = append(w.ops, operation(id, c))
	}
	return w
}

// request is one request from end to end, with what can happen to it.
func (w *world) request(slot *limiter.Slot, op *catalog.Operation) {
	w.mu.Lock()
	luck, header := w.rand.Float64(), w.rand.Float64() < w.headerful
	w.mu.Unlock()
	switch {
	case luck < w.unsent:
		slot.Unsent()
	case luck < w.unsent+w.loses/4: // on its way there
		time.Sleep(w.way())
		slot.Lost()
	case luck < w.unsent+w.loses/2: // given up early, and counted long after
		slot.Lost()
		time.Sleep(min(w.pause(3*time.Second), 9*time.Second)) // within what is assumed of the way there
		w.count(project, op)
	case luck < w.unsent+w.loses: // on its way back, or later than the caller is willing to wait
		time.Sleep(w.way())
		w.count(project, op)
		slot.Lost()
	default:
		status, h := w.call(project, op)
		if !header && status == http.StatusOK {
			h = nil
		}
		slot.Learn(status, h)
	}
}

// inRedis is how many worlds are also tried with Redis, which answers in real time.
const inRedis = 4

// neverTooMany runs a world for a while and fails if upstream had to refuse anything.
func neverTooMany(t *testing.T, seed uint64, length time.Duration) {
	where := inMemory
	if seed < inRedis {
		where = kept
	}
	where(t, func(t *testing.T, open opener) {
		w := newWorld(seed)
		m := open(w.config)
		ctx, cancel := context.WithTimeout(t.Context(), span(m, length))
		defer cancel()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				a := limiter.Ask{Owner: "bot", Scope: project, Op: w.ops[i%len(w.ops)], Team: "a"}
				for ctx.Err() == nil {
					slot, err := m.Acquire(ctx, a)
					if err != nil { // refused at once where the queue is too long
						time.Sleep(time.Second)
						continue
					}
					w.request(slot, a.Op)
					if w.lazy {
						time.Sleep(w.pause(30 * time.Second))
					}
				}
			})
		}
		wg.Wait()
		if w.refused != 0 {
			t.Errorf("seed %d: upstream answered 429 %d times in %s, want 0: %+v", seed, w.refused, length, describe(w))
		}
		if w.served == 0 {
			t.Errorf("seed %d: nothing was served: %+v", seed, describe(w))
		}
	})
}

func describe(w *world) map[string]any {
	return map[string]any{"limits": w.ops[0].Class.Limits, "operations": len(w.ops), "config": w.config, "per endpoint": w.perEndpoint, "ms": w.millis,
		"silent": w.silent, "latency": [2]time.Duration{w.min, w.max}, "loses": w.loses, "unsent": w.unsent, "headerful": w.headerful, "lazy": w.lazy}
}

// Whatever the network does and upstream says: no window as upstream counts it sees more than its limit.
func TestNeverTooMany(t *testing.T) {
	for seed := range uint64(30) {
		neverTooMany(t, seed, 30*time.Minute)
	}
	// Found by drawing many: first requests that are lost, and two endpoints whose windows end one after the other.
	for _, seed := range []uint64{135, 1340} {
		neverTooMany(t, seed, 30*time.Minute)
	}
}

func FuzzNeverTooMany(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { neverTooMany(t, seed, time.Hour) })
}
