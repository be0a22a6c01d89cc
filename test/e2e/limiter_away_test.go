package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// startTwo runs two replicas whose upstream takes 120 requests in so long.
func startTwo(t *testing.T, window, limits string) *fleet {
	f := &fleet{t: t, redis: redis.Start(t), statuses: map[int]int{}, served: map[string]int{}}
	length, err := time.ParseDuration(window)
	if err != nil {
		t.Fatal(err)
	}
	first := harness.Start(t, harness.Options{Redis: f.redis.URL(),
		Config:  "limits: {granularity: scope, classes: {default: [{requests: 120, window: " + window + "}]}" + limits + "}\n",
		Sandbox: func(c *sandbox.Config) { c.Limits = sandbox.LimitConfig{Window: length, BlockOnOvershoot: true} }})
	f.replicas = []*harness.Gateway{first, first.Replica()}
	f.tokens = map[string]string{"payments": first.JWT("ada"), "platform": first.JWT("grace")}
	time.Sleep(2 * time.Second) // a Redis without memory is waited for before anything is granted
	return f
}

// While Redis is stopped two replicas spend what the window had left, each its half and no more, and upstream refuses
// nothing then or afterwards.
func TestReplicasSpendTheirSharesWhileRedisIsStopped(t *testing.T) {
	f := startTwo(t, "15s", ", redis_away: share")
	teams := []string{"payments", "platform"} // whose clients ask the first replica, and the second
	ask := func(i int) {
		f.one(f.replicas[i], teams[i], f.tokens[teams[i]], func() bool { return true })
	}
	ask(0)
	ask(1)
	time.Sleep(time.Second) // each has read what the other spent
	if f.served["payments"] != 1 || f.served["platform"] != 1 {
		t.Fatalf("%v before the outage, want one served at each", f.statuses)
	}
	f.redis.Pause()
	var wg sync.WaitGroup
	for i := range f.replicas {
		for range 80 {
			wg.Go(func() { ask(i) })
		}
	}
	wg.Wait()
	f.redis.Resume()
	for _, team := range teams {
		if n, most := f.served[team]-1, (120-2)/2; n == 0 || n > most {
			t.Errorf("%d of %s's requests were served while Redis was stopped, want some, and not more than their replica's share of %d", n, team, most)
		}
	}
	if f.statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("more was asked than the shares, and nobody was refused")
	}
	t.Logf("served %v while Redis was stopped", f.served)
	f.load(10, 6*time.Second, always).Wait()
	f.wantClean(http.StatusServiceUnavailable)
}
