package backplane

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// What a feed's connection must prove. A revocation has to be heard within a second everywhere: a replica whose
// connection has not answered for hearingFor must not trust what it remembers, and that leaves the rest for acting on it.
const (
	feedPingEvery    = 200 * time.Millisecond
	hearingFor       = 800 * time.Millisecond
	resubscribeAfter = 250 * time.Millisecond
)

// Feed is a subscription to one channel.
type Feed struct {
	heard  func(message string)
	missed func()

	began time.Time
	// proven is when, in nanoseconds since began, the last ping was sent that has been answered: Redis answers in order,
	// so all that was published before has been heard. Zero: not connected.
	proven atomic.Int64
}

// Subscribe has heard called with every message that any replica publishes on the channel, in order, from one goroutine.
// missed is called from that goroutine at each new connection, the first as well: messages may have passed unheard, so
// that whatever they keep true must be forgotten. Both must be quick. The feed ends with the Backplane.
func (b *Backplane) Subscribe(channel string, heard func(message string), missed func()) *Feed {
	f := &Feed{heard: heard, missed: missed, began: time.Now()}
	b.running.Go(func() {
		for b.closing.Err() == nil {
			f.listen(b.closing, b.client.Subscribe(b.closing, channel))
			f.proven.Store(0)
			select {
			case <-b.closing.Done():
			case <-time.After(resubscribeAfter):
			}
		}
	})
	return f
}

// Hearing reports whether every message published more than a second ago has been handed to heard.
func (f *Feed) Hearing() bool {
	proven := f.proven.Load()
	return proven != 0 && time.Since(f.began)-time.Duration(proven) < hearingFor
}

// listen hands on what one connection brings until it ends or stays silent.
func (f *Feed) listen(ctx context.Context, connection *redis.PubSub) {
	ctx, cancel := context.WithCancel(ctx)
	var pinging sync.WaitGroup
	pinging.Go(func() { f.ping(ctx, connection) })
	defer pinging.Wait()
	defer cancel()
	began := time.Since(f.began)
	for {
		received, err := connection.Receive(ctx)
		if err != nil {
			return
		}
		switch received := received.(type) {
		case *redis.Subscription:
			f.missed()
			f.proven.Store(int64(began))
		case *redis.Message:
			f.heard(received.Payload)
		case *redis.Pong:
			if sent, err := strconv.ParseInt(received.Payload, 10, 64); err == nil {
				f.proven.Store(sent)
			}
		}
	}
}

// ping keeps asking for proof, and ends the connection when ctx ends or the proof stays out.
func (f *Feed) ping(ctx context.Context, connection *redis.PubSub) {
	defer func() { _ = connection.Close() }() // ends Receive; nothing is lost by its error
	last := time.Now()
	ticker := time.NewTicker(feedPingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if f.Hearing() {
			last = time.Now()
		} else if time.Since(last) > 2*hearingFor {
			return
		}
		_ = connection.Ping(ctx, strconv.FormatInt(int64(time.Since(f.began)), 10)) // an unanswered one shows in Hearing
	}
}
