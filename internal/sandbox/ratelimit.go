package sandbox

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxBuckets bounds the memory of Limits. Twenty thousand projects asked within one window are more than any test has.
const maxBuckets = 20_000

// Limits counts requests in fixed windows as upstream does: a window starts with its first request, per token owner and
// project, organization or account. It is safe for concurrent use.
type Limits struct {
	chance func() float64 // uniform in [0, 1)

	mu      sync.Mutex
	config  LimitConfig // with its defaults, valid
	buckets map[bucketKey]*bucket
	refused int
}

// bucketKey names what is counted together. Of class and operation one is empty, by granularity.
type bucketKey struct{ owner, scope, class, operation string }

// bucket is the windows of one key; a request takes its place in all of them or in none.
type bucket struct {
	class   string
	limits  []limit // scaled
	windows []window
	refused int
}

// Bucket is what one bucket counted, for tests to read.
type Bucket struct {
	Owner     string        `json:"owner"`
	Scope     string        `json:"scope"`
	Class     string        `json:"class"`               // "default", "logs", "context", "hostname", "vanity" or "migrations"
	Operation string        `json:"operation,omitempty"` // with granularity "endpoint"
	Limit     int           `json:"limit"`
	Remaining int           `json:"remaining"`
	Reset     time.Duration `json:"reset_ns"` // until the window ends
	Refused   int           `json:"refused"`  // requests answered 429
}

// newLimits returns a counter with no window begun.
func newLimits(c LimitConfig) (*Limits, error) {
	l := &Limits{chance: rand.Float64}
	if err := l.Set(c); err != nil {
		return nil, err
	}
	return l, nil
}

// Set replaces the configuration and forgets every window and count. An invalid one changes nothing.
func (l *Limits) Set(c LimitConfig) error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.config, l.refused, l.buckets = c, 0, map[bucketKey]*bucket{}
	return nil
}

// Config returns the configuration in force.
func (l *Limits) Config() LimitConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config
}

// Spend lets an outsider use n requests of a quota, as far as it goes. The operation is a method and a path template; an
// empty one spends the standard limit of a scope, and counts only where the granularity is PerScope.
func (l *Limits) Spend(owner, scope, operation string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.find(time.Now(), owner, scope, operation).outsider(time.Now(), n)
}

// Refused is how many requests were answered 429 since the configuration was set.
func (l *Limits) Refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Buckets returns every bucket that is counting or has refused, in a stable order.
func (l *Limits) Buckets() []Bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	out := []Bucket{}
	for key, b := range l.buckets {
		b.roll(now)
		told := b.tell(now)
		out = append(out, Bucket{
			Owner: key.owner, Scope: key.scope, Class: b.class, Operation: key.operation,
			Limit: told.limit, Remaining: told.remaining, Reset: told.reset, Refused: b.refused,
		})
	}
	slices.SortFunc(out, func(a, b Bucket) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Operation, b.Operation))
	})
	return out
}

// wrap counts what route names before next sees it. The operation is a method and a path template; a request without one
// is not counted. The scope is "project:ref", "organization:slug" or "account". The quota is the authenticated owner's.
func (l *Limits) wrap(next http.Handler, route func(*http.Request) (operation, scope string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operation, scope := route(r)
		config := l.Config()
		if config.Off || operation == "" {
			next.ServeHTTP(w, r)
			return
		}
		v := l.take(time.Now(), ownerOf(r), scope, operation)
		v.writeHeaders(w.Header(), config, operation)
		if v.allow {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusTooManyRequests)
		w.Write([]byte(`{"message":"ThrottlerException: Too Many Requests"}`)) // the client may be gone
	})
}

// verdict is what one request was told.
type verdict struct {
	allow            bool
	limit, remaining int           // of the bucket's first limit
	reset            time.Duration // of the bucket's first limit
	retryAfter       time.Duration // of the limit that refuses for longest; zero when allowed
}

// take counts one request.
func (l *Limits) take(now time.Time, owner, scope, operation string) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.find(now, owner, scope, operation)
	v := b.take(now, l.config.BlockOnOvershoot)
	if !v.allow {
		l.refused++
	}
	// The outsider comes after the answer was computed: a client must not learn of every one of them at once.
	if l.config.Outsider > 0 && l.chance() < l.config.Outsider {
		b.outsider(now, 1)
	}
	return v
}

// find returns the bucket of a request, with windows that have ended forgotten. The caller holds the lock.
func (l *Limits) find(now time.Time, owner, scope, operation string) *bucket {
	class := classOf(operation)
	key := bucketKey{owner: owner, scope: scope, class: class.name}
	if l.config.Granularity == PerEndpoint {
		key.class, key.operation = "", operation
	}
	b := l.buckets[key]
	if b == nil {
		l.makeRoom(now)
		b = &bucket{class: class.name, windows: make([]window, len(class.limits))}
		for _, c := range class.limits {
			factor := float64(l.config.Window) / float64(standardWindow)
			b.limits = append(b.limits, limit{c.n, time.Duration(factor * float64(c.window))})
		}
		l.buckets[key] = b
	}
	b.roll(now)
	return b
}

// makeRoom keeps the map within its bound: ended buckets go first, and where every one still counts they all go, since
// such a flood is no measurement any more.
func (l *Limits) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if b.over(now) {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) > maxBuckets/2 {
		clear(l.buckets)
	}
}

func (b *bucket) roll(now time.Time) {
	for i, l := range b.limits {
		b.windows[i].roll(now, l)
	}
}

func (b *bucket) over(now time.Time) bool {
	for i, l := range b.limits {
		if !b.windows[i].over(now, l) {
			return false
		}
	}
	return true
}

// take counts one request in every window, or in none when one of them is full.
func (b *bucket) take(now time.Time, block bool) verdict {
	var retry time.Duration
	for i, l := range b.limits {
		w := &b.windows[i]
		if !w.full(now, l) {
			continue
		}
		if block {
			w.overshoot(now, l)
		}
		retry = max(retry, w.reset(now, l))
	}
	if retry > 0 {
		b.refused++
	} else {
		for i := range b.windows {
			b.windows[i].spend(now, 1)
		}
	}
	v := b.tell(now)
	v.allow, v.retryAfter = retry == 0, retry
	return v
}

// outsider spends n requests of every window, as far as they go.
func (b *bucket) outsider(now time.Time, n int) {
	for i, l := range b.limits {
		b.windows[i].spend(now, max(0, min(n, b.windows[i].remaining(now, l))))
	}
}

// tell gives the numbers that the headers carry.
func (b *bucket) tell(now time.Time) verdict {
	w, l := &b.windows[0], b.limits[0]
	return verdict{limit: l.n, remaining: w.remaining(now, l), reset: w.reset(now, l)}
}

// writeHeaders tells the verdict as the configuration wants it told.
func (v verdict) writeHeaders(h http.Header, c LimitConfig, operation string) {
	if !v.allow {
		h.Set("Retry-After", wholeSeconds(v.retryAfter))
	}
	if c.Headers == HeadersNever || c.Headers == HeadersRecorded && operation == "POST /v1/organizations" || !v.allow && c.Bare429 {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(v.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(v.remaining))
	if c.ResetUnit == Milliseconds {
		h.Set("X-RateLimit-Reset", strconv.FormatInt(v.reset.Milliseconds(), 10))
	} else {
		h.Set("X-RateLimit-Reset", wholeSeconds(v.reset))
	}
}

// wholeSeconds rounds up: whoever comes back at that time must not be early.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
