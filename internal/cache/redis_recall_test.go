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

// A fetch may be served from Redis. Who waits for it but asks for a newer answer gets one.
func TestWhoAsksForANewAnswerGetsNoneOutOfRedis(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(answers("Cache-Control: max-age=60")), c.untrusting(answers("Cache-Control: max-age=60", "X-From: b"))
	c.trusting(a, b)
	open := a.gate()
	ask := func(w *world, lines ...string) chan served {
		answered := make(chan served, 1)
		go func() { answered <- w.get(lines...) }()
		return answered
	}
	filled := ask(a)
	within(t, 5*time.Second, "a fetches", func() bool { return len(c.keys("lease")) == 1 })
	plain := ask(b)
	within(t, 5*time.Second, "b waits for what a fetches", func() bool { return cache.Waiting(b.cache) == 1 })
	renewed := ask(b, "Cache-Control: no-cache")
	within(t, 5*time.Second, "and so does who asks for a new answer", func() bool { return cache.Waiting(b.cache) == 2 })
	open()
	<-filled
	if s := <-plain; s.Header().Get("X-From") != "" || s.Body.String() != "body 1" {
		t.Errorf("who does not is served %q, %s", s.Body, s.cacheStatus())
	}
	if s := <-renewed; s.Header().Get("X-From") != "b" {
		t.Errorf("who asks for a new answer is served %q, %s", s.Body, s.cacheStatus())
	}
	before, _ := b.cache.SharedStats()
	b.get("Cache-Control: no-cache")
	if after, _ := b.cache.SharedStats(); after.Found+after.Missed != before.Found+before.Missed {
		t.Error("Redis is asked for an answer that would not do")
	}
}

// Threat 6: what came out of Redis while a write was heard of may be from before it. It is for the read that began before.
func TestWhatRedisSaidBeforeAWriteIsNotKeptAfterIt(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a, b := c.untrusting(answers("Cache-Control: max-age=60")), c.untrusting(answers("X-From: b"))
	c.trusting(a, b)
	a.get()
	c.kept(1)
	result, err := cache.RecallAcross(t.Context(), b.cache, cache.Request{Key: b.key}, b.rule, func() { b.cache.Invalidate("project:a") })
	if err != nil || result.Status != cache.Hit {
		t.Fatalf("the look showed %s, %v: the test tests nothing", result.Status, err)
	}
	if s := b.get(); s.Header().Get("X-From") != "b" {
		t.Errorf("behind the write %q is served, %s", s.Body, s.cacheStatus())
	}
}

// What is stale in Redis is never served as it is, though upstream allows that of memory: a fetch begins with it.
func TestWhatIsStaleInRedisIsFetchedAnew(t *testing.T) {
	c := newCluster(t, cache.Config{})
	upstream := answers("Cache-Control: max-age=1, stale-while-revalidate=60")
	a, b := c.untrusting(upstream), c.untrusting(upstream)
	c.trusting(a, b)
	a.get()
	c.kept(1)
	within(t, 5*time.Second, "it is stale", func() bool { return a.get("Cache-Control: only-if-cached, max-age=1").result.Status == cache.NotCached })
	if s := b.get(); s.result.Status != cache.Expired || s.cacheStatus() != "gateway; fwd=stale; fwd-status=200; ttl=1; stored" {
		t.Errorf("%s %s", s.result.Status, s.cacheStatus())
	}
}

func TestAReadWaitsForRedisABoundedTime(t *testing.T) {
	c := newCluster(t, cache.Config{})
	a := c.replica(never)
	c.server.Pause()
	defer c.server.Resume()
	start := time.Now()
	s := a.get("Cache-Control: only-if-cached")
	if took := time.Since(start); s.result.Status != cache.NotCached || took > 500*time.Millisecond {
		t.Errorf("%s after %s", s.cacheStatus(), took)
	}
	within(t, 2*time.Second, "it knows that Redis is away", func() bool { s, _ := a.cache.SharedStats(); return !s.Trusted })
	for _, directive := range []string{"only-if-cached", ""} {
		before := a.unanswered()
		a.get("Cache-Control: " + directive)
		if a.unanswered() != before {
			t.Errorf("then %q still waits for it", directive)
		}
	}
}
