// Package backplane is what replicas share: a connection to Redis (one server, Sentinel or Cluster), a breaker that
// fails at once while Redis is away, and feeds of messages that know whether they hear.
//
// Invariants: no command waits longer than its time-outs say, whatever Redis does; while Redis is known to be away every
// command fails at once with ErrAway and no caller has to find out by waiting; a Feed says that it hears only while its
// connection has proven so within the last second. The package knows no keys and no messages: what is kept in Redis, and
// what its loss means, is for the packages that use it.
package backplane

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/trust"
)

// The time-outs of one try of a command. Redis answers a local network in well under a millisecond; what takes half a
// second is in trouble, and not merely a machine that had no time. Who cannot wait as long gives a context that ends.
const (
	dialTimeout    = 500 * time.Millisecond
	commandTimeout = 500 * time.Millisecond
)

// poolSize bounds connections to one Redis node. Commands are short and the limiter sends its own in batches, so that
// this many are only ever in use while Redis is slow.
const poolSize = 64

// Config says where Redis is.
type Config struct {
	// URL is redis://HOST:PORT/DB, rediss:// for TLS, redis+sentinel://HOST:PORT,HOST:PORT/DB?master=NAME or
	// redis+cluster://HOST:PORT,HOST:PORT (and rediss+… for TLS). It may name a user, but no password.
	URL string
	// Password is Redis's, and the Sentinels'. None where they want none.
	Password secret.Text
	// CAFile holds the certificate authorities of Redis's certificate. "": the system's.
	CAFile string
	Log    *slog.Logger
}

// Backplane is one open connection pool.
type Backplane struct {
	client  redis.UniversalClient
	breaker *breaker

	closing context.Context // ends at Close
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open makes the client and begins to watch Redis. It does not wait for Redis: Healthy tells whether it is there.
func Open(config Config) (*Backplane, error) {
	parsed, err := parse(config.URL)
	if err != nil {
		return nil, err
	}
	options := &redis.UniversalOptions{
		Addrs: parsed.addresses, DB: parsed.database, MasterName: parsed.master, IsClusterMode: parsed.cluster,
		Username: parsed.user, Password: config.Password.Reveal(), SentinelPassword: config.Password.Reveal(),
		DialTimeout: dialTimeout, ReadTimeout: commandTimeout, WriteTimeout: commandTimeout, ContextTimeoutEnabled: true,
		// One more try, because a pooled connection may have died while it was idle. Scripts bear being run twice.
		MaxRetries: 1, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 5 * time.Millisecond,
		PoolSize: poolSize, PoolTimeout: commandTimeout,
		ClientName: "gateway",
		// Announcements of a managed Redis's maintenance: an extra handshake that plain Redis refuses.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if parsed.tls {
		if options.TLSConfig, err = trust.Client(config.CAFile); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
	}
	logOnce.Do(func() { redis.SetLogger(clientLog{config.Log}) })
	b := &Backplane{client: newClient(options), breaker: &breaker{log: config.Log}}
	b.client.AddHook(b.breaker)
	b.closing, b.stop = context.WithCancel(context.Background())
	b.running.Go(func() { b.breaker.watch(b.closing, b.client) })
	return b, nil
}

// Client is for commands. Their errors are ErrAway (and others that Away recognises) while Redis cannot serve.
func (b *Backplane) Client() redis.UniversalClient { return b.client }

// Healthy is nil while Redis answers, otherwise the reason why it is taken to be away.
func (b *Backplane) Healthy() error { return b.breaker.healthy() }

// Close ends feeds and connections; commands fail after it. Its error is nil: connections to a server that is gone end with
// faults, by which nothing is lost that commands have not told of.
func (b *Backplane) Close() error {
	b.stop()
	b.running.Wait()
	if err := b.client.Close(); err != nil {
		b.breaker.log.Debug("closing the connections to redis", "error", err)
	}
	return nil
}
