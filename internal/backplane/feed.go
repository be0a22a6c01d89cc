package backplane

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// What a feed's connection must prove. A revocation has to be heard within a second everywhere: a replica whose
// connection has not answered for hearingFor must not trust what it remembers, and that leaves the rest for acting on it.
const (
	proveEvery       = 200 * time.Millisecond
	proveWithin      = 400 * time.Millisecond
	hearingFor       = 800 * time.Millisecond
	resubscribeAfter = 250 * time.Millisecond
)

// proofScript has Redis send a proof over a feed's connection, and returns how many connections of that node it went to. Its
// key makes the node that takes the channel's writes run it, and a node that knows itself to be a replica, or cut off from
// its own, refuses the DEL of what is never there.
var proofScript = redis.NewScript(`redis.call('DEL', KEYS[1]) return redis.call('PUBLISH', KEYS[1], ARGV[1])`)

// Feed is a subscription to one channel.
type Feed struct {
	client  redis.UniversalClient
	channel string
	proofs  string // the channel of this feed's own proofs, on the same node of a Cluster
	heard   func(message string)
	missed  func()

	began time.Time
	// proven is when, in nanoseconds since began, the last proof was asked for that has arrived: Redis sends in order, so
	// all that was published before has been heard. Zero: not connected.
	proven atomic.Int64
}

// Subscribe has heard called with every message that any replica publishes on the channel, in order, from one goroutine.
// missed is called from that goroutine before Hearing turns true: at each new connection, the first as well, and where a
// connection proves itself again. Messages may have passed unheard, and those who had something to say may have given up
// meanwhile, so that whatever messages keep true must be forgotten. Both must be quick. The feed ends with the Backplane.
//
// In a Cluster messages pass from node to node unacknowledged. What must not be missed is therefore published by a script
// whose key has the channel's hash tag: on the node to which the feed is connected, and with which it falls silent.
func (b *Backplane) Subscribe(channel string, heard func(message string), missed func()) *Feed {
	f := &Feed{client: b.client, channel: channel, proofs: "gateway:{" + tag(channel) + "}:hears:" + rand.Text(), heard: heard, missed: missed, began: time.Now()}
	b.running.Go(func() {
		for b.closing.Err() == nil {
			f.listen(b.closing)
			f.proven.Store(0)
			select {
			case <-b.closing.Done():
			case <-time.After(resubscribeAfter):
			}
		}
	})
	return f
}

// tag is what a Cluster finds the node of a key or a channel by.
func tag(key string) string {
	if _, rest, opened := strings.Cut(key, "{"); opened {
		if within, _, closed := strings.Cut(rest, "}"); closed && within != "" {
			return within
		}
	}
	return key
}

// Hearing reports whether every message published more than a second ago has been handed to heard.
func (f *Feed) Hearing() bool {
	proven := f.proven.Load()
	return proven != 0 && f.recent(proven)
}

func (f *Feed) recent(proven int64) bool {
	return time.Since(f.began)-time.Duration(proven) < hearingFor
}

// listen hands on what one connection brings until it ends or stays silent.
func (f *Feed) listen(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	connection := f.client.Subscribe(ctx, f.channel, f.proofs)
	subscribed := make(chan struct{})
	var proving sync.WaitGroup
	proving.Go(func() {
		f.prove(ctx, subscribed)
		_ = connection.Close() // ends Receive; nothing is lost by its error
	})
	defer proving.Wait()
	defer cancel()
	for {
		received, err := connection.Receive(ctx)
		if err != nil {
			return
		}
		switch received := received.(type) {
		case *redis.Subscription:
			if received.Channel == f.proofs { // the second of the two
				close(subscribed)
			}
		case *redis.Message:
			if received.Channel == f.channel {
				f.heard(received.Payload)
			} else if asked, err := strconv.ParseInt(received.Payload, 10, 64); err == nil {
				f.proof(asked)
			}
		}
	}
}

// proof takes up that what was asked for at a time has arrived.
func (f *Feed) proof(asked int64) {
	if !f.recent(asked) {
		return
	}
	if !f.Hearing() {
		f.missed()
	}
	f.proven.Store(asked)
}

// prove keeps asking for proof until ctx ends, the proof stays out, or the connection turns out to lead to a node that no
// longer takes the channel's writes.
func (f *Feed) prove(ctx context.Context, subscribed <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(2 * hearingFor):
		return
	case <-subscribed:
	}
	last := time.Now()
	ticker := time.NewTicker(proveEvery)
	defer ticker.Stop()
	for f.ask(ctx) {
		if f.Hearing() {
			last = time.Now()
		} else if time.Since(last) > 2*hearingFor {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ask asks for a proof, and reports false where it is known not to come. One that fails shows in Hearing.
func (f *Feed) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, proveWithin)
	defer cancel()
	reached, err := proofScript.Run(ctx, f.client, []string{f.proofs}, int64(time.Since(f.began))).Int()
	return err != nil || reached > 0
}
