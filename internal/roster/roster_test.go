package roster_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/roster"
	"corp.example/gateway/test/redis"
)

var quiet = slog.New(slog.DiscardHandler)

// announce runs a replica until the returned function ends it.
func announce(server *redis.Server, replica roster.Replica) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { roster.Announce(ctx, server.Client(), func() roster.Replica { return replica }, quiet) })
	return func() { cancel(); running.Wait() }
}

// names waits until the roster has so many replicas, and returns what they are called.
func names(t *testing.T, server *redis.Server, want int) []string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // Redis is another process
		replicas, err := roster.Read(t.Context(), server.Client())
		if err != nil {
			t.Fatal(err)
		}
		found := []string{}
		for _, replica := range replicas {
			found = append(found, replica.Name)
		}
		if len(found) == want || time.Now().After(deadline) {
			return found
		}
	}
}

func TestEveryReplicaIsOnTheRosterWhileItRuns(t *testing.T) {
	server := redis.Start(t)
	if replicas, err := roster.Read(t.Context(), server.Client()); err != nil || len(replicas) != 0 {
		t.Fatalf("before any replica: %v, %v", replicas, err)
	}
	started := time.Date(2026, 3, 31, 14, 5, 9, 0, time.UTC)
	two := roster.Replica{Name: "two", Address: "10.0.0.2:8443", Version: "v1.2.3", Started: started, Faults: []string{"audit: the disk is full"}}
	endTwo := announce(server, two)
	endOne := announce(server, roster.Replica{Name: "one"})
	defer endOne()
	if got := names(t, server, 2); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("the roster has %q, want both in order", got)
	}
	replicas, err := roster.Read(t.Context(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if got := replicas[1]; got.Address != two.Address || got.Version != two.Version || !got.Started.Equal(started) || !slices.Equal(got.Faults, two.Faults) {
		t.Errorf("read %+v, want %+v", got, two)
	}
	endTwo()
	if got := names(t, server, 1); !slices.Equal(got, []string{"one"}) {
		t.Errorf("after one took leave the roster has %q", got)
	}
}

func TestACrashedReplicaIsForgotten(t *testing.T) {
	server := redis.Start(t)
	client := server.Client()
	end := announce(server, roster.Replica{Name: "runs"})
	defer end()
	names(t, server, 1)
	for _, key := range client.Keys(t.Context(), "gateway:*").Val() {
		if left := client.PTTL(t.Context(), key).Val(); left <= 0 || left > 15*time.Second {
			t.Errorf("%s ends after %v, want within 15 s: a crashed replica takes nothing back", key, left)
		}
	}
	// What a crash leaves once its key has expired is the name.
	client.SAdd(t.Context(), "gateway:{replica}:names", "crashed")
	if got := names(t, server, 1); !slices.Equal(got, []string{"runs"}) {
		t.Errorf("the roster has %q", got)
	}
	if client.SIsMember(t.Context(), "gateway:{replica}:names", "crashed").Val() {
		t.Error("the name of a replica that is gone stays for ever")
	}
}

func TestARosterThatCannotBeReadSaysSo(t *testing.T) {
	server := redis.Start(t)
	server.Kill()
	if _, err := roster.Read(t.Context(), server.Client()); err == nil || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("without Redis: %v", err)
	}
}
