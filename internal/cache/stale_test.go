package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
)

var errDown = errors.New("upstream is down")

// RFC 5861 section 4 and RFC 9111 section 4.2.4: a stale answer stands in for a failed fetch.
func TestRFC5861Section4StaleIfError(t *testing.T) {
	fails := func() (*cache.Answer, error) { return nil, errDown }
	says := func(status int) func() (*cache.Answer, error) {
		return func() (*cache.Answer, error) { return answer(status, "no", "Cache-Control: no-store"), nil }
	}
	for _, row := range []struct {
		name, control string
		configured    time.Duration
		then          func() (*cache.Answer, error)
		past          time.Duration // past its freshness
		client        string
		served        bool
	}{
		{"as configured", "max-age=1", ten, fails, 5 * time.Second, "", true},
		{"longer than configured", "max-age=1", ten, fails, ten, "", false},
		{"not configured", "max-age=1", 0, fails, 0, "", false},
		{"upstream's word", "max-age=1, stale-if-error=10", 0, fails, 5 * time.Second, "", true},
		{"upstream's word goes before the configuration", "max-age=1, stale-if-error=2", ten, fails, 5 * time.Second, "", false},
		{"500", "max-age=1", ten, says(500), time.Second, "", true},
		{"502", "max-age=1", ten, says(502), time.Second, "", true},
		{"503", "max-age=1", ten, says(503), time.Second, "", true},
		{"504", "max-age=1", ten, says(504), time.Second, "", true},
		{"429: out of quota", "max-age=1", ten, says(429), time.Second, "", true},
		{"404 is no failure", "max-age=1", ten, says(404), time.Second, "", false},
		{"must-revalidate", "max-age=1, must-revalidate", ten, fails, 0, "", false},
		{"proxy-revalidate", "max-age=1, proxy-revalidate, stale-if-error=9", ten, fails, 0, "", false},
		{"s-maxage", "s-maxage=1", ten, fails, 0, "", false},
		{"no-cache", "max-age=1, no-cache", ten, fails, 0, "", false},
		{"the client's no-cache", "max-age=1", ten, fails, 0, "Cache-Control: no-cache", false},
		{"the client's no-store", "max-age=1", ten, fails, 0, "Cache-Control: no-store", false},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{StaleIfError: row.configured})
			w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
				if n == 1 {
					return ok("good", "Cache-Control: "+row.control, `Etag: "a"`), nil
				}
				return row.then()
			}
			w.get()
			time.Sleep(time.Second + row.past)
			s := w.get(row.client)
			if got := s.Body.String() == "good"; got != row.served {
				t.Errorf("stale is served = %t, want %t (%s, error %v)", got, row.served, s.cacheStatus(), s.err)
			}
			if row.served && (s.result.Status != cache.Stale || s.Header().Get("Age") == "" || s.err != nil) {
				t.Errorf("it is not marked: %s %v %v", s.result.Status, s.Header(), s.err)
			}
		})
	}
	bubble(t, "upstream is slow", func(t *testing.T) {
		w := newWorld(t, cache.Config{StaleIfError: ten})
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			if n > 1 {
				time.Sleep(5 * time.Second)
			}
			return ok("good", "Cache-Control: max-age=1"), nil
		}
		w.get()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s := w.ask(ctx, "GET"); s.result.Status != cache.Stale || s.cacheStatus() != "gateway; hit; ttl=-1; detail=stale-if-error" {
			t.Errorf("after the client's second: %s, %q, %v", s.result.Status, s.cacheStatus(), s.err)
		}
		time.Sleep(5 * time.Second) // let the fetch end
	})
	bubble(t, "not after a write", func(t *testing.T) {
		w := newWorld(t, cache.Config{StaleIfError: ten})
		w.rule.Scopes = []string{"project:a"}
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			if n > 1 {
				return nil, errDown
			}
			return ok("good", "Cache-Control: max-age=9, stale-while-revalidate=9"), nil
		}
		w.get()
		w.cache.Invalidate("project:a")
		if s := w.get("Cache-Control: max-stale"); !errors.Is(s.err, errDown) {
			t.Errorf("an answer from before the write is served: %s", s.cacheStatus())
		}
	})
	bubble(t, "not to whom other headers select", func(t *testing.T) {
		w := newWorld(t, cache.Config{StaleIfError: ten})
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			if n > 1 {
				time.Sleep(time.Second)
				return nil, errDown
			}
			return ok("for 1", "Cache-Control: max-age=1", "Vary: Foo"), nil
		}
		w.get("Foo: 1")
		time.Sleep(time.Second)
		go w.get("Foo: 1")
		synctest.Wait()
		if s := w.get("Foo: 2"); !errors.Is(s.err, errDown) {
			t.Errorf("Foo: 2 got %q", s.Body)
		}
	})
	for _, status := range []int{401, 403, 429, 500, 503} { // they say nothing about the resource
		bubble(t, fmt.Sprint("again and again, after ", status), func(t *testing.T) {
			w := newWorld(t, cache.Config{StaleIfError: ten})
			w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
				switch n {
				case 1:
					return ok("good", "Cache-Control: max-age=1"), nil
				case 2:
					return answer(status, "no"), nil
				}
				return nil, errDown
			}
			w.get()
			time.Sleep(time.Second)
			w.get()
			if s := w.get(); s.Body.String() != "good" {
				t.Errorf("the second time: %q %s, %v", s.Body, s.cacheStatus(), s.err)
			}
		})
	}
	bubble(t, "an answer that is gone does not come back", func(t *testing.T) {
		w := newWorld(t, cache.Config{StaleIfError: ten})
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			switch n {
			case 1:
				return ok("good", "Cache-Control: max-age=1"), nil
			case 2:
				return answer(404, "gone"), nil
			}
			return nil, errDown
		}
		w.get()
		time.Sleep(time.Second)
		w.get()
		if s := w.get(); !errors.Is(s.err, errDown) {
			t.Errorf("after a 404: %s", s.cacheStatus())
		}
	})
}

// RFC 5861 section 3: served stale once more, while it is fetched anew.
func TestRFC5861Section3StaleWhileRevalidate(t *testing.T) {
	for _, row := range []struct {
		name, control string
		past          time.Duration
		want          cache.Status
	}{
		{"within", "max-age=1, stale-while-revalidate=5", 4 * time.Second, cache.Stale},
		{"after", "max-age=1, stale-while-revalidate=5", 5 * time.Second, cache.Expired},
		{"must-revalidate", "max-age=1, stale-while-revalidate=5, must-revalidate", 0, cache.Expired},
		{"not said", "max-age=1", 0, cache.Expired},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = answers("Cache-Control: " + row.control)
			w.get()
			time.Sleep(time.Second + row.past)
			if s := w.get(); s.result.Status != row.want {
				t.Errorf("%s, want %s", s.result.Status, row.want)
			}
			synctest.Wait()
			if s := w.get(); s.Body.String() != "body 2" || w.calls.Load() != 2 {
				t.Errorf("then %q after %d calls", s.Body, w.calls.Load())
			}
		})
	}
	bubble(t, "not what was refreshed meanwhile", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=1, stale-while-revalidate=5")
		w.get()
		w.cache.Refresh(t.Context(), cache.Request{Key: w.key}, w.rule, w.fetch)
		synctest.Wait()
		if n := w.calls.Load(); n != 1 {
			t.Errorf("%d upstream calls, want 1", n)
		}
	})
	bubble(t, "one refresh for all", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=1, stale-while-revalidate=5")
		w.get()
		time.Sleep(time.Second)
		w.sending = func(context.Context, *cache.Fill) error { time.Sleep(time.Second); return nil }
		for range 10 {
			if s := w.get(); s.result.Status != cache.Stale {
				t.Errorf("%s", s.result.Status)
			}
		}
		time.Sleep(2 * time.Second)
		if n := w.calls.Load(); n != 2 {
			t.Errorf("%d upstream calls, want 2", n)
		}
	})
}

// RFC 9211: the Cache-Status field says what happened.
func TestRFC9211CacheStatus(t *testing.T) {
	for _, row := range []struct {
		name   string
		rule   cache.Rule
		answer *cache.Answer
		wait   time.Duration
		client []string
		want   string // of the second request
	}{
		{"hit", cache.Rule{TTL: ten}, ok("x"), 3 * time.Second, nil, "gateway; hit; ttl=7"},
		{"stale", cache.Rule{TTL: ten}, ok("x"), ten, nil, "gateway; fwd=stale; fwd-status=200; ttl=10; stored"},
		{"max-stale", cache.Rule{TTL: ten}, ok("x"), 12 * time.Second, []string{"Cache-Control: max-stale"}, "gateway; hit; ttl=-2; detail=max-stale"},
		{"request", cache.Rule{TTL: ten}, ok("x"), 0, []string{"Cache-Control: no-cache"}, "gateway; fwd=request; fwd-status=200; ttl=10; stored"},
		{"request's no-store", cache.Rule{TTL: ten}, ok("x"), 0, []string{"Cache-Control: no-store"}, "gateway; fwd=request; fwd-status=200; detail=request-no-store"},
		{"vary", cache.Rule{TTL: ten}, ok("x", "Vary: Foo"), 0, []string{"Foo: 2"}, "gateway; fwd=vary-miss; fwd-status=200; ttl=10; stored"},
		{"secret", cache.Rule{TTL: ten, Secret: true}, ok("x"), 0, nil, "gateway; fwd=bypass; fwd-status=200; detail=secret"},
		{"status", cache.Rule{TTL: ten}, answer(404, "x"), 0, nil, "gateway; fwd=uri-miss; fwd-status=404; detail=status"},
		{"no lifetime", cache.Rule{}, ok("x"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=no-lifetime"},
		{"no-store", cache.Rule{TTL: ten}, ok("x", "Cache-Control: no-store"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=no-store"},
		{"private", cache.Rule{TTL: ten}, ok("x", "Cache-Control: private"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=private"},
		{"cookie", cache.Rule{TTL: ten}, ok("x", "Set-Cookie: a=b"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=set-cookie"},
		{"vary star", cache.Rule{TTL: ten}, ok("x", "Vary: *"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=vary"},
		{"stale on arrival", cache.Rule{TTL: ten}, ok("x", "Expires: 0"), 0, nil, "gateway; fwd=uri-miss; fwd-status=200; detail=stale-on-arrival"},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.rule = row.rule
			w.upstream = func(int, http.Header) (*cache.Answer, error) { a := *row.answer; return &a, nil }
			w.get()
			time.Sleep(row.wait)
			if got := w.get(row.client...).cacheStatus(); got != row.want {
				t.Errorf("Cache-Status = %q, want %q", got, row.want)
			}
		})
	}
	if got := (cache.Result{Status: cache.Miss}).CacheStatus(time.Now()); got != "gateway; fwd=bypass" {
		t.Errorf("without a look-up: %q", got)
	}
	names := make(map[string]bool)
	for _, s := range cache.Statuses() {
		names[s.String()] = true
	}
	if len(names) != len(cache.Statuses()) {
		t.Errorf("statuses share names: %v", names)
	}
}
