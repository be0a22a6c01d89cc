package e2e

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// replicas starts n gateways of one service with a Redis, and waits until each hears of the others' writes.
func replicas(t *testing.T, n int, options harness.Options) ([]*harness.Gateway, *redis.Server) {
	t.Helper()
	server := redis.Start(t)
	options.Redis = server.URL()
	all := []*harness.Gateway{harness.Start(t, options)}
	for len(all) < n {
		all = append(all, all[0].Replica())
	}
	trusting(t, all...)
	return all, server
}

// trusting waits until the replicas believe their memory.
func trusting(t *testing.T, all ...*harness.Gateway) {
	t.Helper()
	for _, g := range all {
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(metricsOf(t, g), "gateway_cache_trusted 1"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a replica does not hear of the others' writes after 20 s")
			}
		}
	}
}

func metricsOf(t *testing.T, g *harness.Gateway) string {
	t.Helper()
	response, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sharedMetrics is what a replica says of its work with the others, and how its reads were served.
func sharedMetrics(t *testing.T, g *harness.Gateway) string {
	var lines []string
	for line := range strings.Lines(metricsOf(t, g)) {
		if strings.HasPrefix(line, "gateway_cache_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "; ")
}

// plenty tells the gateway that upstream's quota is large: these tests are not about it.
func plenty(w http.ResponseWriter) {
	for name, value := range map[string]string{"Limit": "100000", "Remaining": "99999", "Reset": "60"} {
		w.Header().Set("X-Ratelimit-"+name, value)
	}
}

// slowly makes upstream take its time for reads of a path.
func slowly(path string, pause time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Path == path {
				time.Sleep(pause)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestAThousandColdReadsOnThreeReplicasAreOneUpstreamCall asks again for something else where a replica lost Redis
// meanwhile, as it does on a machine that has no time for it: such a replica rightly fetches for itself.
func TestAThousandColdReadsOnThreeReplicasAreOneUpstreamCall(t *testing.T) {
	t.Parallel()
	path := own + "/functions"
	all, _ := replicas(t, 3, harness.Options{Front: slowly(path, 2*time.Second)}) // so that all are there before it answers
	token := all[0].JWT("ada")
	for round := range 5 {
		lost, before := lostRedis(t, all), len(upstreamRequests(all[0], path))
		collapsed := thousand(t, all, token, path+"?round="+strconv.Itoa(round))
		asked := len(upstreamRequests(all[0], path)) - before
		if lostRedis(t, all) != lost {
			trusting(t, all...)
			continue
		}
		if asked != 1 {
			t.Errorf("%d upstream calls, want 1", asked)
			for _, g := range all {
				t.Log(sharedMetrics(t, g))
			}
		}
		if collapsed < 900 {
			t.Errorf("%d of 1000 were collapsed: they were not all there at once", collapsed)
		}
		return
	}
	t.Fatal("in none of five rounds all replicas kept their Redis")
}

// thousand asks all replicas at once and returns how many answers were another's.
func thousand(t *testing.T, all []*harness.Gateway, token, target string) int64 {
	var group sync.WaitGroup
	var collapsed atomic.Int64
	for i := range 1000 {
		group.Go(func() {
			a := all[i%len(all)].Get(token, target)
			if !unlimited(t, a) && (a.StatusCode != http.StatusOK || a.Text == "") {
				t.Errorf("%d %s", a.StatusCode, a.Text)
			}
			if strings.Contains(a.Header.Get("Cache-Status"), "collapsed") {
				collapsed.Add(1)
			}
		})
	}
	group.Wait()
	return collapsed.Load()
}

// lostRedis tells how often the replicas could not use Redis so far.
func lostRedis(t *testing.T, all []*harness.Gateway) (sign string) {
	for _, g := range all {
		for line := range strings.Lines(metricsOf(t, g)) {
			if strings.HasPrefix(line, `gateway_cache_shared_total{result="failed"}`) || strings.HasPrefix(line, "gateway_cache_outages_total") {
				sign += line
			}
		}
	}
	return sign
}

func TestTeamsOnTwoReplicasThatAskAtOnceSeeOnlyTheirs(t *testing.T) {
	t.Parallel()
	all, _ := replicas(t, 2, harness.Options{Front: slowly("/v1/projects", 500*time.Millisecond)})
	want := map[string][]string{
		all[0].JWT("ada"): {sandbox.Payments, sandbox.Ledger},
		all[0].JWT("bob"): {sandbox.FieldApp},
	}
	var asked sync.WaitGroup
	for token, mine := range want {
		for i := range 20 {
			asked.Go(func() {
				if got := refs(t, all[i%2].Get(token, "/v1/projects")); !slices.Equal(got, mine) {
					t.Errorf("one team sees %v, want %v", got, mine)
				}
			})
		}
	}
	asked.Wait()
	if n := len(upstreamRequests(all[0], "/v1/projects")); n != 1 {
		t.Errorf("upstream was asked %d times: the list was not shared", n)
	}
}

func TestARevokedTokenIsRefusedWhatOtherReplicasHaveMadeWarm(t *testing.T) {
	t.Parallel()
	all, _ := replicas(t, 2, harness.Options{})
	path := own + "/functions"
	all[1].Get(all[1].JWT("ada"), path)
	token := all[0].Token("payments")
	// The other has yet to put it into Redis, where this one finds it though it may not ask upstream.
	for deadline := time.Now().Add(2 * time.Second); !isHit(all[0].Get(token, path, "Cache-Control", "only-if-cached")); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what one replica fetched the other has not")
		}
	}
	if n := len(upstreamRequests(all[0], path)); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
	if _, stderr, err := all[0].Run("token", "revoke", token); err != nil {
		t.Fatalf("revoking: %v\n%s", err, stderr)
	}
	if a := all[0].Get(token, path); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked token was answered %d %q", a.StatusCode, a.Header.Get("Cache-Status"))
	}
}

func TestAReplicaKilledDuringAFillKeepsTheOthersWaitingTwoSecondsAtMost(t *testing.T) {
	t.Parallel()
	path := own + "/functions"
	reading, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var first atomic.Bool
	all, _ := replicas(t, 2, harness.Options{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path && first.CompareAndSwap(false, true) {
				close(reading)
				select {
				case <-release:
				case <-r.Context().Done(): // the one who asked is dead
				}
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	token := all[0].JWT("ada")
	go func() { // its answer never comes
		request, _ := http.NewRequest(http.MethodGet, all[0].URL+path, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
		}
	}()
	<-reading
	answered := make(chan harness.Answer)
	go func() { answered <- all[1].Get(token, path) }()
	time.Sleep(200 * time.Millisecond) // the other one waits by now; if not, it has less to wait for
	all[0].Kill()
	died := time.Now()
	a := <-answered
	if took := time.Since(died); a.StatusCode != http.StatusOK || took > 2500*time.Millisecond {
		t.Errorf("%d after %s", a.StatusCode, took)
	}
	if n := len(upstreamRequests(all[1], path)); n != 1 { // the stand-in behind the front has seen the second call alone
		t.Errorf("%d calls, want one more", n)
	}
	all[0].Launch()
}

func TestPurgeReachesAllReplicas(t *testing.T) {
	t.Parallel()
	all, server := replicas(t, 2, harness.Options{})
	path, admin := own+"/functions", all[0].JWT("grace")
	for _, body := range []string{`{"project":"` + sandbox.Payments + `"}`, `{"operation":"v1-list-all-functions"}`, `{"everything":true}`} {
		for _, g := range all {
			warm(t, g, admin, path)
		}
		if a := all[0].Do(all[0].JWT("ada"), http.MethodPost, "/-/api/purge", body); a.StatusCode != http.StatusForbidden {
			t.Errorf("somebody who is no administrator purges: %d", a.StatusCode)
		}
		if a := all[0].Do(admin, http.MethodPost, "/-/api/purge", body); a.StatusCode != http.StatusOK || !strings.Contains(a.Text, `"forgotten":`) {
			t.Fatalf("%s: %d %s", body, a.StatusCode, a.Text)
		}
		for i, g := range all {
			if a := g.Get(admin, path, "Cache-Control", "only-if-cached"); a.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("%s: replica %d still has it: %d", body, i, a.StatusCode)
			}
		}
		for deadline := time.Now().Add(5 * time.Second); len(server.Client().Keys(t.Context(), "gateway:{cache}:entry:*").Val()) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("Redis still has it")
			}
		}
	}
	for _, wrong := range []string{`{}`, `{"project":"x"}`, `{"operation":"nothing"}`, `{"everything":true,"project":"` + sandbox.Payments + `"}`, `{"all":true}`} {
		if a := all[0].Do(admin, http.MethodPost, "/-/api/purge", wrong); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, a.StatusCode, a.Text)
		}
	}
}

func TestWhatAWriteSaysItMadeIsReadAnew(t *testing.T) {
	t.Parallel()
	other := "/v1/projects/" + sandbox.Ledger + "/functions"
	for _, name := range []string{"Location", "Content-Location"} {
		g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set(name, other)
				}
				next.ServeHTTP(w, r)
			})
		}})
		token := g.JWT("ada")
		warm(t, g, token, other)
		if a := g.Do(token, http.MethodPost, own+"/secrets", `[{"name":"A","value":"b"}]`); a.StatusCode >= 300 {
			t.Fatalf("the write: %d %s", a.StatusCode, a.Text)
		}
		if a := g.Get(token, other); isHit(a) {
			t.Errorf("%s: behind the write %q is served", name, a.Header.Get("Cache-Status"))
		}
	}
}
