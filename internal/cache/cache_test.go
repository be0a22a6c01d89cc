package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
)

// world is a gateway in small: one cache, one upstream, and the lines of code by which the proxy uses the one for the
// other.
type world struct {
	t     *testing.T
	cache *cache.Cache
	rule  cache.Rule
	key   cache.Key
	calls atomic.Int64 // upstream requests

	// upstream answers the n-th request (from 1). sent is the header it gets.
	upstream func(n int, sent http.Header) (*cache.Answer, error)
	// sending, if set, is called before a request is sent; it may block.
	sending func(ctx context.Context, fill *cache.Fill) error
}

func newWorld(t *testing.T, config cache.Config) *world {
	t.Helper()
	c, err := cache.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, cache: c, key: cache.Key{View: "shared", Operation: "v1-get-project", Path: "/v1/projects/a"}}
}

// served is an answer as a client sees it.
type served struct {
	*httptest.ResponseRecorder
	result cache.Result
	err    error
}

func (s served) cacheStatus() string { return s.Header().Get("Cache-Status") }

// get asks with the header lines given, such as "Accept-Encoding: gzip".
func (w *world) get(lines ...string) served { return w.ask(context.Background(), "GET", lines...) }

func (w *world) ask(ctx context.Context, method string, lines ...string) served {
	request := httptest.NewRequestWithContext(ctx, method, "/", nil)
	request.Header = header(lines...)
	r := cache.Request{Key: w.key, Header: request.Header, Directives: cache.ParseDirectives(request.Header)}
	result := w.cache.Get(r, time.Now())
	if result.Status == cache.NotCached {
		result = w.cache.Recall(ctx, r, w.rule)
	}
	var err error
	switch {
	case result.Refresh:
		w.cache.Refresh(ctx, r, w.rule, w.fetch)
	case result.Entry == nil && result.Status != cache.NotCached:
		result, err = w.cache.Fetch(ctx, r, w.rule, w.fetch)
	}
	s := served{httptest.NewRecorder(), result, err}
	if result.Entry != nil {
		if _, _, err := result.Respond(s, request, time.Now()); err != nil {
			s.err = err
		}
	}
	return s
}

func (w *world) fetch(ctx context.Context, fill *cache.Fill) (*cache.Answer, error) {
	if w.sending != nil {
		if err := w.sending(ctx, fill); err != nil {
			return nil, err
		}
	}
	if !fill.Sent() {
		return nil, context.Cause(ctx)
	}
	sent := make(http.Header)
	fill.Validate(sent)
	a, err := w.upstream(int(w.calls.Add(1)), sent)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // as a real connection does
	}
	return a, err
}

// answers makes an upstream that always answers 200 with the header lines and a body that tells its calls apart.
func answers(lines ...string) func(int, http.Header) (*cache.Answer, error) {
	return func(n int, _ http.Header) (*cache.Answer, error) { return ok(fmt.Sprintf("body %d", n), lines...), nil }
}

func ok(body string, lines ...string) *cache.Answer { return answer(200, body, lines...) }

func answer(status int, body string, lines ...string) *cache.Answer {
	return &cache.Answer{Status: status, Header: header(lines...), Body: []byte(body)}
}

// header makes a header of lines. "Date: now", "Expires: now+10s" and the like are dates relative to the clock.
func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if offset, found := strings.CutPrefix(value, "now"); found {
			d, _ := time.ParseDuration(offset)
			value = time.Now().Add(d).UTC().Format(http.TimeFormat)
		}
		h.Add(name, value)
	}
	return h
}

// reused tells whether a second request after the wait is answered without upstream being asked.
func reused(t *testing.T, rule cache.Rule, upstream *cache.Answer, wait time.Duration, lines ...string) bool {
	t.Helper()
	w := newWorld(t, cache.Config{})
	w.rule = rule
	w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
		copied := *upstream
		copied.Header = upstream.Header.Clone()
		return &copied, nil
	}
	w.get()
	time.Sleep(wait)
	w.get(lines...)
	return w.calls.Load() == 1
}

// bubble runs a test with a clock of its own: nothing in it waits for real.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

type closer struct {
	io.Reader
	closed atomic.Bool
}

func (c *closer) Close() error { c.closed.Store(true); return nil }

func TestNewRefusesBoundsItCannotKeep(t *testing.T) {
	for _, config := range []cache.Config{
		{Memory: 1000}, {Memory: -1}, {MaxBody: -1}, {StaleIfError: -1}, {Timeout: -1},
	} {
		if _, err := cache.New(config); err == nil {
			t.Errorf("New(%+v) accepted it", config)
		}
	}
}

func TestEachPartOfTheKeyCounts(t *testing.T) {
	base := cache.Key{View: "a", Operation: "b", Path: "c", Query: "d"}
	for name, other := range map[string]cache.Key{
		"another credential's view": {View: "x", Operation: "b", Path: "c", Query: "d"},
		"another operation":         {View: "a", Operation: "x", Path: "c", Query: "d"},
		"another path":              {View: "a", Operation: "b", Path: "x", Query: "d"},
		"another query":             {View: "a", Operation: "b", Path: "c", Query: "x"},
		"the same bytes moved over": {View: "ab", Operation: "", Path: "c", Query: "d"},
	} {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.key = base
		w.get()
		w.key = other
		if got := w.get().Body.String(); got != "body 2" {
			t.Errorf("%s was answered with %q", name, got)
		}
		w.key = base
		if got := w.get().Body.String(); got != "body 1" {
			t.Errorf("after %s the first key has %q", name, got)
		}
	}
}

func TestPurge(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a"}}
	w.upstream = answers()
	for _, scopes := range [][]string{{"project:a"}, {cache.OperationScope("v1-get-project")}, {cache.PathScope("/v1/projects/a")}, nil} {
		w.get()
		if n := w.cache.Stats().Entries; n != 1 {
			t.Fatalf("%d entries before Purge(%q), want 1", n, scopes)
		}
		if n := w.cache.Purge(scopes...); n != 1 {
			t.Errorf("Purge(%q) = %d, want 1", scopes, n)
		}
		if s := w.cache.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("after Purge(%q): %+v", scopes, s)
		}
	}
}
