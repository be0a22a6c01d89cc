package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

// realistic is an answer as upstream gives one, with strings of its own as they come off the wire.
func realistic(size int) *cache.Answer {
	h := header("Date: now", "Etag: W/\"3f-KlLbXbKQzPyVhE7Vt4uEDQ\"")
	for name, value := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Vary": "Origin, Accept-Encoding", "Cf-Ray": "8f1c0a9b2d3e4f50-FRA",
		"X-Request-Id": "6f1f3f9e-7e0b-4b0e-9a39-6a9f3d0d0b5e", "Strict-Transport-Security": "max-age=15552000; includeSubDomains",
	} {
		h[name] = []string{strings.Clone(value)}
	}
	return &cache.Answer{Status: 200, Header: h, Body: make([]byte, size)}
}

func fill(t testing.TB, c *cache.Cache, first, keys, size int) {
	for i := first; i < first+keys; i++ {
		fetch(t, c, numbered(i), func() *cache.Answer { return realistic(size) })
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// shapes are what entries can grow to: each makes the i-th of many.
var shapes = map[string]func(t testing.TB, c *cache.Cache, i int){
	"read, so that they tell their age": func(t testing.TB, c *cache.Cache, i int) {
		fill(t, c, i, 1, 300)
		answered(c.Get(numbered(i), time.Now()))
	},
	"with their gzip form": func(t testing.TB, c *cache.Cache, i int) {
		r := numbered(i)
		fetch(t, c, r, func() *cache.Answer {
			a := realistic(0)
			a.Body = []byte(strings.Repeat(fmt.Sprint("the number is ", i, ", "), 100))
			return a
		})
		answered(c.Get(r, time.Now()))
	},
	"sixteen variants of a key": func(t testing.TB, c *cache.Cache, i int) {
		r := numbered(i / 16)
		r.Header = header(fmt.Sprint("Accept-Language: x", i))
		fetch(t, c, r, func() *cache.Answer {
			a := realistic(100)
			a.Header.Set("Vary", "Accept-Language")
			return a
		})
	},
	"fifty narrowed forms of each": func(t testing.TB, c *cache.Cache, i int) {
		result := fetch(t, c, numbered(i/50), func() *cache.Answer { return realistic(2000) })
		cut := func(body []byte) ([]byte, error) { return bytes.Clone(body[:200]), nil }
		var err error
		if result.Entry, err = c.Narrow(result.Entry, fmt.Sprintf("a view as policies name them, %030d", i), cut); err != nil {
			t.Fatal(err)
		}
		answered(result)
	},
}

// numbered is a request for the i-th of many answers.
func numbered(i int) cache.Request {
	return cache.Request{Key: cache.Key{View: "shared", Operation: "op", Path: fmt.Sprintf("/v1/projects/%020d/health", i), Query: "services=auth"}}
}

func fetch(t testing.TB, c *cache.Cache, r cache.Request, answer func() *cache.Answer) cache.Result {
	t.Helper()
	rule := cache.Rule{TTL: time.Hour, Scopes: []string{"project:" + r.Key.Path}}
	result, err := c.Fetch(context.Background(), r, rule, func(context.Context, *cache.Fill) (*cache.Answer, error) { return answer(), nil })
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// answered sends what was found, if anything was, to a client that accepts gzip.
func answered(result cache.Result) {
	if result.Entry != nil {
		respond(result, "Accept-Encoding: gzip")
	}
}

// What the cache takes is what was configured and at most 15 % more, its own tables included, whatever the size of the
// answers, even when far more keys come than fit. It is what is live after a collection: what garbage adds is the
// runtime's affair (docs/cache.md).
func TestMemoryStaysWithinItsBound(t *testing.T) {
	for _, row := range []struct{ keys, size, budget int }{
		{100_000, 300, 16 << 20},
		{40_000, 1000, 256 << 20}, // all of them fit
		{5_000, 20, 1 << 20},
		{6_000, 0, 4 << 20},
		{15_000, 2100, 16 << 20},
		{2_000, 16_400, 16 << 20}, // sizes of which the runtime wastes most
		{1_000, 33_000, 16 << 20},
		{500, 70_000, 16 << 20},
	} {
		t.Run(fmt.Sprintf("%d keys of %d bytes in %d MiB", row.keys, row.size, row.budget>>20), func(t *testing.T) {
			takesWhatItMay(t, row.budget, func(c *cache.Cache) { fill(t, c, 0, row.keys, row.size) })
		})
	}
	for name, one := range shapes {
		t.Run(name, func(t *testing.T) {
			takesWhatItMay(t, 4<<20, func(c *cache.Cache) {
				for i := range 5_000 {
					one(t, c, i)
				}
			})
		})
	}
}

func takesWhatItMay(t *testing.T, budget int, use func(*cache.Cache)) {
	t.Helper()
	before := heap()
	c, err := cache.New(cache.Config{Memory: int64(budget)})
	if err != nil {
		t.Fatal(err)
	}
	use(c)
	c.Settle()
	used, stats := heap()-before, c.Stats()
	t.Logf("%d slots weigh %d, heap %d of %d: %.3f", stats.Entries, stats.Bytes, used, budget, float64(used)/float64(budget))
	if limit := int64(budget) + int64(budget)*15/100; used > limit {
		t.Errorf("%d bytes are live, more than %d and 15 %%", used, budget)
	}
	if used < stats.Bytes*6/10 {
		t.Errorf("what weighs %d takes only %d: entries count for more than they take", stats.Bytes, used)
	}
	if stats.Bytes < int64(budget)/8*3 {
		t.Errorf("only %d of %d are used", stats.Bytes, budget)
	}
	runtime.KeepAlive(c)
}

// What is read all the time stays, however many keys are read once.
func TestScanDoesNotDriveOutWhatIsUsed(t *testing.T) {
	w := newWorld(t, cache.Config{Memory: 4 << 20})
	w.rule.TTL = time.Hour
	w.upstream = answers()
	for round := range 20 {
		w.get()
		fill(t, w.cache, 200*round, 200, 2000)
	}
	if n := w.calls.Load(); n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
}

func TestEntryDoesNotHoldTheRequestItCameFrom(t *testing.T) {
	c, err := cache.New(cache.Config{Memory: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range 300 {
		line := strings.Repeat("x", 100_000) + fmt.Sprintf("/%d", i) // a request's whole text
		r := cache.Request{Key: cache.Key{Path: line[100_000:]}, Header: header("Foo: " + line)}
		_, err := c.Fetch(context.Background(), r, cache.Rule{TTL: time.Hour}, func(context.Context, *cache.Fill) (*cache.Answer, error) {
			body := append(make([]byte, 0, 100_000), 'x')
			return &cache.Answer{Status: 200, Header: header(), Body: body}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if used := heap() - before; used > 10<<20 {
		t.Errorf("300 small answers hold %d bytes", used)
	}
	runtime.KeepAlive(c)
}
