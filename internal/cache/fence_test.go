package cache_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
)

func TestInvalidateTouchesItsScopesOnly(t *testing.T) {
	for _, row := range []struct {
		scope string
		kept  bool
	}{
		{"project:a", false},
		{"account", false},
		{cache.OperationScope("v1-get-project"), false},
		{cache.PathScope("/v1/projects/a"), false},
		{"project:b", true},
		{"organization:a", true},
		{cache.PathScope("/v1/projects"), true},
		{"", true},
	} {
		w := newWorld(t, cache.Config{})
		w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a", "account"}}
		w.upstream = answers()
		w.get()
		w.cache.Invalidate(row.scope)
		if s := w.get(); (s.result.Status == cache.Hit) != row.kept {
			t.Errorf("after a write to %q: %s, want kept = %t", row.scope, s.cacheStatus(), row.kept)
		}
	}
}

// What a write touched may be asked for by its validator: upstream then says whether it changed.
func TestInvalidatedAnswerIsValidated(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.rule.Scopes = []string{"project:a"}
	w.upstream = func(n int, sent http.Header) (*cache.Answer, error) {
		if sent.Get("If-None-Match") == `"a"` {
			return answer(304, ""), nil
		}
		return ok("x", "Cache-Control: max-age=60", `Etag: "a"`), nil
	}
	w.get()
	w.cache.Invalidate("project:a")
	if s := w.get(); s.result.Status != cache.Revalidated || s.Body.String() != "x" {
		t.Errorf("%s %q", s.cacheStatus(), s.Body)
	}
	if s := w.get(); s.result.Status != cache.Hit {
		t.Errorf("then %s", s.cacheStatus())
	}
}

// So may what it touched while upstream was confirming it.
func TestWhatWasConfirmedDuringAWriteIsValidatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.rule.Scopes = []string{"project:a"}
		w.upstream = func(n int, sent http.Header) (*cache.Answer, error) {
			time.Sleep(time.Second)
			if sent.Get("If-None-Match") == `"a"` {
				return answer(304, ""), nil
			}
			return ok("x", "Cache-Control: max-age=10", `Etag: "a"`), nil
		}
		w.get()
		go w.get("Cache-Control: no-cache")
		synctest.Wait()
		w.cache.Invalidate("project:a")
		time.Sleep(2 * time.Second)
		if s := w.get(); s.result.Status != cache.Revalidated {
			t.Errorf("%s, want it asked for by its validator", s.cacheStatus())
		}
	})
}

// Threat 6: a read that began before a write stored after it.
func TestReadThatBeganBeforeAWriteIsNotStoredAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a"}}
		w.upstream = answers()
		w.slow()
		go func() {
			if s := w.get(); s.cacheStatus() != "gateway; fwd=uri-miss; fwd-status=200; detail=write-between" {
				t.Errorf("Cache-Status = %q", s.cacheStatus())
			}
		}()
		synctest.Wait()
		w.cache.Invalidate("project:a")
		time.Sleep(2 * time.Second)
		if s := w.get(); s.Body.String() != "body 2" {
			t.Errorf("after the write: %q", s.Body)
		}
	})
}

func TestReadAfterAWriteDoesNotJoinAFetchFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a"}}
		w.upstream = answers()
		w.slow()
		go w.get()
		synctest.Wait()
		w.cache.Invalidate("project:a")
		go w.get()
		synctest.Wait()
		if s := w.get(); s.Body.String() != "body 2" || s.result.Status != cache.Collapsed {
			t.Errorf("after the write: %q %s", s.Body, s.cacheStatus())
		}
		if s := w.get(); s.Body.String() != "body 2" || s.result.Status != cache.Hit {
			t.Errorf("then: %q %s", s.Body, s.cacheStatus())
		}
	})
}

// A fetch that waits in the queue while a write happens has read nothing yet: its answer is good, and may be waited for.
func TestReadSentAfterAWriteIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a"}}
		w.upstream = answers()
		w.slow()
		open := w.gate()
		go w.get()
		synctest.Wait()
		w.cache.Invalidate("project:a")
		open()
		synctest.Wait()
		if s := w.get(); s.result.Status != cache.Collapsed {
			t.Errorf("while it is under way: %s", s.cacheStatus())
		}
		if s := w.get(); s.result.Status != cache.Hit {
			t.Errorf("then: %s", s.cacheStatus())
		}
	})
}

// Property: a read that starts after a write's Invalidate never sees a state from before that write, whatever is in
// flight, joined, stored, validated, refreshed or stale meanwhile.
func TestFenceProperty(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { fenceProperty(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func fenceProperty(t *testing.T, random *rand.Rand) {
	var state, told atomic.Int64 // upstream's truth; the last write its client has heard of
	w := newWorld(t, cache.Config{StaleIfError: time.Minute})
	w.rule = cache.Rule{TTL: time.Second, Scopes: []string{"project:a"}}
	var mu sync.Mutex // guards random
	pause := func(limit time.Duration) {
		mu.Lock()
		d := time.Duration(random.Int64N(int64(limit)))
		mu.Unlock()
		time.Sleep(d)
	}
	w.sending = func(context.Context, *cache.Fill) error { pause(20 * time.Millisecond); return nil }
	w.upstream = func(n int, sent http.Header) (*cache.Answer, error) {
		pause(20 * time.Millisecond) // on the way there
		seen := strconv.FormatInt(state.Load(), 10)
		pause(50 * time.Millisecond) // on the way back
		switch {
		case n%7 == 0:
			return nil, errDown
		case sent.Get("If-None-Match") == `"`+seen+`"`:
			return answer(304, ""), nil
		}
		return ok(seen, `Etag: "`+seen+`"`, "Cache-Control: max-age=1, stale-while-revalidate=5"), nil
	}
	var group sync.WaitGroup
	group.Go(func() {
		for range 100 {
			pause(40 * time.Millisecond)
			write := state.Add(1)
			pause(20 * time.Millisecond) // the write's answer on its way back
			w.cache.Invalidate("project:a")
			told.Store(write)
		}
	})
	for range 8 {
		group.Go(func() {
			for range 100 {
				pause(30 * time.Millisecond)
				floor := told.Load()
				s := w.get()
				if s.err != nil {
					continue
				}
				if got, _ := strconv.ParseInt(s.Body.String(), 10, 64); got < floor {
					t.Errorf("a read after write %d saw %d (%s)", floor, got, s.cacheStatus())
				}
			}
		})
	}
	group.Wait()
	time.Sleep(time.Second) // let what runs in the background end
}
