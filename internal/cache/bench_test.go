package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

func warm(t testing.TB, size int) (*cache.Cache, cache.Request) {
	c, err := cache.New(cache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := cache.Request{Key: cache.Key{View: "shared", Operation: "v1-get-project", Path: "/v1/projects/abcdefghijklmnopqrst"}}
	rule := cache.Rule{TTL: time.Hour, Scopes: []string{"project:abcdefghijklmnopqrst"}}
	if _, err := c.Fetch(context.Background(), r, rule, func(context.Context, *cache.Fill) (*cache.Answer, error) { return realistic(size), nil }); err != nil {
		t.Fatal(err)
	}
	return c, r
}

// A cached read is what the gateway does most: it allocates nothing here.
func TestHitDoesNotAllocate(t *testing.T) {
	c, r := warm(t, 2000)
	now := time.Now()
	request := &http.Request{Method: "GET", Header: header("Accept-Encoding: gzip", "Authorization: Bearer x")}
	w := sink{make(http.Header)}
	hit := func() {
		r.Directives = cache.ParseDirectives(request.Header)
		result := c.Get(r, now)
		if result.Status != cache.Hit {
			t.Fatal(result.Status)
		}
		result.Respond(w, request, now)
	}
	hit()
	if n := testing.AllocsPerRun(100, hit); n > 0 {
		t.Errorf("a hit allocates %v times, want 0", n)
	}
	request.Header = header("Cache-Control: max-age=60, min-fresh=1", `If-None-Match: "a", W/"3f-KlLbXbKQzPyVhE7Vt4uEDQ"`)
	hit()
	if n := testing.AllocsPerRun(100, hit); n > 0 {
		t.Errorf("a conditional hit with directives allocates %v times, want 0", n)
	}
	view := func() {
		if _, err := c.Narrow(c.Get(r, now).Entry, "team", func(b []byte) ([]byte, error) { return b[:100], nil }); err != nil {
			t.Fatal(err)
		}
	}
	view()
	if n := testing.AllocsPerRun(100, view); n > 0 {
		t.Errorf("a narrowed hit allocates %v times, want 0", n)
	}
}

func BenchmarkGet(b *testing.B) {
	c, r := warm(b, 2000)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if c.Get(r, now).Entry == nil {
			b.Fatal("no hit")
		}
	}
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{2000, 64 << 10} {
		for _, coding := range []string{"identity", "gzip"} {
			b.Run(fmt.Sprintf("%d/%s", size, coding), func(b *testing.B) {
				c, r := warm(b, size)
				request := &http.Request{Method: "GET", Header: header("Accept-Encoding: " + coding)}
				b.ReportAllocs()
				for b.Loop() {
					now := time.Now()
					c.Get(r, now).Respond(sink{make(http.Header, 16)}, request, now)
				}
			})
		}
	}
}

func BenchmarkInvalidate(b *testing.B) {
	c, _ := warm(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		c.Invalidate("project:abcdefghijklmnopqrst", "account")
	}
}

// The attack: every request asks for another key.
func BenchmarkMissFlood(b *testing.B) {
	c, err := cache.New(cache.Config{Memory: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		r := cache.Request{Key: cache.Key{Path: fmt.Sprintf("/v1/projects/%020d", i)}}
		result, err := c.Fetch(b.Context(), r, cache.Rule{TTL: time.Hour}, func(context.Context, *cache.Fill) (*cache.Answer, error) { return realistic(2000), nil })
		if err != nil {
			b.Fatal(err)
		}
		io.Discard.Write(result.Entry.Body())
	}
}
