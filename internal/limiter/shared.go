package limiter

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

// SharedConfig is what Shared needs beside the settings.
type SharedConfig struct {
	Config

	// Client reaches the Redis that all replicas share. Its time-outs bound how long an outage goes unnoticed.
	Client redis.UniversalClient

	// Subscribe has heard called with every message on a channel, and missed whenever some may have passed unheard. nil:
	// replicas do not wake each other, and notice with the next heartbeat or at the next window.
	Subscribe func(channel string, heard func(message string), missed func())

	// Owners are the credential owners whose buckets Snapshot shows. Others are shown once they have been asked for.
	Owners []string

	Log *slog.Logger

	// ShareAway has this replica spend, while Redis is away, its share of what was left when it last heard: of each window
	// as many requests as remained, divided by the replicas. Otherwise nothing is sent meanwhile.
	ShareAway bool

	// Now is told to Redis as the time. nil: Redis tells the time, as it must wherever replicas run on several machines.
	// Simulations set it.
	Now func() time.Time
}

// wakeChannel carries the scopes whose waiters another replica has served.
const wakeChannel = keyPrefix + "wake"

// Shared is a limiter whose state replicas share through Redis. It is safe for concurrent use.
type Shared struct {
	config   SharedConfig // with its defaults
	settings *settings
	journal  *journal
	replica  string // names this life of this process

	closing context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	couriers map[string]*courier // by owner; as many as there are credential owners
}

// NewShared returns a limiter that shares its buckets with all that have the same Redis. The configuration must be valid.
// It does not wait for Redis. Close ends it.
func NewShared(c SharedConfig) *Shared {
	c.Config = c.Config.filled()
	s := &Shared{config: c, settings: c.settings(), journal: newJournal(c.Client, c.Now), replica: rand.Text(), couriers: map[string]*courier{}}
	s.closing, s.stop = context.WithCancel(context.Background())
	for _, owner := range c.Owners {
		s.courier(owner)
	}
	if c.Subscribe != nil {
		c.Subscribe(wakeChannel, s.heard, s.missed)
	}
	return s
}

// Close stops telling and reading. Nothing may be asked of s after it.
func (s *Shared) Close() {
	s.stop()
	s.running.Wait()
}

// Acquire implements Limiter.
func (s *Shared) Acquire(ctx context.Context, a Ask) (*Slot, error) {
	now := time.Now()
	deadline := now.Add(s.config.patience(&a))
	if d, ok := ctx.Deadline(); ok {
		deadline = earlier(deadline, d)
	}
	return s.acquire(ctx, &Slot{ask: a, claim: claim{kind: s.config.kind(a.Op), team: a.Team, weight: max(1, a.Weight), batch: a.Batch, asked: now, deadline: deadline}})
}

func (s *Shared) acquire(ctx context.Context, slot *Slot) (*Slot, error) {
	c := s.courier(slot.ask.Owner)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if k, err := c.reachable(ctx, slot); k != nil {
			slot.keeper, slot.waited = k, time.Since(slot.asked)
			return slot, nil
		} else if err != nil {
			return nil, err
		}
		k, err := c.enter(slot)
		if err != nil {
			return nil, err
		}
		select {
		case <-k.ready:
		case <-ctx.Done():
			c.abandon(k)
			return nil, ctx.Err()
		}
		switch {
		case k.alone:
			continue
		case k.err != nil:
			return nil, k.err
		case k.refused != nil:
			return nil, k.refused.problem()
		case c.fresh(k):
			slot.keeper, slot.waited = k, time.Since(slot.asked)
			return slot, nil
		}
		// The grant was long under way, and upstream's window may not wait for it: it is given back, and the request goes
		// first among those that wait.
		c.abandon(k)
		slot.claim.again = true
	}
}

// Quota implements Limiter, by what this replica has read.
func (s *Shared) Quota(owner, scope string, op *catalog.Operation) (limit, remaining int, reset time.Duration) {
	k := s.config.kind(op)
	return s.courier(owner).quota(scope, &k)
}

// Waiting implements Limiter.
func (s *Shared) Waiting() map[string]int {
	waiting := map[string]int{}
	for _, c := range s.all() {
		c.addWaiting(waiting)
	}
	return waiting
}

// Snapshot implements Limiter. What Redis does not tell in time is shown as last read.
func (s *Shared) Snapshot() []BucketState {
	var all []BucketState
	for _, c := range s.all() {
		all = c.appendStates(all)
	}
	sortStates(all)
	return all
}

func (s *Shared) courier(owner string) *courier {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.couriers[owner]
	if c == nil {
		c = &courier{shared: s, owner: owner, wake: make(chan struct{}, 1), mirrors: map[string]*mirror{}}
		s.couriers[owner] = c
		s.running.Go(func() { c.run(s.closing) })
	}
	return c
}

func (s *Shared) all() []*courier {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*courier, 0, len(s.couriers))
	for _, c := range s.couriers {
		all = append(all, c)
	}
	return all
}

// heard is told that another replica served waiters of a scope, some perhaps this replica's.
func (s *Shared) heard(message string) {
	replica, rest, _ := strings.Cut(message, " ")
	owner, scope, _ := strings.Cut(rest, " ")
	if replica == s.replica {
		return
	}
	s.mu.Lock()
	c := s.couriers[owner]
	s.mu.Unlock()
	if c != nil {
		c.look(scope)
	}
}

// missed is told that such messages may have passed unheard.
func (s *Shared) missed() {
	for _, c := range s.all() {
		c.look("")
	}
}

// unavailable is the problem of a request that cannot be counted.
func unavailable(err error) error {
	p := problem.New(http.StatusServiceUnavailable, problem.LimiterUnavailable,
		"The quota that all replicas share cannot be counted now. Nothing was sent upstream; try again shortly.")
	p.RetryAfter = time.Second
	if err == nil {
		return p
	}
	return p.Because(err)
}
