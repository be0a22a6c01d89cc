package cache

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/seal"
)

// shared is what this replica has in common with the others, in Redis: the second level of entries, leases that let one
// replica fetch for all, and the generations by which a write on one replica ends what the others hold.
//
// How a memory hit is right without asking anybody: a write's answer waits (announce) until every replica that trusts its
// memory has raised its own counters, or has had to stop trusting it. A replica trusts its memory only while its feed
// hears and its registration stands, both of which end by themselves within a second of silence. What was missed while a
// replica did not hear, it forgets before it trusts again: missed raises everything here, and settle in Redis.
type shared struct {
	client redis.UniversalClient
	keys   *seal.Keys // nil: entries are not sealed
	id     string     // this replica, for as long as it runs
	fence  *fence
	purged func() // frees what is dead

	feed  *backplane.Feed
	trust trust
	acks  acks
	waits waits
	calls atomic.Uint64 // numbers leases
	tally tally

	closing context.Context // ends at close
	stop    context.CancelFunc
	running sync.WaitGroup
}

const (
	channelWrites = "gateway:{cache}:writes" // on the node of the keys: what is published there is heard, or its loss is
	channelAcks   = "gateway:{cache}:acks:"  // and the replica

	// sharedTimeout is what a read pays at most to find out that Redis is slow, before it goes upstream.
	sharedTimeout = 200 * time.Millisecond
)

func newShared(b *backplane.Backplane, keys *seal.Keys, fence *fence, purged func()) *shared {
	s := &shared{client: b.Client(), keys: keys, id: rand.Text(), fence: fence, purged: purged}
	s.trust.began, s.trust.wake = time.Now(), make(chan struct{}, 1)
	s.acks.waiting, s.acks.owed = make(map[uint64]chan string), make(chan ack, maxOwedAcks)
	s.waits.byID = make(map[string][]chan struct{})
	s.closing, s.stop = context.WithCancel(context.Background())
	b.Subscribe(channelAcks+s.id, s.acks.heard, func() {}) // an acknowledgement that is missed is waited for in vain, a while
	s.feed = b.Subscribe(channelWrites, s.heard, s.missed)
	s.running.Go(func() { s.stayRegistered(s.closing) })
	s.running.Go(func() { s.acknowledge(s.closing) })
	return s
}

// close says good-bye, so that nobody waits for this replica any more.
func (s *shared) close() {
	s.stop()
	s.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), sharedTimeout)
	defer cancel()
	_ = s.client.ZRem(ctx, keyReplicas, s.id).Err() // otherwise its registration ends by itself
}

// command is the context of one command: Redis's slowness must not become the reader's.
func (s *shared) command(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, sharedTimeout)
}

// tally counts what happened.
type tally struct {
	found, missed, waited, failed       atomic.Uint64 // look-ups
	acknowledged, outlasted, unanswered atomic.Uint64 // writes told
}
