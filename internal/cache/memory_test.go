package cache_test

import (
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
		r := cache.Request{Key: cache.Key{View: "shared", Operation: "op", Path: fmt.Sprintf("/v1/projects/%020d/health", i), Query: "services=auth"}}
		rule := cache.Rule{TTL: time.Hour, Scopes: []string{fmt.Sprintf("project:%020d", i)}}
		_, err := c.Fetch(context.Background(), r, rule, func(context.Context, *cache.Fill) (*cache.Answer, error) { return realistic(size), nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is stored takes what was configured and at most 15 % more, whatever the size of the answers, even when far more
// keys come than fit.
func TestMemoryStaysWithinItsBound(t *testing.T) {
	for _, row := range []struct{ keys, size, budget int }{
		{16_000, 0, 16 << 20},
		{14_000, 300, 16 << 20},
		{15_000, 2100, 16 << 20},
		{500, 70_000, 16 << 20},
	} {
		before := heap()
		c, err := cache.New(cache.Config{Memory: int64(row.budget)})
		if err != nil {
			t.Fatal(err)
		}
		fixed := heap() - before
		fill(t, c, 0, row.keys, row.size)
		c.Settle()
		used, stats := heap()-before, c.Stats()
		t.Logf("%d keys of %d bytes: %d entries weigh %d, heap %d of %d (%d fixed), %d bytes an entry beside its body",
			row.keys, row.size, stats.Entries, stats.Bytes, used, row.budget, fixed, (used-fixed)/int64(stats.Entries)-int64(row.size))
		if limit := int64(row.budget) + int64(row.budget)*15/100; used > limit {
			t.Errorf("%d keys of %d bytes take %d, more than %d and 15 %%", row.keys, row.size, used, row.budget)
		}
		if stats.Bytes > int64(row.budget) {
			t.Errorf("weight %d is over the budget %d", stats.Bytes, row.budget)
		}
		if used < int64(row.budget)*7/10 {
			t.Errorf("only %d of %d is used: entries count for more than they take", used, row.budget)
		}
		runtime.KeepAlive(c)
	}
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
