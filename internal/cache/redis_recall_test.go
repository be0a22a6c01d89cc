package cache_test

import (
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

func TestOnlyIfCachedFindsWhatAnotherReplicaFetched(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(answers("Cache-Control: max-age=1", "Vary: Accept-Language", `Etag: "v1"`)), c.untrusting(never)
	c.trusting(a, b)
	const only = "Cache-Control: only-if-cached"
	if s := b.get(only); s.result.Status != cache.NotCached || s.result.Entry != nil {
		t.Fatalf("before anybody has fetched it: %s", s.cacheStatus())
	}
	if n := len(c.keys("lease")); n != 0 {
		t.Error("who will not fetch has taken the lease to fetch")
	}
	a.get()
	c.kept(1)
	if s := b.get(only, "Accept-Language: de"); s.result.Status != cache.NotCached {
		t.Errorf("another variant: %s", s.cacheStatus())
	}
	if s := b.get(only); s.result.Status != cache.Hit || s.Body.String() != "body 1" || s.cacheStatus() != "gateway; hit; ttl=1" {
		t.Errorf("%q %s", s.Body, s.cacheStatus())
	}
	if s := b.get(only); s.result.Status != cache.Hit {
		t.Errorf("a second time: %s", s.cacheStatus())
	}
	if s, _ := b.cache.SharedStats(); s.Found != 1 {
		t.Errorf("Redis was asked again for what is in memory: %+v", s)
	}
	a.cache.Invalidate("project:a")
	if s := b.get(only); s.result.Status != cache.NotCached {
		t.Errorf("behind a write: %s", s.cacheStatus())
	}
}

func TestOnlyIfCachedTakesAStaleAnswerWhereItsClientDoes(t *testing.T) {
	c := newCluster(t, cache.Config{StaleIfError: time.Minute})
	a, b := c.untrusting(answers("Cache-Control: max-age=1", `Etag: "v1"`)), c.untrusting(never)
	c.trusting(a, b)
	a.get()
	c.kept(1)
	within(t, 5*time.Second, "it is stale", func() bool { return a.get("Cache-Control: only-if-cached").result.Status == cache.NotCached })
	if s := b.get("Cache-Control: only-if-cached, max-stale=60"); s.result.Status != cache.Stale || s.Body.String() != "body 1" {
		t.Errorf("%q %s", s.Body, s.cacheStatus())
	}
	if s := b.get("Cache-Control: only-if-cached, max-stale=0"); s.result.Status != cache.NotCached {
		t.Errorf("who accepts none: %s", s.cacheStatus())
	}
}

func TestOnlyIfCachedWaitsForRedisABoundedTime(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a := c.replica(never)
	c.server.Pause()
	start := time.Now()
	s := a.get("Cache-Control: only-if-cached")
	if took := time.Since(start); s.result.Status != cache.NotCached || took > 500*time.Millisecond {
		t.Errorf("%s after %s", s.cacheStatus(), took)
	}
	c.server.Resume()
}
