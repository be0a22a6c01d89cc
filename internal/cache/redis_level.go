package cache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// sweepBatch is how many entries one script looks at: Redis does nothing else meanwhile.
const sweepBatch = 200

// digest is what a key is known by in Redis. Nothing of the key can be read from it.
func (k Key) digest() string {
	return digest(k.View, k.Operation, k.Path, k.Query)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s,", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// variant is what the answer to one request is known by among those of a key: names are the headers that select it.
func variant(id, names string, request http.Header) string {
	if names == "" {
		return id
	}
	parts := []string{id, names}
	for name := range strings.SplitSeq(names, ",") {
		values := request[name]
		parts = append(parts, strconv.FormatBool(len(values) > 0), normalise(name, values))
	}
	return digest(parts...)
}

// names are the headers that select an entry, joined.
func (e *Entry) names() string {
	list := make([]string, len(e.selectors))
	for i := range e.selectors {
		list[i] = e.selectors[i].name
	}
	return strings.Join(list, ",")
}

// sight is what a look into Redis showed.
type sight struct {
	word    string // fresh, lead, wait or none: see lookScript
	marked  string // the generations of the entry
	age     time.Duration
	sealed  []byte
	variant string
	begun   string // with lead: the generations of the scopes
}

// look asks Redis for what a request selects. owner is who wants the lease; "" where nobody does.
func (s *shared) look(ctx context.Context, id string, header http.Header, indexes, owner string) (sight, error) {
	ctx, cancel := s.command(ctx)
	defer cancel()
	leased := leasedFor.Milliseconds()
	if owner == "" {
		leased = 0
	}
	for names, tries := "", 0; tries < 3; tries++ { // the names, and once more where they change at that moment
		under := variant(id, names, header)
		reply, err := lookScript.Run(ctx, s.client, []string{keyGenerations, keyVary + id, keyEntry + under, keyLease + id},
			names, indexes, owner, leased).StringSlice()
		if err != nil {
			return sight{}, fmt.Errorf("looking into the shared cache: %w", err)
		}
		if len(reply) != 5 {
			break
		}
		if reply[0] == "vary" {
			names = reply[1]
			continue
		}
		age, _ := strconv.ParseInt(reply[2], 10, 64) // the script's own number
		return sight{word: reply[0], marked: reply[1], age: time.Duration(age) * time.Microsecond, sealed: []byte(reply[3]), variant: under, begun: reply[4]}, nil
	}
	return sight{}, errors.New("looking into the shared cache: the headers that select its answers keep changing")
}

// keep stores an entry under the generations that its fetch began with, and ends the lease.
func (s *shared) keep(ctx context.Context, l *lease, e *Entry) error {
	now := time.Now()
	freshFor := e.fresh.lifetime - e.fresh.age(now)
	if e.fresh.validate {
		freshFor = 0
	}
	keptFor := max(0, freshFor)
	if !e.fresh.strict {
		keptFor += max(e.fresh.whileRevalidate, e.fresh.ifError)
	}
	if e.kept.packable {
		e.form([]string{"gzip"})
	}
	record, fits := e.record(now)
	if !fits || keptFor < time.Millisecond {
		return s.release(ctx, l)
	}
	names := e.names()
	under := variant(l.id, names, l.header)
	ctx, cancel := s.command(ctx)
	defer cancel()
	return keepScript.Run(ctx, s.client, []string{keyGenerations, keyVary + l.id, keyEntry + under, keyLease + l.id},
		l.generations, names, s.seal(under, record), freshFor.Microseconds(), keptFor.Milliseconds(), l.owner, channelWrites, string(noticeFilled)+" "+l.id).Err()
}

// release ends a lease whose fetch brought nothing that is stored.
func (s *shared) release(ctx context.Context, l *lease) error {
	ctx, cancel := s.command(ctx)
	defer cancel()
	return releaseScript.Run(ctx, s.client, []string{keyGenerations, keyLease + l.id}, l.owner, channelWrites, string(noticeFilled)+" "+l.id).Err()
}

// seal encrypts a record for its place alone, so that nobody who can write to Redis can move it to another.
func (s *shared) seal(under string, record []byte) []byte {
	if s.keys == nil {
		return record
	}
	return s.keys.Seal("cache "+under, record)
}

// unseal is the record. Where there is a key, nothing is believed that was not sealed with it.
func (s *shared) unseal(under string, sealed []byte) ([]byte, error) {
	if s.keys == nil {
		return sealed, nil
	}
	return s.keys.Open("cache "+under, sealed)
}

// countersOf are the counters that stand in generations.
func countersOf(generations string) ([]uint32, bool) {
	var indexes []uint32
	for one := range strings.SplitSeq(generations, ";") {
		text, _, _ := strings.Cut(one, "=")
		index, ok := parseIndexes(text)
		if !ok {
			return nil, false
		}
		indexes = append(indexes, index...)
	}
	return indexes, true
}

// sweep removes from Redis what a purge made dead. What it does not reach is dead all the same, and goes by itself.
func (s *shared) sweep(ctx context.Context) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.sweepNode(ctx, s.client)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return s.sweepNode(ctx, node) })
}

// sweepLater sweeps in the background.
func (s *shared) sweepLater() {
	if s.closing.Err() != nil {
		return
	}
	s.running.Go(func() {
		if s.sweep(s.closing) != nil {
			s.tally.failed.Add(1)
		}
	})
}

func (s *shared) sweepNode(ctx context.Context, node redis.UniversalClient) error {
	var cursor uint64
	for {
		keys, next, err := node.Scan(ctx, cursor, keyEntry+"*", sweepBatch).Result()
		if err != nil {
			return fmt.Errorf("looking for purged answers: %w", err)
		}
		if len(keys) > 0 {
			if err := sweepScript.Run(ctx, s.client, append([]string{keyGenerations}, keys...)).Err(); err != nil {
				return fmt.Errorf("removing purged answers: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
