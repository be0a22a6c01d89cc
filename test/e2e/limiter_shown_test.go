package e2e

import (
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// quota is what an answer of a replica says of the quota.
type quota struct {
	limit, remaining, reset int
	queued                  time.Duration
}

var timing = regexp.MustCompile(`^queue;dur=([0-9.]+), upstream;dur=([0-9.]+)$`)

func (f *fleet) quota(g *harness.Gateway) quota {
	f.t.Helper()
	answer := g.Get(f.tokens["payments"], "/v1/projects/"+sandbox.Payments+"/secrets", "Cache-Control", "no-store")
	if answer.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s", answer.Status, answer.Text)
	}
	number := func(name string) int {
		n, err := strconv.Atoi(answer.Header.Get(name))
		if err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
		return n
	}
	said := timing.FindStringSubmatch(answer.Header.Get("Server-Timing"))
	if said == nil {
		f.t.Fatalf("Server-Timing: %q", answer.Header.Get("Server-Timing"))
	}
	milliseconds, _ := strconv.ParseFloat(said[1], 64)
	return quota{number("X-RateLimit-Limit"), number("X-RateLimit-Remaining"), number("X-RateLimit-Reset"), time.Duration(milliseconds * float64(time.Millisecond))}
}

// bucket is one as /-/api/quota shows it.
type bucket struct {
	Scope     string         `json:"scope"`
	Limit     int            `json:"limit"`
	Remaining int            `json:"remaining"`
	Reset     float64        `json:"reset_seconds"`
	Waiting   map[string]int `json:"waiting"`
}

// bucket is the project's bucket, which both replicas share, as one of them shows it.
func (f *fleet) bucket(g *harness.Gateway) bucket {
	f.t.Helper()
	answer := g.Get(f.tokens["payments"], "/-/api/quota")
	var all struct{ Buckets []bucket }
	if err := json.Unmarshal([]byte(answer.Text), &all); err != nil {
		f.t.Fatalf("%s: %s: %v", answer.Status, answer.Text, err)
	}
	at := slices.IndexFunc(all.Buckets, func(b bucket) bool { return b.Scope == "project:"+sandbox.Payments })
	if at < 0 {
		f.t.Fatalf("%s: %s, want a bucket of the project", answer.Status, answer.Text)
	}
	return all.Buckets[at]
}

// Whichever of two replicas a client asks, it is told of the quota as both have spent it, and how long it queued there.
func TestBothReplicasTellTheSameQuota(t *testing.T) {
	f := startTwo(t, "12s", "")
	began := time.Now()
	for n := range 10 {
		got := f.quota(f.replicas[n%2])
		if got.limit != 120 || got.remaining != 120-1-n {
			t.Errorf("request %d: %d of %d remain, want %d of 120", n+1, got.remaining, got.limit, 120-1-n)
		}
		if left := 12 - time.Since(began).Seconds(); float64(got.reset) < left-1.5 || float64(got.reset) > left+1.5 {
			t.Errorf("request %d: the next window begins in %d s, want about %.1f", n+1, got.reset, left)
		}
		if n > 0 && got.queued > time.Second {
			t.Errorf("request %d queued for %s, and nobody was before it", n+1, got.queued)
		}
	}
	for i, g := range f.replicas {
		b := f.bucket(g)
		if left := 12 - time.Since(began).Seconds(); b.Limit != 120 || b.Remaining != 110 || math.Abs(b.Reset-left) > 1.5 {
			t.Errorf("replica %d shows %+v, want 110 of 120 remaining and the next window in about %.1f s", i, b, left)
		}
	}

	var spenders, late sync.WaitGroup
	for i := range 110 {
		spenders.Go(func() { f.one(f.replicas[i%2], "payments", f.tokens["payments"], func() bool { return true }) })
	}
	spenders.Wait()
	for _, g := range f.replicas {
		late.Go(func() {
			asked := time.Now()
			got := f.quota(g)
			if whole := time.Since(asked); got.queued < whole/2 || got.queued > whole {
				t.Errorf("it queued for %s of the %s it took", got.queued, whole)
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		first, second := f.bucket(f.replicas[0]), f.bucket(f.replicas[1])
		if first.Waiting["payments"] == 2 && second.Waiting["payments"] == 2 && first.Remaining == 0 && second.Remaining == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replicas show %+v and %+v, want both waiting requests at both", first, second)
		}
	}
	late.Wait()
	f.wantClean()
}
