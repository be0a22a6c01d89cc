package state_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/state"
	"corp.example/gateway/test/redis"
)

func TestShared(t *testing.T) {
	server := redis.Start(t)
	testStore(t, func(t *testing.T) state.Store {
		server.Flush()
		return shared(t, server)
	})
}

// shared is one replica's store, which hears.
func shared(t *testing.T, server *redis.Server) *state.Shared {
	t.Helper()
	b, err := backplane.Open(backplane.Config{URL: server.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	s := state.NewShared(b)
	eventually(t, "the feed hears", s.Hearing)
	return s
}

// eventually waits for another process.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never comes that %s", what)
		}
	}
}

// ears collects what a watcher is told.
type ears struct {
	mu    sync.Mutex
	heard []string
}

func listen(s state.Store, table string) *ears {
	e := &ears{}
	s.Watch(table, func(key string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, key)
	})
	return e
}

func (e *ears) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

func TestReplicasHearOfEachOthersWritesOnce(t *testing.T) {
	server := redis.Start(t)
	one, two := shared(t, server), shared(t, server)
	mine, theirs := listen(one, "t"), listen(two, "t")
	soon := time.Now().Add(time.Hour)
	for _, err := range []error{
		one.Put(t.Context(), "t", "a\nkey {}", []byte("v"), soon),
		one.Create(t.Context(), "t", "b", nil, soon),
		one.Put(t.Context(), "elsewhere", "c", nil, soon),
		one.Delete(t.Context(), "t", "b"),
		two.Put(t.Context(), "t", "last", nil, soon),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a\nkey {}", "b", "b", "last"}
	eventually(t, "the first hears of the second's write", func() bool { return len(mine.all()) >= len(want) })
	eventually(t, "the second hears of the first's writes", func() bool { return len(theirs.all()) >= len(want) })
	for name, got := range map[string][]string{"writer": mine.all(), "other": theirs.all()} {
		slices.Sort(got) // the two feeds order two writers' writes as they come
		if !slices.Equal(got, want) {
			t.Errorf("the %s heard of %q, want %q", name, got, want)
		}
	}
}

// What is not heard must be known not to be: within a second Hearing is false, and everything is forgotten before it is
// true again.
func TestAReplicaThatDoesNotHearKnowsIt(t *testing.T) {
	server := redis.Start(t)
	s := shared(t, server)
	told := listen(s, "t")
	server.Pause()
	began := time.Now()
	for s.Hearing() {
		if time.Since(began) > time.Second {
			server.Resume()
			t.Fatal("a second after Redis fell silent it is still believed to be heard")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := s.Get(t.Context(), "t", "k"); !backplane.Away(err) {
		t.Errorf("Get = %v, want that Redis is away", err)
	}
	server.Kill()
	server.Restart()
	eventually(t, "Redis is heard again", s.Hearing)
	if got := told.all(); !slices.Contains(got, "") {
		t.Errorf("after the silence the watcher was told %q, want that all may have changed", got)
	}
}

// A write whose answer never came may be carried out later: then its own process must hear of it like everybody else.
func TestAWriteOfUnknownOutcomeIsHeardOfWhenItHappens(t *testing.T) {
	server := redis.Start(t)
	s, other := shared(t, server), shared(t, server)
	if err := s.Put(t.Context(), "t", "k", []byte("v"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "t", "other"); err != nil { // Redis knows the script now
		t.Fatal(err)
	}
	told := listen(s, "t")
	server.Pause()
	err := s.Delete(t.Context(), "t", "k")
	failed := len(told.all())
	server.Resume()
	if err == nil {
		t.Fatal("Delete succeeded without Redis")
	}
	eventually(t, "the write is carried out", func() bool {
		_, err := other.Get(context.Background(), "t", "k")
		return errors.Is(err, state.ErrNotFound)
	})
	eventually(t, "its own process hears of it", func() bool { return len(told.all()) > failed })
}

// Tables must not grow by what expires.
func TestExpiredEntriesLeaveTheIndex(t *testing.T) {
	server := redis.Start(t)
	s := shared(t, server)
	for _, key := range []string{"a", "b", "c"} {
		if err := s.Put(t.Context(), "t", key, nil, time.Now().Add(20*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what expired is gone", func() bool {
		if err := s.Put(t.Context(), "t", "kept", nil, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		return server.Client().ZCard(context.Background(), "gateway:{state}:t").Val() == 1
	})
}

func TestAValueThatNoGatewayWroteIsAnError(t *testing.T) {
	server := redis.Start(t)
	s := shared(t, server)
	if err := server.Client().Set(t.Context(), "gateway:{state}:t:k", "short", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if value, err := s.Get(t.Context(), "t", "k"); err == nil {
		t.Errorf("Get = %q, want an error", value)
	}
}
