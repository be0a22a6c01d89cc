package limiter_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
)

// upstream is a simulated upstream: fixed windows that start with their first request, behind a slow network. Its
// time is a synctest bubble's. The zero value with limits set counts per scope and tells seconds, rounded up.
type upstream struct {
	limits      []catalog.Limit
	perEndpoint bool
	millis      bool // X-RateLimit-Reset in milliseconds
	silent      bool // no X-RateLimit-* at all
	blocks      bool // a request too many blocks for a whole further window
	min, max    time.Duration

	mu      sync.Mutex
	rand    *rand.Rand
	windows map[string][]simWindow
	refused int // 429s answered to the gateway
	served  int
	begun   int // windows begun
}

type simWindow struct {
	start   time.Time
	used    int
	blocked time.Time
}

func newUpstream(seed uint64, limits ...catalog.Limit) *upstream {
	return &upstream{limits: limits, min: 20 * time.Millisecond, max: 150 * time.Millisecond,
		rand: rand.New(rand.NewPCG(seed, 1)), windows: map[string][]simWindow{}}
}

// way is how long one direction takes: a round trip lasts between min and max.
func (u *upstream) way() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return (u.min + time.Duration(u.rand.Int64N(int64(u.max-u.min+1)))) / 2
}

// pause is how long somebody waits who comes at random, every so often on average.
func (u *upstream) pause(mean time.Duration) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Duration(u.rand.ExpFloat64() * float64(mean))
}

// call is one request of the gateway, network included.
func (u *upstream) call(scope string, op *catalog.Operation) (int, http.Header) {
	time.Sleep(u.way())
	status, h := u.count(scope, op)
	time.Sleep(u.way())
	return status, h
}

// count is what upstream does with a request, the gateway's or an outsider's.
func (u *upstream) count(scope string, op *catalog.Operation) (int, http.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	key := scope + " " + op.Class.Name
	if u.perEndpoint {
		key = scope + " " + op.ID
	}
	limits := u.limits
	if limits == nil {
		limits = op.Class.Limits
	}
	windows := u.windows[key]
	if windows == nil {
		windows = make([]simWindow, len(limits))
		u.windows[key] = windows
	}
	full, until := false, now
	for i := range windows {
		w, l := &windows[i], limits[i]
		if !w.start.IsZero() && !now.Before(w.start.Add(l.Window)) && !now.Before(w.blocked) {
			*w = simWindow{}
		}
		if now.Before(w.blocked) || w.used >= l.N {
			full = true
			if u.blocks {
				w.blocked = now.Add(l.Window)
			}
			end := w.start.Add(l.Window)
			if w.blocked.After(end) {
				end = w.blocked
			}
			if end.After(until) {
				until = end
			}
		}
	}
	if full {
		u.refused++
		seconds := int((until.Sub(now) + time.Second - 1) / time.Second)
		return http.StatusTooManyRequests, http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	}
	for i := range windows {
		if windows[i].start.IsZero() {
			windows[i].start = now
			u.begun++
		}
		windows[i].used++
	}
	u.served++
	if u.silent {
		return http.StatusOK, http.Header{}
	}
	w, l := windows[0], limits[0]
	left, one := w.start.Add(l.Window).Sub(now), time.Second
	if u.millis {
		one = time.Millisecond
	}
	return http.StatusOK, http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(l.N)},
		"X-Ratelimit-Remaining": {strconv.Itoa(l.N - w.used)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(int64((left+one-1)/one), 10)},
	}
}

// standard is upstream's limit for most operations.
var standard = catalog.Limit{N: 120, Window: time.Minute}

func class(name string, limits ...catalog.Limit) *catalog.Class {
	return &catalog.Class{Name: name, Limits: limits}
}

func operation(id string, c *catalog.Class) *catalog.Operation {
	return &catalog.Operation{ID: id, Class: c}
}

var getProject = operation("v1-get-project", class("default", standard))

const project = "project:abcdefghijklmnopqrst"

// send is one client's request from end to end, sent again as long as upstream refuses it.
func send(ctx context.Context, m limiter.Limiter, u *upstream, a limiter.Ask) error {
	slot, err := m.Acquire(ctx, a)
	for {
		if err != nil {
			return err
		}
		status, h := u.call(a.Scope, a.Op)
		slot.Learn(status, h)
		if status != http.StatusTooManyRequests {
			return nil
		}
		slot, err = slot.Retry(ctx)
	}
}

// saturate runs clients of a that send without pause until ctx ends, and counts what is served.
func saturate(ctx context.Context, wg *sync.WaitGroup, m limiter.Limiter, u *upstream, a limiter.Ask, clients int, served func()) {
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := send(ctx, m, u, a); err != nil {
					if ctx.Err() == nil {
						select {
						case <-time.After(time.Second):
						case <-ctx.Done():
						}
					}
					continue
				}
				served()
			}
		})
	}
}

func patientConfig() limiter.Config {
	return limiter.Config{MaxWait: 10 * time.Minute}
}

func ask(team string, weight int) limiter.Ask {
	return limiter.Ask{Owner: "bot", Scope: project, Op: getProject, Team: team, Weight: weight}
}

// jain is Jain's fairness index of shares by weight: 1 is perfect.
func jain(served map[string]int, weights map[string]int) float64 {
	sum, squares := 0.0, 0.0
	for team, weight := range weights {
		x := float64(served[team]) / float64(weight)
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(weights)) * squares)
}
