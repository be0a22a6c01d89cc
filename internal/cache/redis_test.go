package cache_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/test/redis"
)

// within waits for what another process must bring about.
func within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// cluster is several worlds that share a Redis and, in steps, an upstream.
type cluster struct {
	t      *testing.T
	server *redis.Server
	config cache.Config
}

func newCluster(t *testing.T, config cache.Config) *cluster {
	t.Helper()
	return &cluster{t: t, server: redis.Start(t), config: config}
}

// replica starts another one, and waits until it trusts its memory.
func (c *cluster) replica(upstream func(int, http.Header) (*cache.Answer, error)) *world {
	c.t.Helper()
	w := c.untrusting(upstream)
	c.trusting(w)
	return w
}

func (c *cluster) untrusting(upstream func(int, http.Header) (*cache.Answer, error)) *world {
	c.t.Helper()
	b, err := backplane.Open(backplane.Config{URL: c.server.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = b.Close() })
	config := c.config
	config.Backplane = b
	w := newWorld(c.t, config)
	c.t.Cleanup(w.cache.Close)
	w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"project:a"}}
	w.upstream = upstream
	return w
}

func (c *cluster) trusting(replicas ...*world) {
	c.t.Helper()
	for _, w := range replicas {
		within(c.t, 10*time.Second, "a replica trusts its memory", func() bool { s, _ := w.cache.SharedStats(); return s.Trusted })
	}
}

// unanswered counts how often a read or a store has waited for Redis in vain.
func (w *world) unanswered() uint64 {
	s, _ := w.cache.SharedStats()
	return s.Failed
}

// aged makes Redis look as if it had been running for a minute: in its first seconds it cannot know all replicas, and
// writes wait longer.
func (c *cluster) aged() {
	c.server.Client().HIncrBy(c.t.Context(), "gateway:{cache}:generations", "born", -int64(time.Minute/time.Microsecond))
}

// keys are what stands in Redis.
func (c *cluster) keys(kind string) []string {
	c.t.Helper()
	keys, err := c.server.Client().Keys(c.t.Context(), "gateway:{cache}:"+kind+":*").Result()
	if err != nil {
		c.t.Fatal(err)
	}
	return keys
}

// kept waits until n entries stand in Redis: they are put there after their first readers have them.
func (c *cluster) kept(n int) {
	c.t.Helper()
	within(c.t, 5*time.Second, fmt.Sprintf("%d entries in Redis", n), func() bool { return len(c.keys("entry")) == n && len(c.keys("lease")) == 0 })
}

func never(int, http.Header) (*cache.Answer, error) {
	return nil, errors.New("upstream is not to be asked")
}

func TestWhatOneReplicaFetchedAnotherHas(t *testing.T) {
	c := newCluster(t, cache.Config{})
	long := strings.Repeat("the same words again and again ", 100)
	a := c.replica(func(int, http.Header) (*cache.Answer, error) {
		return ok(long, `Etag: "v1"`, "Content-Type: text/plain", "X-Bytes: \xff\x00", "Cache-Control: max-age=60"), nil
	})
	b := c.replica(never)
	first := a.get()
	c.kept(1)
	second := b.get()
	if second.err != nil || second.result.Status != cache.Hit || second.Body.String() != long {
		t.Fatalf("the other replica: %s %v", second.cacheStatus(), second.err)
	}
	for name, values := range first.Header() {
		if name != "Cache-Status" && name != "Age" && !slices.Equal(second.Header()[name], values) {
			t.Errorf("%s: %q on one replica, %q on the other", name, values, second.Header()[name])
		}
	}
	if third := b.get("Accept-Encoding: gzip"); third.Header().Get("Content-Encoding") != "gzip" || third.Header().Get("Etag") != `"v1+gzip"` {
		t.Errorf("in gzip form: %v", third.Header())
	}
	if s, _ := b.cache.SharedStats(); s.Found != 1 {
		t.Errorf("the second read asked Redis again: %+v", s)
	}
	if n := len(c.server.Client().HGet(t.Context(), c.keys("entry")[0], "d").Val()); n > len(long)/4 {
		t.Errorf("%d bytes of text take %d in Redis", len(long), n)
	}
	if key := c.keys("entry")[0]; strings.Contains(key, "/v1/projects/a") {
		t.Errorf("the key in Redis says what is asked: %s", key)
	}
}

func TestAgeGoesOnAcrossReplicas(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a := c.replica(func(int, http.Header) (*cache.Answer, error) {
		return ok("x", "Cache-Control: max-age=60", "Age: 40"), nil
	})
	b := c.replica(never)
	a.get()
	c.kept(1)
	if s := b.get(); s.Header().Get("Age") != "40" {
		t.Errorf("Age = %q", s.Header().Get("Age"))
	}
	if ttl := c.server.Client().PTTL(t.Context(), c.keys("entry")[0]).Val(); ttl > 20*time.Second || ttl < 15*time.Second {
		t.Errorf("it stays in Redis for %s, want what is left of its freshness", ttl)
	}
}

func TestVaryingAnswersAreKeptApart(t *testing.T) {
	c := newCluster(t, cache.Config{})
	upstream := func(n int, sent http.Header) (*cache.Answer, error) {
		return ok(fmt.Sprint("answer ", n), "Cache-Control: max-age=60", "Vary: Accept-Language"), nil
	}
	a, b := c.replica(upstream), c.replica(never)
	a.get("Accept-Language: de")
	c.kept(1)
	a.get("Accept-Language: fr")
	c.kept(2)
	for language, want := range map[string]string{"de": "answer 1", "fr": "answer 2"} {
		if s := b.get("Accept-Language: " + language); s.Body.String() != want {
			t.Errorf("%s is answered with %q, %v", language, s.Body, s.err)
		}
	}
	if s := b.get("Accept-Language: it"); s.err == nil {
		t.Errorf("it is answered with %q", s.Body)
	}
}

// Answers that carry secrets are stored nowhere, sealed or not: neither in Redis nor in memory.
func TestSecretsAreStoredNowhere(t *testing.T) {
	for name, keys := range map[string]*seal.Keys{"without a seal key": nil, "with one": sealKeys(t)} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, cache.Config{Keys: keys})
			a := c.replica(answers("Cache-Control: max-age=60"))
			a.rule.Secret = true
			for n := range 2 {
				if s := a.get(); s.Body.String() != fmt.Sprint("body ", n+1) || s.cacheStatus() != "gateway; fwd=bypass; fwd-status=200; detail=secret" {
					t.Errorf("%q %s", s.Body, s.cacheStatus())
				}
			}
			if n := a.cache.Stats().Entries; n != 0 {
				t.Errorf("%d are in memory", n)
			}
			a.rule.Secret = false
			a.key.Path = "/v1/projects/b"
			a.get()
			c.kept(1) // what is stored later is there, and alone
		})
	}
}

func sealKeys(t *testing.T) *seal.Keys {
	t.Helper()
	key := strings.Repeat("0a", 32)
	keys, err := seal.Load(secret.Source{Env: "KEY"}, func(string) string { return key })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSealedEntries(t *testing.T) {
	keys := sealKeys(t)
	c := newCluster(t, cache.Config{Keys: keys})
	a, b := c.replica(answers("Cache-Control: max-age=60")), c.replica(answers("Cache-Control: max-age=60", "X-From: b"))
	a.get()
	c.kept(1)
	entry := c.keys("entry")[0]
	sealed := c.server.Client().HGet(t.Context(), entry, "d").Val()
	if strings.Contains(sealed, "body 1") {
		t.Error("the body can be read in Redis")
	}
	if s := b.get(); s.result.Status != cache.Hit || s.Header().Get("X-From") != "" {
		t.Errorf("with the key: %s", s.cacheStatus())
	}
	// Whoever can write to Redis can neither move an entry to another place nor put one there that is not sealed.
	a.key.Path = "/v1/projects/other"
	a.get()
	c.kept(2)
	for _, other := range c.keys("entry") {
		c.server.Client().HSet(t.Context(), other, "d", sealed)
	}
	b.key.Path = "/v1/projects/other"
	if s := b.get(); s.Header().Get("X-From") != "b" {
		t.Errorf("an entry that was moved is served: %s", s.cacheStatus())
	}
	c.config.Keys = nil
	plain := c.replica(answers("Cache-Control: max-age=60"))
	plain.get()
	c.kept(2)
	third := func() *world { c.config.Keys = keys; return c.replica(answers("X-From: c")) }()
	if s := third.get(); s.Header().Get("X-From") != "c" {
		t.Errorf("an entry that is not sealed is served: %s", s.cacheStatus())
	}
}

func TestColdReadsOnThreeReplicasAreOneCall(t *testing.T) {
	c := newCluster(t, cache.Config{})
	var calls atomic.Int64
	upstream := func(int, http.Header) (*cache.Answer, error) {
		calls.Add(1)
		time.Sleep(100 * time.Millisecond) // so that all are there before it answers
		return ok("x", "Cache-Control: max-age=60"), nil
	}
	replicas := []*world{c.untrusting(upstream), c.untrusting(upstream), c.untrusting(upstream)}
	c.trusting(replicas...)
	var group sync.WaitGroup
	for _, w := range replicas {
		group.Go(func() {
			for _, s := range w.together(100) {
				if s.err != nil || s.Body.String() != "x" {
					t.Errorf("somebody got %q, %v", s.Body, s.err)
				}
			}
		})
	}
	group.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d upstream calls, want 1", n)
	}
}

func TestWhatIsNotStoredKeepsNobodyWaiting(t *testing.T) {
	c := newCluster(t, cache.Config{})
	began := make(chan struct{}, 2)
	upstream := func(int, http.Header) (*cache.Answer, error) {
		began <- struct{}{}
		time.Sleep(50 * time.Millisecond)
		return ok("mine", "Cache-Control: private, max-age=60"), nil
	}
	a, b := c.replica(upstream), c.replica(upstream)
	c.trusting(a, b)
	go a.get()
	<-began
	start := time.Now()
	if s := b.get(); s.err != nil || s.Body.String() != "mine" {
		t.Errorf("%q, %v", s.Body, s.err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the other replica's read took %s", took)
	}
}

func TestALeaderThatDiesIsWaitedForTwoSecondsAtMost(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(never), c.untrusting(answers("Cache-Control: max-age=60"))
	c.trusting(a, b)
	cache.AbandonLease(t.Context(), a.cache, a.key, a.rule)
	start := time.Now()
	s := b.get()
	if took := time.Since(start); s.err != nil || took > 2*time.Second || took < time.Second {
		t.Errorf("%v after %s", s.err, took)
	}
	c.kept(1) // the follower took the lease over
}

func TestAWriteIsSeenByReadsOnOtherReplicasAtOnce(t *testing.T) {
	c := newCluster(t, cache.Config{})
	var state atomic.Int64
	upstream := func(int, http.Header) (*cache.Answer, error) { return ok(strconv.FormatInt(state.Load(), 10)), nil }
	a, b := c.untrusting(upstream), c.untrusting(upstream)
	c.trusting(a, b)
	c.aged()
	for n := range int64(50) {
		state.Store(n)
		a.cache.Invalidate("project:a")
		for _, w := range []*world{b, a, b} {
			if s := w.get(); s.Body.String() != strconv.FormatInt(n, 10) {
				t.Fatalf("after write %d: %q (%s)", n, s.Body, s.cacheStatus())
			}
		}
	}
	if s, _ := a.cache.SharedStats(); s.Acknowledged != 50 {
		t.Errorf("the writes were not acknowledged: %+v", s)
	}
	if s := b.get(); s.result.Status != cache.Hit {
		t.Errorf("without a write: %s", s.cacheStatus())
	}
}

func TestAFillFromBeforeAWriteIsNotKeptInRedis(t *testing.T) {
	c := newCluster(t, cache.Config{})
	reading, release := make(chan struct{}), make(chan struct{})
	a := c.untrusting(func(int, http.Header) (*cache.Answer, error) {
		close(reading)
		<-release
		return ok("old"), nil
	})
	b := c.untrusting(answers())
	c.trusting(a, b)
	done := make(chan served)
	go func() { done <- a.get() }()
	<-reading
	b.cache.Invalidate("project:a")
	if s := b.get(); s.Body.String() != "body 1" { // it does not wait for the fetch from before
		t.Errorf("while it is under way: %q (%s)", s.Body, s.cacheStatus())
	}
	close(release)
	<-done
	c.kept(1)
	if s := b.get(); s.Body.String() != "body 1" {
		t.Errorf("then %q", s.Body)
	}
	if s := a.get(); s.Body.String() != "body 1" {
		t.Errorf("where the older one was fetched: %q", s.Body)
	}
}

func TestAFetchThatWaitedInTheQueueDuringAWriteIsKept(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(answers()), c.untrusting(never)
	c.trusting(a, b)
	open := a.gate()
	done := make(chan served)
	go func() { done <- a.get() }()
	within(t, 5*time.Second, "the lease is taken", func() bool { return len(c.keys("lease")) == 1 })
	b.cache.Invalidate("project:a")
	open()
	<-done
	c.kept(1)
	if s := b.get(); s.result.Status != cache.Hit {
		t.Errorf("%s, %v", s.cacheStatus(), s.err)
	}
}

func TestPurgeReachesOtherReplicasAndRedis(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(answers()), c.untrusting(answers())
	c.trusting(a, b)
	a.get()
	c.kept(1)
	b.get()
	if n := b.cache.Purge(cache.OperationScope("v1-get-project")); n != 1 {
		t.Errorf("Purge = %d", n)
	}
	within(t, 5*time.Second, "the other replica's memory is free", func() bool { return a.cache.Stats().Entries == 0 })
	within(t, 5*time.Second, "Redis is free", func() bool { return len(c.keys("entry")) == 0 })
}
