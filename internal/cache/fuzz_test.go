package cache_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

func seedDirectives(f *testing.F) {
	for _, line := range []string{
		"", "no-cache", "no-store, max-age=0", "max-age=10, min-fresh=5", "max-stale", `max-stale="60"`, "only-if-cached",
		`x="a, no-store", max-age=1`, `x="a\", no-store"`, `max-age="`, "max-age=99999999999999999999", ",,=,\"", "MAX-AGE =1",
	} {
		f.Add(line)
	}
}

// What the client says is read the same on one line or two, and more of it never makes it less strict.
func FuzzParseDirectives(f *testing.F) {
	seedDirectives(f)
	f.Fuzz(func(t *testing.T, line string) {
		d := cache.ParseDirectives(http.Header{"Cache-Control": {line}})
		if d.MaxAge < 0 || d.MinFresh < 0 || d.MaxStale < 0 {
			t.Errorf("%q: negative: %+v", line, d)
		}
		two := cache.ParseDirectives(http.Header{"Cache-Control": {line, "no-store, max-age=0"}})
		if !two.NoStore || !two.LimitAge || two.MaxAge != 0 {
			t.Errorf("%q hides the line after it: %+v", line, two)
		}
		if (d.NoCache && !two.NoCache) || (d.OnlyIfCached && !two.OnlyIfCached) || d.MinFresh != two.MinFresh {
			t.Errorf("%q: %+v, with another line %+v", line, d, two)
		}
	})
}

// Whatever else upstream says, no-store on a line of its own is obeyed; so is one before or after it on the same line.
func FuzzNoStoreIsNeverLost(f *testing.F) {
	seedDirectives(f)
	c, err := cache.New(cache.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, lines := range [][]string{{line, "no-store"}, {"no-store", line}, {"no-store, " + line}, {line + `, no-store`}} {
			if strings.Contains(line, `"`) && lines[0] == line+", no-store" {
				continue // it may well be inside quotes
			}
			r := cache.Request{Key: cache.Key{Path: line}}
			result, err := c.Fetch(t.Context(), r, cache.Rule{TTL: time.Minute}, func(_ context.Context, _ *cache.Fill) (*cache.Answer, error) {
				return &cache.Answer{Status: 200, Header: http.Header{"Cache-Control": lines}, Body: []byte("x")}, nil
			})
			if err != nil || result.Stored {
				t.Errorf("%q: stored = %t, %v", lines, result.Stored, err)
			}
		}
	})
}

// The tag is found behind any other tag, and nowhere that it is not.
func FuzzIfNoneMatch(f *testing.F) {
	for _, s := range []string{"", `"a"`, `W/"a"`, `"a", "b"`, `"a,b"`, `"`, "*", `a"b`, `,,"a"`} {
		f.Add(s)
	}
	w := &world{key: cache.Key{Path: "x"}}
	w.cache, _ = cache.New(cache.Config{})
	w.rule.TTL = time.Hour
	w.upstream = always("x", `Etag: "the-tag"`)
	f.Fuzz(func(t *testing.T, list string) {
		request := func(value string) int {
			return w.ask(t.Context(), "GET", "If-None-Match: "+value).Code
		}
		other := `"` + strings.ReplaceAll(list, `"`, "") + `"`
		if got := request(other + `, "the-tag"`); got != 304 {
			t.Errorf("%s and the tag: %d", other, got)
		}
		if !strings.Contains(list, "the-tag") && strings.Trim(list, " \t") != "*" {
			if got := request(list); got != 200 {
				t.Errorf("%q: %d", list, got)
			}
		}
	})
}
