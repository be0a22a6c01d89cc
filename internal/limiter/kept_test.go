package limiter_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/test/redis"
)

// opener makes a limiter in a test's simulated time. It ends with the test.
type opener func(limiter.Config) limiter.Limiter

// kept runs a test with a limiter that keeps its state in memory and with one that keeps it in a real Redis, each in
// simulated time: Redis is told the time, and answers while it stands still.
func kept(t *testing.T, test func(*testing.T, opener)) {
	t.Run("memory", func(t *testing.T) { inMemory(t, test) })
	t.Run("redis", func(t *testing.T) {
		server := redis.Start(t)
		synctest.Test(t, func(t *testing.T) {
			test(t, func(c limiter.Config) limiter.Limiter { return replica(t, server, c) })
		})
	})
}

// inMemory is for what takes too many requests for a real Redis.
func inMemory(t *testing.T, test func(*testing.T, opener)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, func(c limiter.Config) limiter.Limiter { return limiter.New(c) })
	})
}

// replica is a limiter that shares its state in server, past the time in which a Redis without memory is waited for.
func replica(t *testing.T, server *redis.Server, c limiter.Config) *limiter.Shared {
	s := limiter.NewShared(limiter.SharedConfig{Config: c, Client: untimed(t, server), Owners: []string{"bot", "other"}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	t.Cleanup(s.Close)
	time.Sleep(2 * time.Second)
	return s
}

// untimed is a client without time-outs: in simulated time they would end at once.
func untimed(t *testing.T, server *redis.Server) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr(), ReadTimeout: -1, WriteTimeout: -1, MaxRetries: -1, ConnMaxIdleTime: -1, PoolTimeout: time.Hour,
		Dialer: func(_ context.Context, network, address string) (net.Conn, error) { return net.Dial(network, address) }})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// span is how long a test of many requests runs: with Redis each takes real time, and the rules are the same.
func span(m limiter.Limiter, d time.Duration) time.Duration {
	if _, shared := m.(*limiter.Shared); shared {
		return d / 6
	}
	return d
}
