package e2e

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
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

// recovered is how soon behind a fail-over nobody may be refused any more.
const recovered = 10 * time.Second

func TestTwoReplicasOnSentinelSurviveAFailOver(t *testing.T) {
	s := redis.StartSentinel(t)
	startSurvivors(t, s.URL()).surviveFailOver(s.FailOver)
}

func TestTwoReplicasOnAClusterSurviveAFailOver(t *testing.T) {
	c := redis.StartCluster(t)
	startSurvivors(t, c.URL()).surviveFailOver(func() { c.FailOver("{platform-bot}") }) // where the quota is counted
}

// survivors are two replicas before an upstream of two projects: one counts writes, as register does, the other requests, which
// it blocks where they are too many.
type survivors struct {
	t             *testing.T
	one, two      *harness.Gateway
	jwt, minted   string
	written       atomic.Int64 // the last write whose answer has come
	served        atomic.Int64
	mu            sync.Mutex
	refused       map[string]int // by code
	lastRefusal   time.Time
	limited, hits atomic.Int64
}

const counted = "/v1/projects/" + sandbox.Ledger + "/secrets"

func startSurvivors(t *testing.T, redisURL string) *survivors {
	register := &register{}
	one := harness.Start(t, harness.Options{Redis: redisURL,
		Config: "limits: {granularity: scope, classes: {default: [{requests: 120, window: 3s}]}}\n" +
			"audit: {flush: 10ms, sinks: [{redis: {stream: \"gateway:audit\"}, required: true}]}\n",
		Sandbox: func(c *sandbox.Config) { c.Limits = sandbox.LimitConfig{Window: window, BlockOnOvershoot: true} },
		Front: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, own+"/") {
					register.ServeHTTP(w, r)
				} else {
					next.ServeHTTP(w, r)
				}
			})
		}})
	p := &survivors{t: t, one: one, two: one.Replica(), refused: map[string]int{}}
	trusting(t, p.one, p.two)
	p.jwt, p.minted = one.JWT("ada"), one.Token("payments")
	return p
}

// surviveFailOver checks what replicas promise before a fail-over and after it, and what clients meet meanwhile.
func (p *survivors) surviveFailOver(failOver func()) {
	t := p.t
	someone := newBrowser(t, p.one)
	someone.signIn("ada")
	p.essentials(someone)

	ctx, cancel := context.WithCancel(t.Context())
	load := p.load(ctx)
	time.Sleep(time.Second)
	failOver()
	over := time.Now()
	p.quiet(over)
	cancel()
	load.Wait()

	t.Logf("%d served, %d of them hits, %d counted; refused %v, the last %s behind the fail-over", p.served.Load(), p.hits.Load(), p.limited.Load(),
		p.refused, p.lastRefusal.Sub(over).Round(10*time.Millisecond))
	if p.hits.Load() == 0 || p.limited.Load() == 0 || len(p.refused) == 0 {
		t.Error("the test tests nothing")
	}
	trusting(t, p.one, p.two)
	p.essentials(someone)
	for _, g := range []*harness.Gateway{p.one, p.two} {
		if n := strings.Count(g.Log(), "upstream answered 429"); n != 0 {
			t.Errorf("upstream answered 429 %d times, want 0", n)
		}
		for line := range strings.Lines(g.Log()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("standard error has a line that is no JSON: %s", line)
			}
		}
	}
}

// essentials are what makes two replicas one service.
func (p *survivors) essentials(someone *browser) {
	t := p.t
	t.Helper()
	path := own + "/functions"
	token := p.one.Token("payments")
	if a := p.two.Get(token, path); a.StatusCode != http.StatusOK {
		t.Errorf("a token made beside one replica is answered %d %s by the other", a.StatusCode, a.Text)
	}
	if a := someone.open(p.two.URL + "/-/tokens"); a.StatusCode != http.StatusOK {
		t.Errorf("a session begun at one replica is answered %d by the other", a.StatusCode)
	}
	before := warm(t, p.two, token, path)
	if a := p.one.Do(token, http.MethodPost, own+"/secrets", `[{"name":"A","value":"b"}]`); a.StatusCode != http.StatusOK {
		t.Errorf("a write was answered %d %s", a.StatusCode, a.Text)
	}
	if a := p.two.Get(token, path); isHit(a) || a.Text == before.Text {
		t.Errorf("behind a write at one replica the other answers %q %s", a.Header.Get("Cache-Status"), a.Text)
	}
	if _, stderr, err := p.one.Run("token", "revoke", token); err != nil {
		t.Fatalf("revoking: %v\n%s", err, stderr)
	}
	refusedWithin(t, p.two, token, path, time.Now())
	for _, g := range []*harness.Gateway{p.one, p.two} {
		written := g.Do(p.jwt, http.MethodPost, own+"/secrets", `[{"name":"A","value":"b"}]`)
		stdout, stderr, err := p.two.Run("audit", "search", "--request", written.Header.Get("X-Request-Id"), "--phase", "all", "--format", "json")
		if err != nil || strings.Count(stdout, "\n") != 2 {
			t.Errorf("the log in Redis has %s of a write, want its intent and its outcome: %v %s", stdout, err, stderr)
		}
	}
}

// load has clients ask both replicas until ctx ends: one writes, some read what it wrote, others spend the counted quota.
func (p *survivors) load(ctx context.Context) *sync.WaitGroup {
	var clients sync.WaitGroup
	repeat := func(pause time.Duration, request func()) {
		clients.Go(func() {
			for ctx.Err() == nil {
				request()
				time.Sleep(rand.N(pause))
			}
		})
	}
	repeat(100*time.Millisecond, p.write)
	for _, g := range []*harness.Gateway{p.one, p.two} {
		for _, token := range []string{p.jwt, p.minted} {
			repeat(20*time.Millisecond, func() { p.read(g, token) })
			for range 6 {
				repeat(20*time.Millisecond, func() {
					if a := p.ask(g, token, http.MethodGet, counted, "Cache-Control", "no-store"); a.StatusCode == http.StatusOK {
						p.limited.Add(1)
					}
				})
			}
		}
	}
	return &clients
}

func (p *survivors) write() {
	if a := p.ask(p.one, p.jwt, http.MethodPost, own+"/secrets"); a.StatusCode == http.StatusOK {
		p.written.Store(number(a))
	}
}

func (p *survivors) read(g *harness.Gateway, token string) {
	floor := p.written.Load()
	a := p.ask(g, token, http.MethodGet, own+"/functions")
	if a.StatusCode != http.StatusOK {
		return
	}
	if got := number(a); got < floor {
		p.t.Errorf("a read that began behind write %d was answered %d (%s)", floor, got, a.Header.Get("Cache-Status"))
	}
	if isHit(a) {
		p.hits.Add(1)
	}
}

func number(a harness.Answer) int64 {
	n, _ := strconv.ParseInt(strings.Trim(a.Text, "[]\n"), 10, 64)
	return n
}

// ask sends a request and checks that it is served, or refused as Redis's absence is.
func (p *survivors) ask(g *harness.Gateway, token, method, path string, headers ...string) harness.Answer {
	body := ""
	if method == http.MethodPost {
		body = `[{"name":"A","value":"b"}]`
	}
	request, _ := http.NewRequest(method, g.URL+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := patient.Do(request)
	if err != nil {
		p.t.Errorf("%s %s: %v", method, path, err)
		return harness.Answer{Response: &http.Response{}}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := harness.Answer{Response: response, Text: string(text)}
	var problem harness.Problem
	switch {
	case err != nil:
		p.t.Errorf("%s %s: reading the answer: %v", method, path, err)
	case a.StatusCode == http.StatusOK:
		p.served.Add(1)
	case a.StatusCode != http.StatusServiceUnavailable || json.Unmarshal(text, &problem) != nil || !strings.HasSuffix(problem.Code, "_unavailable"):
		p.t.Errorf("%s %s was answered %d %s", method, path, a.StatusCode, text)
	default:
		p.mu.Lock()
		p.refused[problem.Code]++
		p.lastRefusal = time.Now()
		p.mu.Unlock()
	}
	return a
}

// quiet waits until nobody was refused for two seconds.
func (p *survivors) quiet(since time.Time) {
	p.t.Helper()
	last := func() time.Time {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.lastRefusal
	}
	for time.Since(last()) < 2*time.Second || time.Since(since) < 2*time.Second {
		if time.Since(since) > recovered+2*time.Second {
			p.t.Errorf("%s behind the fail-over requests are still refused", recovered)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
