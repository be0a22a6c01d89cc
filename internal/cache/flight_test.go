package cache_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
)

// gate makes the world's fetches wait before they are sent, until it is opened.
func (w *world) gate() (open func()) {
	gate := make(chan struct{})
	w.sending = func(ctx context.Context, _ *cache.Fill) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return func() { close(gate) }
}

// slow makes upstream take a second for each answer.
func (w *world) slow() {
	fast := w.upstream
	w.upstream = func(n int, sent http.Header) (*cache.Answer, error) {
		time.Sleep(time.Second)
		return fast(n, sent)
	}
}

// together asks n times at once and returns what everybody got.
func (w *world) together(n int, lines ...string) []served {
	all := make([]served, n)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = w.get(lines...) })
	}
	group.Wait()
	return all
}

func TestThousandIdenticalColdReadsAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.slow()
		collapsed := 0
		for _, s := range w.together(1000) {
			if s.Body.String() != "body 1" || s.err != nil {
				t.Fatalf("somebody got %q, %v", s.Body, s.err)
			}
			if s.result.Status == cache.Collapsed {
				collapsed++
				if want := "gateway; fwd=uri-miss; fwd-status=200; ttl=59; stored; collapsed"; s.cacheStatus() != want {
					t.Fatalf("Cache-Status = %q, want %q", s.cacheStatus(), want)
				}
			}
		}
		if n := w.calls.Load(); n != 1 || collapsed != 999 {
			t.Errorf("%d upstream calls, %d collapsed; want 1 and 999", n, collapsed)
		}
	})
}

// An answer need not be storable to be shared by those who waited for it, unless upstream forbids that.
func TestWhatIsSharedInFlight(t *testing.T) {
	for _, row := range []struct {
		name   string
		rule   cache.Rule
		answer *cache.Answer
		calls  int64 // for ten at once
	}{
		{"stored", cache.Rule{TTL: ten}, ok("x"), 1},
		{"without a lifetime", cache.Rule{}, ok("x"), 1},
		{"an error", cache.Rule{}, answer(503, "x", "Cache-Control: no-store"), 1},
		{"no-store", cache.Rule{}, ok("x", "Cache-Control: no-store"), 10},
		{"private", cache.Rule{}, ok("x", "Cache-Control: private"), 10},
		{"a cookie", cache.Rule{TTL: ten}, ok("x", "Set-Cookie: a=b"), 10},
		{"vary star", cache.Rule{TTL: ten}, ok("x", "Vary: *"), 10},
		{"a secret", cache.Rule{TTL: ten, Secret: true}, ok("x"), 10},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.rule = row.rule
			w.upstream = func(int, http.Header) (*cache.Answer, error) { a := *row.answer; return &a, nil }
			w.slow()
			w.together(10)
			if n := w.calls.Load(); n != row.calls {
				t.Errorf("%d upstream calls, want %d", n, row.calls)
			}
		})
	}
	bubble(t, "not across selecting headers", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60", "Vary: Foo")
		w.slow()
		var group sync.WaitGroup
		var a, b served
		group.Go(func() { a = w.get("Foo: 1") })
		group.Go(func() { b = w.get("Foo: 2") })
		group.Wait()
		if w.calls.Load() != 2 || a.Body.String() == b.Body.String() {
			t.Errorf("Foo: 1 got %q, Foo: 2 got %q", a.Body, b.Body)
		}
	})
	bubble(t, "not across credential views", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.slow()
		go w.get()
		synctest.Wait()
		w.key.View = "another"
		if s := w.get(); s.Body.String() != "body 2" {
			t.Errorf("another view got %q", s.Body)
		}
	})
}

func TestFetchOutlivesALeaderThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		open := w.gate()
		ctx, leave := context.WithCancel(t.Context())
		var leader, follower served
		var group sync.WaitGroup
		group.Go(func() { leader = w.ask(ctx, "GET") })
		synctest.Wait()
		group.Go(func() { follower = w.get() })
		synctest.Wait()
		leave()
		synctest.Wait()
		open()
		group.Wait()
		if !errors.Is(leader.err, context.Canceled) {
			t.Errorf("the leader got %v", leader.err)
		}
		if follower.Body.String() != "body 1" || w.calls.Load() != 1 {
			t.Errorf("the follower got %q after %d calls", follower.Body, w.calls.Load())
		}
	})
}

func TestSentFetchGoesOnThoughEverybodyLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.slow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if s := w.ask(ctx, "GET"); !errors.Is(s.err, context.DeadlineExceeded) {
			t.Errorf("the client got %v", s.err)
		}
		time.Sleep(2 * time.Second)
		if s := w.get(); s.result.Status != cache.Hit {
			t.Errorf("the answer that was paid for is lost: %s", s.cacheStatus())
		}
	})
}

// A queue of calls that nobody waits for any more must not build up.
func TestAbandonedFetchIsGivenUpBeforeItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers()
		w.gate()
		ctx, leave := context.WithCancel(t.Context())
		go w.ask(ctx, "GET")
		go w.ask(ctx, "GET")
		synctest.Wait()
		if n := w.cache.Stats().Flights; n != 1 {
			t.Errorf("%d flights, want 1", n)
		}
		leave()
		synctest.Wait()
		if n := w.cache.Stats().Flights; n != 0 || w.calls.Load() != 0 {
			t.Errorf("%d flights, %d calls after everybody left", n, w.calls.Load())
		}
	})
}

func TestSentReportsThatEverybodyHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers()
		w.sending = func(context.Context, *cache.Fill) error { time.Sleep(time.Second); return nil } // deaf to its ctx
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		w.ask(ctx, "GET")
		time.Sleep(2 * time.Second)
		if n := w.calls.Load(); n != 0 {
			t.Errorf("it was sent all the same")
		}
	})
}

func TestFollowersHaveTheirOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.slow()
		go w.get()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		s := w.ask(ctx, "GET")
		if !errors.Is(s.err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(start), s.err)
		}
		if s := w.get(); s.Body.String() != "body 1" {
			t.Errorf("a patient follower got %q", s.Body)
		}
	})
}

func TestErrorsGoToEveryoneWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = func(int, http.Header) (*cache.Answer, error) { return nil, errDown }
		w.slow()
		for _, s := range w.together(10) {
			if !errors.Is(s.err, errDown) {
				t.Errorf("somebody got %v", s.err)
			}
		}
		if n := w.calls.Load(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		w.together(1)
		if n := w.calls.Load(); n != 2 {
			t.Error("the error was remembered")
		}
	})
}

func TestFetchThatNeverEndsTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{Timeout: time.Minute})
		w.gate()
		start := time.Now()
		for _, s := range w.together(3) {
			if !errors.Is(s.err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("after %s: %v", time.Since(start), s.err)
			}
		}
	})
}

func TestPanicInAFetchIsAnError(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = func(int, http.Header) (*cache.Answer, error) { panic("ouch") }
	if s := w.get(); s.err == nil || !strings.Contains(s.err.Error(), "ouch") {
		t.Errorf("got %v", s.err)
	}
	w.upstream = func(int, http.Header) (*cache.Answer, error) { return nil, nil }
	if s := w.get(); s.err == nil {
		t.Error("no answer and no error was taken for an answer")
	}
}

// A body over the bound streams to one request; the others get their own.
func TestLargeBodyStreamsToOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{MaxBody: 4})
		w.rule.TTL = ten
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			return w.cache.Read(&http.Response{StatusCode: 200, Header: header(), ContentLength: -1, Body: io.NopCloser(strings.NewReader("0123456789"))})
		}
		w.slow()
		for _, s := range w.together(3) {
			if s.Body.String() != "0123456789" || s.result.Stored || s.err != nil {
				t.Errorf("got %q, %+v, %v", s.Body, s.result, s.err)
			}
		}
		if n := w.calls.Load(); n != 3 {
			t.Errorf("%d calls, want one each", n)
		}
	})
}

func TestLargeBodyIsClosedWhenItsRequestHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{MaxBody: 4})
		body := &closer{Reader: strings.NewReader("0123456789")}
		w.upstream = func(int, http.Header) (*cache.Answer, error) {
			return w.cache.Read(&http.Response{StatusCode: 200, Header: header(), ContentLength: 10, Body: body})
		}
		w.slow()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		w.ask(ctx, "GET")
		time.Sleep(2 * time.Second)
		if !body.closed.Load() {
			t.Error("upstream's connection is held for nobody")
		}
	})
}

// The stream's context must live as long as the stream, and end with its request.
func TestLargeBodyLivesAsLongAsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cache.Config{Timeout: time.Second})
		var fetching context.Context
		fetch := func(ctx context.Context, fill *cache.Fill) (*cache.Answer, error) {
			fetching = ctx
			return &cache.Answer{Status: 200, Header: header(), Rest: &closer{Reader: strings.NewReader("x")}}, nil
		}
		for _, rule := range []cache.Rule{{}, {Secret: true}} {
			ctx, leave := context.WithCancel(t.Context())
			result, err := w.cache.Fetch(ctx, cache.Request{Key: w.key}, rule, fetch)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if fetching.Err() != nil {
				t.Errorf("%+v: the stream was cut off: %v", rule, context.Cause(fetching))
			}
			leave()
			synctest.Wait()
			if fetching.Err() == nil {
				t.Errorf("%+v: the stream outlives its request", rule)
			}
			result.Rest.Close()
		}
	})
}
