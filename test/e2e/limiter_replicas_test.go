package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// window is how long the stand-in's standard window lasts in these tests: 120 requests in it.
const window = 3 * time.Second

// fleet is three replicas before one upstream, and what their clients met.
type fleet struct {
	t        *testing.T
	redis    *redis.Server
	replicas []*harness.Gateway
	tokens   map[string]string // by team

	mu       sync.Mutex
	statuses map[int]int
	served   map[string]int // by team
	lost     int            // requests that were never answered, of replicas that were there
	slowest  time.Duration
}

func startFleet(t *testing.T) *fleet {
	f := &fleet{t: t, redis: redis.Start(t), statuses: map[int]int{}, served: map[string]int{}}
	first := harness.Start(t, harness.Options{Redis: f.redis.URL(),
		Config:  "limits: {granularity: scope, classes: {default: [{requests: 120, window: 3s}]}}\n",
		Sandbox: func(c *sandbox.Config) { c.Limits = sandbox.LimitConfig{Window: window, BlockOnOvershoot: true} }})
	f.replicas = []*harness.Gateway{first, first.Replica(), first.Replica()}
	f.tokens = map[string]string{"payments": first.JWT("ada"), "platform": first.JWT("grace")}
	time.Sleep(2 * time.Second) // a Redis without memory is waited for before anything is granted
	return f
}

// load has clients of every team ask every replica until the time is over. What alive denies is not asked.
func (f *fleet) load(clients int, during time.Duration, alive func(replica int) bool) *sync.WaitGroup {
	var wg sync.WaitGroup
	end := time.Now().Add(during)
	for i, g := range f.replicas {
		for team, token := range f.tokens {
			for range clients {
				wg.Go(func() {
					for time.Now().Before(end) && alive(i) {
						f.one(g, team, token, func() bool { return alive(i) })
					}
				})
			}
		}
	}
	return &wg
}

var patient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 200}}

func (f *fleet) one(g *harness.Gateway, team, token string, alive func() bool) {
	request, _ := http.NewRequest(http.MethodGet, g.URL+"/v1/projects/"+sandbox.Payments+"/secrets", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Cache-Control", "no-store")
	began := time.Now()
	response, err := patient.Do(request)
	took := time.Since(began)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if alive() {
			f.lost++
		}
		return
	}
	response.Body.Close()
	f.statuses[response.StatusCode]++
	f.slowest = max(f.slowest, took)
	if response.StatusCode == http.StatusOK {
		f.served[team]++
	}
}

func always(int) bool { return true }

// wantClean checks what must hold whatever happened: upstream had nothing to refuse, and everybody was answered.
func (f *fleet) wantClean(also ...int) {
	f.t.Helper()
	if n := f.upstreamRefusals(); n != 0 {
		f.t.Errorf("upstream answered 429 %d times, want 0", n)
	}
	if f.lost != 0 {
		f.t.Errorf("%d requests were never answered", f.lost)
	}
	known := map[int]bool{http.StatusOK: true}
	for _, status := range also {
		known[status] = true
	}
	for status, n := range f.statuses {
		if !known[status] {
			f.t.Errorf("%d answers with status %d", n, status)
		}
	}
	f.t.Logf("statuses %v, by team %v, slowest %s", f.statuses, f.served, f.slowest.Round(time.Millisecond))
}

func (f *fleet) upstreamRefusals() int {
	n := 0
	for _, g := range f.replicas {
		n += strings.Count(g.Log(), "upstream answered 429")
	}
	return n
}

func TestReplicasShareOneQuotaFairly(t *testing.T) {
	f := startFleet(t)
	f.load(25, 4*window, always).Wait()
	f.wantClean()
	a, b := float64(f.served["payments"]), float64(f.served["platform"])
	if index := (a + b) * (a + b) / (2 * (a*a + b*b)); index < 0.99 {
		t.Errorf("Jain index %.4f of %v, want 0.99", index, f.served)
	}
	if whole := 3 * 120; f.served["payments"]+f.served["platform"] < whole {
		t.Errorf("%v served in four windows, want at least three windows' worth, %d", f.served, whole)
	}
}

func TestAReplicaIsKilledUnderLoad(t *testing.T) {
	f := startFleet(t)
	var mu sync.Mutex
	killed := false
	load := f.load(20, 4*window, func(i int) bool { mu.Lock(); defer mu.Unlock(); return i != 2 || !killed })
	time.Sleep(window + window/2)
	mu.Lock()
	killed = true
	mu.Unlock()
	f.replicas[2].Kill()
	load.Wait()
	f.wantClean()
}

func TestRedisStopsForAWhileUnderLoad(t *testing.T) {
	f := startFleet(t)
	load := f.load(15, 5*window, always)
	time.Sleep(window)
	f.redis.Pause()
	time.Sleep(4 * time.Second)
	f.redis.Resume()
	load.Wait()
	f.wantClean(http.StatusServiceUnavailable)
	if f.statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("nobody was told that the quota cannot be counted")
	}
}

func TestRedisForgetsUnderLoad(t *testing.T) {
	for name, forget := range map[string]func(*redis.Server){"flushed": (*redis.Server).Flush, "restarted": (*redis.Server).Restart} {
		t.Run(name, func(t *testing.T) {
			f := startFleet(t)
			load := f.load(15, 5*window, always)
			for range 2 {
				time.Sleep(window + window/3)
				forget(f.redis)
			}
			load.Wait()
			f.wantClean(http.StatusServiceUnavailable)
		})
	}
}
