package backplane_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/test/redis"
)

// recovery is how soon after a fail-over everything must work again.
const recovery = 5 * time.Second

// failedOver is how the tests see both kinds of Redis that survive the loss of a server.
type failedOver struct {
	url      string
	failOver func() // returns when another server takes writes of what has the tag {t}
}

func kinds(t *testing.T, test func(t *testing.T, r failedOver)) {
	t.Run("Sentinel", func(t *testing.T) {
		s := redis.StartSentinel(t)
		test(t, failedOver{s.URL(), s.FailOver})
	})
	t.Run("Cluster", func(t *testing.T) {
		c := redis.StartCluster(t)
		test(t, failedOver{c.URL(), func() { c.FailOver("{t}") }})
	})
}

var (
	count = goredis.NewScript(`local n = redis.call('INCR', KEYS[1]) redis.call('SADD', KEYS[2], ARGV[1]) return n`)
	write = goredis.NewScript(`redis.call('SET', KEYS[1], ARGV[2]) return redis.call('PUBLISH', ARGV[1], ARGV[2])`)
)

func TestCommandsScriptsAndFeedsSurviveAFailOver(t *testing.T) {
	kinds(t, func(t *testing.T, r failedOver) {
		b := open(t, r.url)
		client := b.Client()
		var l listener
		feed := b.Subscribe("gateway:{t}:news", l.hear, l.forget)
		serves := func() error {
			_, pipelined := client.TxPipelined(t.Context(), func(p goredis.Pipeliner) error {
				p.Set(t.Context(), "gateway:{t}:a", "1", 0)
				p.Set(t.Context(), "gateway:{t}:b", "2", 0)
				return nil
			})
			var elsewhere []error
			for i := range 6 { // other slots
				elsewhere = append(elsewhere, client.Set(t.Context(), fmt.Sprintf("gateway:%d", i), "", 0).Err())
			}
			return errors.Join(pipelined, count.Run(t.Context(), client, []string{"gateway:{t}:n", "gateway:{t}:s"}, "m").Err(), errors.Join(elsewhere...))
		}
		says := func(message string) {
			t.Helper()
			if err := write.Run(t.Context(), client, []string{"gateway:{t}:news"}, "gateway:{t}:news", message).Err(); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, message+" is heard", func() bool { heard, _ := l.snapshot(); return strings.HasSuffix(heard, message) })
		}
		within(t, recovery, "hearing", feed.Hearing)
		if err := serves(); err != nil {
			t.Fatal(err)
		}
		says("before")

		_, forgot := l.snapshot()
		lost := make(chan struct{})
		go func() { defer close(lost); r.failOver() }()
		within(t, 60*time.Second, "the feed says that it is deaf", func() bool { return !feed.Hearing() })
		within(t, 60*time.Second, "the breaker opens", func() bool { return errors.Is(client.Get(t.Context(), "gateway:{t}:a").Err(), backplane.ErrAway) })
		if err := client.Get(t.Context(), "gateway:{t}:a").Err(); !errors.Is(err, backplane.ErrAway) {
			t.Errorf("while the server is lost a command returned %v, want it not tried", err)
		}
		<-lost

		began := time.Now()
		within(t, recovery, "healthy, and everything works", func() bool { return b.Healthy() == nil && serves() == nil })
		within(t, recovery, "hearing again", feed.Hearing)
		t.Logf("all works %s after the fail-over", time.Since(began).Round(time.Millisecond))
		if _, now := l.snapshot(); now <= forgot {
			t.Error("the feed did not say that it may have missed something")
		}
		says("after")
	})
}

// A feed is on the node that runs the scripts that publish, since a Cluster's nodes tell each other without a receipt.
func TestAFeedFollowsItsSlotToAnotherNode(t *testing.T) {
	c := redis.StartCluster(t)
	b := open(t, c.URL())
	var l listener
	feed := b.Subscribe("gateway:{t}:news", l.hear, l.forget)
	within(t, recovery, "hearing", feed.Hearing)
	_, before := l.snapshot()
	c.HandOver("{t}") // both nodes live on, and the connection too
	within(t, recovery, "it connects to the new master, and forgets", func() bool { _, now := l.snapshot(); return now > before && feed.Hearing() })
	if got := c.Master("{t}").Client().PubSubNumSub(t.Context(), "gateway:{t}:news").Val()["gateway:{t}:news"]; got != 1 {
		t.Errorf("%d feeds are connected to the master, want 1", got)
	}
}

// The library's own words are no JSON and would stand in the process's log.
func TestTheClientLibraryPrintsNothing(t *testing.T) {
	if os.Getenv("GATEWAY_TEST_CHILD") != "" {
		var log bytes.Buffer
		b, err := backplane.Open(backplane.Config{URL: "redis://127.0.0.1:1/0", Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Client().Get(t.Context(), "gateway:k").Err(); err == nil {
			t.Fatal("somebody answers")
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), `"message":"redis: connection pool: failed to dial`) {
			t.Errorf("at debug the log says %s", log.String())
		}
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "GATEWAY_TEST_CHILD=1")
	var stderr bytes.Buffer
	child.Stderr = &stderr
	if stdout, err := child.Output(); err != nil || stderr.Len() > 0 {
		t.Errorf("%v, %s, and on standard error: %s", err, stdout, stderr.String())
	}
}
