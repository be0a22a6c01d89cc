package e2e

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// disturb switches one fault on after the other, each for a moment and with a pause behind it, until the end.
func (s *soak) disturb(end time.Time) {
	const (
		moment = 800 * time.Millisecond
		killed = "replica killed and started"
	)
	upstream := func(name string) func() {
		return func() {
			s.upstream.mode.Store(name)
			time.Sleep(moment)
			s.upstream.mode.Store("")
		}
	}
	faults := []struct {
		name   string
		happen func()
	}{
		{"upstream slow", upstream("slow")},
		{"upstream 503", upstream("503")},
		{"upstream resets", upstream("reset")},
		{"429 by outsiders", upstream("429")},
		{"Redis paused", func() { s.redis.Pause(); time.Sleep(moment); s.redis.Resume() }},
		{"Redis restarted, empty", func() { s.newRedis(s.redis.Restart) }},
		{"Redis flushed", func() { s.newRedis(s.redis.Flush) }},
		{"policy reloaded", s.reloadPolicy},
		{"token revoked", s.revoke},
		{killed, func() { s.restart(1 + s.faults[killed]%2) }}, // never the first, which is watched for leaks
	}
	for i := 0; time.Now().Before(end); i++ {
		fault := faults[i%len(faults)]
		s.faults[fault.name]++
		fault.happen()
		time.Sleep(moment) // what comes next must not hide that this one does not end
		if i%len(faults) == len(faults)-1 {
			s.loaded = append(s.loaded, s.footprint())
		}
	}
}

// newRedis empties Redis, and with it forgets the minted token, in whose place comes another.
func (s *soak) newRedis(empty func()) {
	s.minted.Store(&mintedToken{text: "", revoked: true, revokedAt: time.Now()}) // no token at all until there is another
	empty()
	s.mint()
}

// mint puts a new token in use. Redis may be on its way back, which the command line says by failing.
func (s *soak) mint() {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		stdout, stderr, err := s.replicas[0].Run("token", "create", "--subject", "payments-robot", "--team", "payments", "--name", "soak")
		if err == nil {
			s.minted.Store(&mintedToken{text: strings.TrimSpace(stdout)})
			return
		}
		if time.Now().After(deadline) {
			s.fault("no token can be minted 20 s after Redis came back: %s", stderr)
			return
		}
	}
}

// revoke ends the token in use, watches for two seconds that nobody believes it, and puts another in use.
func (s *soak) revoke() {
	token := s.minted.Load()
	if token.text == "" {
		s.mint()
		token = s.minted.Load()
	}
	// Answers on their way are judged by the token that they began with, so it is replaced by its revoked self first.
	s.minted.Store(&mintedToken{text: token.text, revoked: true, revokedAt: time.Now().Add(time.Hour)})
	if _, stderr, err := s.replicas[0].Run("token", "revoke", token.text); err != nil {
		s.fault("revoking: %v: %s", err, stderr)
	}
	s.minted.Store(&mintedToken{text: token.text, revoked: true, revokedAt: time.Now()})
	time.Sleep(2 * time.Second)
	s.mint()
}

// reloadPolicy grants linus a project on every replica and takes it away again; both must be heard of.
func (s *soak) reloadPolicy() {
	granting := harness.Policy + "  - name: research\n    members: [{group: research}]\n    allow:\n      - {projects: [" + sandbox.FieldApp + "], scopes: [\"*\"]}\n"
	for _, step := range []struct {
		policy string
		want   int
	}{{granting, http.StatusOK}, {harness.Policy, http.StatusForbidden}} {
		for _, g := range s.replicas {
			g.Write("policy.yaml", step.policy)
		}
		for i := range s.replicas {
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				status, _ := s.send(i, s.replicas[0].JWT("linus"), "GET", "/v1/projects/"+sandbox.FieldApp+"/functions", "")
				if status == step.want {
					break
				}
				if time.Now().After(deadline) {
					s.fault("replica %d answers linus %d 20 s after a policy by which it is %d", i, status, step.want)
					break
				}
			}
		}
	}
}

// restart kills a replica under load, as a crash does, and starts it again.
func (s *soak) restart(replica int) {
	s.down[replica].Store(true)
	from := time.Now()
	s.replicas[replica].Kill()
	s.replicas[replica].Launch()
	s.mu.Lock()
	s.kills[replica] = append(s.kills[replica], kill{from, time.Now()})
	s.mu.Unlock()
	s.down[replica].Store(false)
}

// faultyUpstream stands before the stand-in, fails as it is told, and remembers which writes came.
type faultyUpstream struct {
	mode     atomic.Value // what is wrong with it; "": nothing
	requests atomic.Int64

	mu     sync.Mutex
	writes map[string]arrivals // by marker
}

// arrivals is how often one write came, and was performed. One that was refused by 429 may come again; no other may.
type arrivals struct{ refused, performed, failed int }

func newFaultyUpstream() *faultyUpstream {
	u := &faultyUpstream{writes: map[string]arrivals{}}
	u.mode.Store("")
	return u
}

func (u *faultyUpstream) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the gateway broke off: nothing is performed
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		marker := markerIn(string(body))
		switch mode := u.mode.Load(); mode {
		case "429":
			u.note(marker, arrivals{refused: 1})
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"message":"Too Many Requests"}`, http.StatusTooManyRequests)
		case "503":
			u.note(marker, arrivals{failed: 1})
			http.Error(w, `{"message":"Service Unavailable"}`, http.StatusServiceUnavailable)
		case "reset":
			u.note(marker, arrivals{failed: 1})
			panic(http.ErrAbortHandler)
		default:
			if mode == "slow" {
				time.Sleep(300 * time.Millisecond)
			}
			u.note(marker, arrivals{performed: 1})
			next.ServeHTTP(w, r)
		}
	})
}

func (u *faultyUpstream) note(marker string, a arrivals) {
	if marker == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := u.writes[marker]
	u.writes[marker] = arrivals{sum.refused + a.refused, sum.performed + a.performed, sum.failed + a.failed}
}

// markerIn is the name that a write bears in its body, "" for none.
func markerIn(body string) string {
	_, after, _ := strings.Cut(body, `"name":"SOAK_`)
	marker, _, _ := strings.Cut(after, `"`)
	return marker
}
