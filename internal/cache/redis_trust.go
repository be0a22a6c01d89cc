package cache

import (
	"context"
	"sync/atomic"
	"time"
)

// How long silence is believed to mean nothing. A feed calls itself deaf 0.8 s after the last sign of life.
const (
	registerEvery = 250 * time.Millisecond
	trustedFor    = time.Second     // after a registration was sent; several may be lost
	registeredFor = 2 * time.Second // in Redis: always longer than the replica trusts itself

	// deafWithin is when a replica that has not heard a message has surely stopped trusting its memory.
	deafWithin = 900 * time.Millisecond
	// silenceMeansDeaf is how long Redis must have answered nobody until every replica that will hear again forgets first:
	// deafWithin, and the quarter of a second in which this replica would have noticed that Redis answers again.
	silenceMeansDeaf = 1300 * time.Millisecond
)

// trust is whether this replica's memory may be believed, and Redis's.
type trust struct {
	began      time.Time
	registered atomic.Int64  // when, in ns since began, the last registration that succeeded was sent; 0: none holds
	heardAt    atomic.Int64  // when, in ns since began, the feed was last seen to hear
	outages    atomic.Uint64 // how often something may have been missed here, or could not be told from here
	settled    atomic.Uint64 // the outage after which Redis was told to forget
	wake       chan struct{}
}

func (t *trust) now() int64 { return int64(time.Since(t.began)) }

func (t *trust) recent(at int64, within time.Duration) bool {
	return at != 0 && time.Duration(t.now()-at) < within
}

// trusted tells whether memory may be believed: every write that was answered anywhere has raised the counters here. It
// costs two readings of the clock and no round trip.
func (s *shared) trusted() bool {
	return s.feed.Hearing() && s.trust.recent(s.trust.registered.Load(), trustedFor)
}

// usable tells whether what is kept in Redis may be believed: this replica hears, and nothing is left there from before
// an outage.
func (s *shared) usable() bool {
	return s.trust.settled.Load() == s.trust.outages.Load() && s.trusted()
}

// missed runs before the feed hears again. Writes may have been answered meanwhile.
func (s *shared) missed() {
	s.trust.registered.Store(0)
	s.trust.outages.Add(1)
	s.fence.raise(everything)
	s.trust.awake()
}

func (t *trust) awake() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// stayRegistered keeps this replica among those whose acknowledgement a write waits for.
func (s *shared) stayRegistered(ctx context.Context) {
	ticker := time.NewTicker(registerEvery)
	defer ticker.Stop()
	for {
		s.register(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.trust.wake:
		}
	}
}

func (s *shared) register(ctx context.Context) {
	outage, sent := s.trust.outages.Load(), s.trust.now()
	if !s.feed.Hearing() {
		return
	}
	s.trust.heardAt.Store(sent)
	if s.trust.settled.Load() != outage {
		if s.settle(ctx) != nil {
			return // the next time
		}
		s.trust.settled.Store(outage)
	}
	ctx, cancel := s.command(ctx)
	defer cancel()
	err := registerScript.Run(ctx, s.client, []string{keyGenerations, keyReplicas}, s.id, registeredFor.Microseconds()).Err()
	if err != nil || s.trust.outages.Load() != outage {
		return
	}
	if !s.trust.recent(s.trust.registered.Load(), registeredFor) {
		s.fence.raise(everything) // while this replica was not registered, no write waited for it
	}
	s.trust.registered.Store(sent)
}

// settle ends all that Redis holds from before an outage: a write may have been answered that could not be told. Every
// replica does so that begins to hear, since the one that could not tell may be gone.
func (s *shared) settle(ctx context.Context) error {
	_, err := s.tell(ctx, noticeRaise, []uint32{everything}, s.calls.Add(1))
	return err
}

// deafForLong tells whether Redis has been silent for so long that no replica believes what it holds.
func (s *shared) deafForLong() bool {
	return !s.feed.Hearing() && !s.trust.recent(s.trust.heardAt.Load(), silenceMeansDeaf)
}
