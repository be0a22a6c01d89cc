// Package roster tells which replicas of the service run: each says in Redis, every few seconds, who it is and how it
// does.
//
// Invariant: what a replica said is gone from Redis soon after the replica is. The roster is for people to look at: it
// decides nothing, no request waits for it, and a Redis that is away only leaves it unread.
package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Replica is what one replica says of itself. Redis keeps it as JSON.
type Replica struct {
	Name    string    `json:"name"`    // no two replicas of a service have the same
	Address string    `json:"address"` // of its public listener
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Said    time.Time `json:"said"`             // when it said so, by its own clock
	Faults  []string  `json:"faults,omitempty"` // what is not well with it; none: all is
}

const (
	// every is how often a replica says how it does: somebody who looks at a page wants no older news.
	every = 5 * time.Second
	// forgotten is how long it is believed. It may fail to reach Redis once and is still there.
	forgotten = 3 * every
	// maxReplicas bounds what one look reads: far more than any service has.
	maxReplicas = 256
)

// The keys share a hash tag, so that in a Cluster all lie on one node and can be read at once.
const (
	namesKey = "gateway:{replica}:names"
	keyOf    = "gateway:{replica}:is:" // and the name
)

// Announce says how this replica does, now and from then on, until ctx ends; then it takes leave.
func Announce(ctx context.Context, client redis.UniversalClient, now func() Replica, log *slog.Logger) {
	failing := false
	for ticks := time.NewTicker(every); ; {
		replica := now()
		err := say(ctx, client, replica)
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("this replica is missing from the roster", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			ticks.Stop()
			leave(client, replica.Name)
			return
		case <-ticks.C:
		}
	}
}

func say(ctx context.Context, client redis.UniversalClient, replica Replica) error {
	text, err := json.Marshal(replica)
	if err != nil {
		return err
	}
	_, err = client.Pipelined(ctx, func(commands redis.Pipeliner) error {
		commands.Set(ctx, keyOf+replica.Name, text, forgotten)
		commands.SAdd(ctx, namesKey, replica.Name)
		commands.Expire(ctx, namesKey, forgotten)
		return nil
	})
	return err
}

// leave takes a replica off at once. Where that fails, time does it.
func leave(client redis.UniversalClient, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), every)
	defer cancel()
	_, _ = client.Pipelined(ctx, func(commands redis.Pipeliner) error {
		commands.Del(ctx, keyOf+name)
		commands.SRem(ctx, namesKey, name)
		return nil
	})
}

// Read returns the replicas that said something lately, by name. Names of those that fell silent are taken off: while others
// go on, nothing else would.
func Read(ctx context.Context, client redis.UniversalClient) ([]Replica, error) {
	names, err := client.SRandMemberN(ctx, namesKey, maxReplicas).Result()
	if err != nil {
		return nil, fmt.Errorf("reading the names of the replicas: %w", err)
	}
	if len(names) == 0 {
		return nil, nil
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = keyOf + name
	}
	texts, err := client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, fmt.Errorf("reading what the replicas say: %w", err)
	}
	var replicas []Replica
	var silent []any
	for i, text := range texts {
		text, there := text.(string)
		if !there {
			silent = append(silent, names[i])
			continue
		}
		var replica Replica
		if err := json.Unmarshal([]byte(text), &replica); err != nil {
			return nil, fmt.Errorf("reading what replica %s says: %w", names[i], err)
		}
		replicas = append(replicas, replica)
	}
	if len(silent) > 0 {
		_ = client.SRem(ctx, namesKey, silent...).Err() // the next reader tries again
	}
	slices.SortFunc(replicas, func(a, b Replica) int { return cmp.Compare(a.Name, b.Name) })
	return replicas, nil
}
