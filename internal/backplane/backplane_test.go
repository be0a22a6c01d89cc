package backplane_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/test/redis"
)

func open(t *testing.T, url string) *backplane.Backplane {
	t.Helper()
	b, err := backplane.Open(backplane.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return b
}

// within waits for what another process must bring about.
func within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// listener remembers what a feed said.
type listener struct {
	mu     sync.Mutex
	heard  []string
	missed int
}

func (l *listener) hear(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, message)
}

func (l *listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed++
}

func (l *listener) subscribe(b *backplane.Backplane) *backplane.Feed {
	return b.Subscribe("gateway:test", l.hear, l.forget)
}

func (l *listener) snapshot() (heard string, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.heard, " "), l.missed
}

func TestAPausedRedisFailsCommandsAtOnceAndComesBackByItself(t *testing.T) {
	server := redis.Start(t)
	b := open(t, server.URL())
	if err := b.Client().Set(t.Context(), "gateway:k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}

	server.Pause()
	within(t, 5*time.Second, "the breaker opens", func() bool {
		began := time.Now()
		err := b.Client().Get(t.Context(), "gateway:k").Err()
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("a command took %s", took)
		}
		return errors.Is(err, backplane.ErrAway)
	})
	if err := b.Healthy(); !errors.Is(err, backplane.ErrAway) {
		t.Errorf("healthy while Redis is paused: %v", err)
	}
	for range 100 {
		if err := b.Client().Get(t.Context(), "gateway:k").Err(); !backplane.Away(err) || !errors.Is(err, backplane.ErrAway) {
			t.Fatalf("while away: %v, want no command tried", err)
		}
	}

	server.Resume()
	within(t, 5*time.Second, "the breaker closes without a caller's command", func() bool { return b.Healthy() == nil })
	if got := b.Client().Get(t.Context(), "gateway:k").Val(); got != "v" {
		t.Errorf("after the pause: %q", got)
	}
}

func TestAnIdleGatewayNoticesThatRedisIsGone(t *testing.T) {
	server := redis.Start(t)
	b := open(t, server.URL())
	server.Kill()
	within(t, 8*time.Second, "healthy ends", func() bool { return b.Healthy() != nil })
	server.Restart()
	within(t, 5*time.Second, "healthy again", func() bool { return b.Healthy() == nil })
}

func TestWhatIsAnAnswerOfRedisIsNoOutage(t *testing.T) {
	server := redis.Start(t)
	b := open(t, server.URL())
	for range 10 {
		if err := b.Client().Get(t.Context(), "gateway:none").Err(); err == nil || backplane.Away(err) {
			t.Fatalf("a missing value: %v", err)
		}
		if err := b.Client().Do(t.Context(), "NONSENSE").Err(); err == nil || backplane.Away(err) {
			t.Fatalf("a refused command: %v", err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Client().Get(cancelled, "gateway:none").Err(); err == nil || backplane.Away(err) {
			t.Fatalf("a caller that left: %v", err)
		}
	}
	if err := b.Healthy(); err != nil {
		t.Errorf("none of that says that Redis is away: %v", err)
	}
}

func TestAFeedHandsOnMessagesInOrderAndSaysThatItHears(t *testing.T) {
	server := redis.Start(t)
	b := open(t, server.URL())
	var l listener
	feed := l.subscribe(b)
	within(t, 5*time.Second, "hearing", feed.Hearing)
	if _, missed := l.snapshot(); missed != 1 {
		t.Errorf("missed ran %d times before the feed heard, want once", missed)
	}
	for _, message := range []string{"a", "b", "c"} {
		server.Client().Publish(t.Context(), "gateway:test", message)
	}
	within(t, time.Second, "all heard", func() bool { heard, _ := l.snapshot(); return heard == "a b c" })
}

func TestADeafFeedSaysSoWithinASecondAndHearsAgain(t *testing.T) {
	server := redis.Start(t)
	b := open(t, server.URL())
	var l listener
	feed := l.subscribe(b)
	within(t, 5*time.Second, "hearing", feed.Hearing)

	server.Pause()
	within(t, time.Second, "it says that it is deaf", func() bool { return !feed.Hearing() })
	server.Resume()
	within(t, 5*time.Second, "hearing after the pause", feed.Hearing)

	_, before := l.snapshot()
	server.Restart()
	within(t, 5*time.Second, "it forgets at the new connection", func() bool { _, missed := l.snapshot(); return missed > before })
	within(t, 5*time.Second, "hearing after the restart", feed.Hearing)
	server.Client().Publish(t.Context(), "gateway:test", "again")
	within(t, time.Second, "heard after the restart", func() bool { heard, _ := l.snapshot(); return heard == "again" })
}

func TestAFeedWhoseConnectionLeadsNowhereTriesAnother(t *testing.T) {
	server := redis.Start(t)
	relay := startRelay(t, server.Addr())
	b := open(t, "redis://"+relay.addr()+"/0")
	var l listener
	feed := l.subscribe(b)
	within(t, 5*time.Second, "hearing", feed.Hearing)
	relay.swallow() // the connection stays open and nothing comes through: a peer that vanished
	within(t, time.Second, "deaf", func() bool { return !feed.Hearing() })
	within(t, 8*time.Second, "hearing over a new connection", feed.Hearing)
}

func TestURLs(t *testing.T) {
	for url, fault := range map[string]string{
		"redis://localhost:6379":                          "",
		"redis://localhost:6379/3":                        "",
		"rediss://gateway@[::1]:6379/0":                   "",
		"redis+sentinel://a:26379,b:26379/0?master=main":  "",
		"redis+sentinel://a:26379?master=main":            "",
		"rediss+cluster://a:6379,b:6379":                  "",
		"localhost:6379":                                  "is no URL",
		"http://localhost:6379":                           "unknown scheme",
		"redis+ring://localhost:6379":                     "unknown scheme",
		"redis://localhost":                               "want HOST:PORT",
		"redis://:hunter2@localhost:6379":                 "holds a password",
		"redis://a:6379,b:6379":                           "several servers",
		"redis://localhost:6379/one":                      "number of a database",
		"redis+cluster://a:6379/1":                        "only database 0",
		"redis+sentinel://a:26379":                        "add ?master=NAME",
		"redis://localhost:6379?read_timeout=1h":          "unknown option",
		"redis+sentinel://a:26379/0?master=main&db=other": "unknown option",
	} {
		switch err := backplane.CheckURL(url); {
		case fault == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Errorf("%s: %v, want %q", url, err, fault)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the fault names the password: %v", err)
		}
	}
}

// relay stands between and can be made to swallow what comes.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	deaf     map[net.Conn]bool
	open     []net.Conn
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, deaf: make(map[net.Conn]bool)}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, client)
			r.mu.Unlock()
			go r.copy(client, server, client)
			go r.copy(server, client, client)
		}
	}()
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) copy(to, from, client net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		deaf := r.deaf[client]
		r.mu.Unlock()
		if deaf {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// swallow makes every open connection lead nowhere. Those that come after it work.
func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, client := range r.open {
		r.deaf[client] = true
	}
}
