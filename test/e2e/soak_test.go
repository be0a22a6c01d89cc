package e2e

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

var (
	soakLength = flag.Duration("soak.length", 30*time.Second, "how long the soak's load and faults last")
	soakReport = flag.String("soak.report", "", "file that the soak's figures are written to; empty: none")
)

// Mixed load on three replicas while faults come and go: nothing leaks, no answer is wrong, and every request is
// accounted for between the client, the gateway's audit log and what upstream saw.
func TestSoak(t *testing.T) {
	s := startSoak(t)
	before := s.atRest()
	s.run(*soakLength)
	s.recover()
	s.account()
	after := s.atRest()
	t.Log(before, after)
	s.checkLeaks(before, after)
	s.write(before, after)
}

// soak is three replicas under load, what happens to them, and what everybody saw.
type soak struct {
	t        *testing.T
	redis    *redis.Server
	upstream *faultyUpstream
	replicas []*harness.Gateway
	down     []atomic.Bool // by replica: it is being killed or not yet ready again
	minted   atomic.Pointer[mintedToken]
	markers  atomic.Int64
	jwts     sync.Map       // by person and minute
	faults   map[string]int // how often each was switched on
	loaded   []footprint    // under load, each time that every fault has come and gone
	intents  int            // in the audit logs

	mu    sync.Mutex
	seen  []seen
	lost  int      // requests without an answer, of replicas that were killed
	kills [][]kill // by replica
	wrong []string
}

// seen is one answer as its client had it.
type seen struct {
	replica   int
	requestID string
	status    int
	marker    string // of a write
	at        time.Time
}

// kill is from when until when a replica was not there.
type kill struct{ from, to time.Time }

// mintedToken is a token in use, or one that was revoked.
type mintedToken struct {
	text      string
	revoked   bool
	revokedAt time.Time
}

func startSoak(t *testing.T) *soak {
	if testing.Short() {
		t.Skip("a short run leaves out the soak")
	}
	s := &soak{t: t, redis: redis.Start(t), upstream: newFaultyUpstream(), down: make([]atomic.Bool, 3), kills: make([][]kill, 3), faults: map[string]int{}}
	first := harness.Start(t, harness.Options{
		Redis: s.redis.URL(),
		// Quota is the limiter's tests' subject; the log of a long run must still be in one file to be read whole.
		Config: "limits: {classes: {default: [{requests: 100000, window: 1s}]}}\n" +
			"audit: {sinks: [{file: {dir: state/audit, max_size: 8GiB}, required: true}]}\n",
		Sandbox: func(c *sandbox.Config) { c.Limits.Off = true },
		Front:   s.upstream.wrap,
	})
	s.replicas = []*harness.Gateway{first, first.Replica(), first.Replica()}
	s.minted.Store(&mintedToken{text: first.Token("payments")})
	s.recover()
	s.mu.Lock()
	s.seen = nil
	s.mu.Unlock()
	return s
}

// run lets workers ask and faults come and go until the time is over.
func (s *soak) run(length time.Duration) {
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for worker := range 9 {
		workers.Go(func() { s.work(worker%len(s.replicas), stop) })
	}
	s.disturb(time.Now().Add(length))
	close(stop)
	workers.Wait()
}

// work asks one replica one thing after the other, at the pace of a busy tool.
func (s *soak) work(replica int, stop <-chan struct{}) {
	clock := time.NewTicker(20 * time.Millisecond)
	defer clock.Stop()
	for {
		select {
		case <-stop:
			return
		case <-clock.C:
			if !s.down[replica].Load() {
				kinds[rand.IntN(len(kinds))](s, replica)
			}
		}
	}
}

// kinds are what the load consists of. An answer that faults cannot explain is wrong.
var kinds = []func(s *soak, replica int){
	func(s *soak, replica int) { s.ask(replica, "ada", "GET", own+"/functions", "", 200) },
	func(s *soak, replica int) { s.ask(replica, "bob", "GET", own+"/functions", "", 403) },
	func(s *soak, replica int) { s.ask(replica, "", "GET", own+"/functions", "", 401) },
	func(s *soak, replica int) { s.ask(replica, "ada", "GET", own+"/types/typescript", "", 200) },
	func(s *soak, replica int) { s.askMinted(replica) },
	func(s *soak, replica int) {
		marker := fmt.Sprintf("SOAK_%d", s.markers.Add(1))
		s.ask(replica, "ada", "POST", own+"/secrets", `[{"name":"`+marker+`","value":"v"}]`, 201)
	},
	func(s *soak, replica int) {
		if text := s.ask(replica, "ada", "GET", "/v1/projects", "", 200); strings.Contains(text, sandbox.FieldApp) {
			s.fault("ada's list shows the field team's project")
		}
	},
	func(s *soak, replica int) {
		if text := s.ask(replica, "bob", "GET", "/v1/projects", "", 200); strings.Contains(text, sandbox.Payments) {
			s.fault("bob's list shows the payments team's project")
		}
	},
}

// excused are the statuses that upstream's and Redis's faults explain.
var excused = []int{429, 502, 503, 504}

// ask sends one request of a person and returns the answer's body where it is what was wanted.
func (s *soak) ask(replica int, who, method, path, body string, want int) string {
	token := ""
	if who != "" {
		token = s.jwt(who)
	}
	status, text := s.send(replica, token, method, path, body)
	if status != 0 && status != want && !(slices.Contains(excused, status) && want < 300) {
		s.fault("%s as %q: %s %s: %d, want %d: %.300s", s.replicas[replica].URL, who, method, path, status, want, text)
	}
	if status != want {
		return ""
	}
	return text
}

// jwt is a person's token of this minute: real clients use one for a while, and what the gateway remembers of each would look like
// a leak were there one for each request.
func (s *soak) jwt(who string) string {
	key := who + time.Now().Format(" 15:04")
	if token, found := s.jwts.Load(key); found {
		return token.(string)
	}
	token, _ := s.jwts.LoadOrStore(key, s.replicas[0].JWT(who))
	return token.(string)
}

// askMinted reads with the minted token in use. Once it is revoked no answer that begins a second later may be a good one.
func (s *soak) askMinted(replica int) {
	token := s.minted.Load()
	began := time.Now()
	status, text := s.send(replica, token.text, "GET", own+"/functions", "")
	switch {
	case status == 0 || slices.Contains(excused, status):
	case !token.revoked && status == 401 && s.minted.Load() == token, !token.revoked && status != 401 && status != 200:
		s.fault("a minted token is answered %d: %.300s", status, text)
	case token.revoked && status != 401 && began.Sub(token.revokedAt) > everywhere:
		s.fault("%v after its revocation a token is answered %d", began.Sub(token.revokedAt), status)
	}
}

// send returns status 0 where there is no answer since the replica was killed.
func (s *soak) send(replica int, token, method, path, body string) (int, string) {
	request, _ := http.NewRequest(method, s.replicas[replica].URL+path, strings.NewReader(body))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	marker := ""
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
		marker = markerIn(body)
	}
	began := time.Now()
	response, err := patient.Do(request)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.lost++
		if !s.down[replica].Load() && !s.killedSince(replica, began) {
			s.wrong = append(s.wrong, fmt.Sprintf("no answer of a replica that was not killed: %v", err))
		}
		return 0, ""
	}
	s.seen = append(s.seen, seen{replica, response.Header.Get("X-Request-Id"), response.StatusCode, marker, time.Now()})
	return response.StatusCode, string(text)
}

// killedSince reports whether a replica was away at any moment from then on. The mutex is held.
func (s *soak) killedSince(replica int, then time.Time) bool {
	last := len(s.kills[replica]) - 1
	return last >= 0 && s.kills[replica][last].to.After(then)
}

func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// recover waits until every replica answers everything again, as it must once the faults have ended.
func (s *soak) recover() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for i := range s.replicas {
		for _, path := range []string{own + "/functions", own + "/types/typescript", "/v1/projects"} {
			for {
				status, text := s.send(i, s.replicas[0].JWT("ada"), "GET", path, "")
				if status == 200 {
					break
				}
				if time.Now().After(deadline) {
					s.t.Fatalf("replica %d answers %d for %s 30 s after the last fault: %s", i, status, path, text)
				}
				time.Sleep(50 * time.Millisecond) // nothing tells from outside that a breaker or a back-off has ended
			}
		}
	}
}

// write keeps the figures of a run, and whether it passed.
func (s *soak) write(before, after footprint) {
	if *soakReport == "" {
		return
	}
	verdict := "No wrong answer, nothing unaccounted for, no leak."
	if s.t.Failed() {
		verdict = "**The run failed**; its output says of what."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Soak\n\n`make soak LENGTH=%v`, %s, %d cores: mixed load on three replicas with a shared Redis. %s\n\n",
		*soakLength, time.Now().UTC().Format(time.DateTime), runtime.NumCPU(), verdict)
	row := func(what string, figure any) { fmt.Fprintf(&b, "| %s | %v |\n", what, figure) }
	b.WriteString("| requests | |\n|---|---|\n")
	row("answered", fmt.Sprintf("%d, %.0f a second", len(s.seen), float64(len(s.seen))/soakLength.Seconds()))
	byStatus := map[int]int{}
	for _, one := range s.seen {
		byStatus[one.status]++
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		row(fmt.Sprintf("of them %d", status), byStatus[status])
	}
	row("cut off by a kill", s.lost)
	row("came upstream", s.upstream.requests.Load())
	row("writes that came upstream, and recorded intents", fmt.Sprintf("%d, %d", len(s.upstream.writes), s.intents))
	b.WriteString("\n| fault | times |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		row(name, s.faults[name])
	}
	b.WriteString("\n| the replica that nobody kills | |\n|---|---|\n")
	row("at rest, before", before)
	for quarter := 1; quarter <= 4 && len(s.loaded) >= 4; quarter++ {
		row(fmt.Sprintf("under load, %d/4", quarter), s.loaded[len(s.loaded)*quarter/4-1])
	}
	row("at rest, after", after)
	if err := os.WriteFile(*soakReport, []byte(b.String()), 0o644); err != nil {
		s.t.Error(err)
	}
}
