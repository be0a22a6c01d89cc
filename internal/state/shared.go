package state

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/backplane"
)

const (
	// prefix begins every key. Its braces keep all on one node of a Cluster, where one script can write, index and publish
	// in one step, on the node that the feed listens to.
	prefix = "gateway:{state}:"
	// channel is where every write is published, as ORIGIN TABLE KEY with a newline between, of which no origin and no
	// table has one.
	channel = prefix + "writes"
	// takenKey begins the keys of taken values: no table's.
	takenKey = "gateway:{state}.taken:"
	// stampBytes is the length of a write's name, which stands in front of each value: rand.Text's.
	stampBytes = 26
	// maxScan bounds what one Scan reads. A company has some thousand tokens and sessions.
	maxScan = 200_000
	// scanPage is how many keys are asked for at once, scanValues how many values: with the largest values that is a
	// second's work for nobody.
	scanPage   = 500
	scanValues = 64
	// takenKept is for how long a taken value can be taken again by the same call: as long as its second try may last.
	takenKept = 2 * time.Second
)

// Shared is a Store in Redis, which the replicas of one service and its commands share.
//
// A value is under gateway:{state}:TABLE:KEY; gateway:{state}:TABLE is the table's index, by expiry. The client may run a
// script a second time where no answer came to the first: each call has a stamp by which its own first try is recognised.
type Shared struct {
	client   redis.UniversalClient
	feed     *backplane.Feed
	watchers watchers
	// origin marks this process's own writes, whose watchers have been told before the write returned.
	origin atomic.Pointer[string]
}

// NewShared makes a store over b, which outlives it. It does not wait for Redis.
func NewShared(b *backplane.Backplane) *Shared {
	s := &Shared{client: b.Client()}
	s.newOrigin()
	s.feed = b.Subscribe(channel, s.heard, func() { s.watchers.tellAll() })
	return s
}

// Close leaves the connection to its owner.
func (s *Shared) Close() error { return nil }

// Hearing implements Store.
func (s *Shared) Hearing() bool { return s.feed.Hearing() }

// Watch implements Store.
func (s *Shared) Watch(table string, fn func(key string)) { s.watchers.add(table, fn) }

func (s *Shared) newOrigin() {
	origin := rand.Text()
	s.origin.Store(&origin)
}

// heard passes on what others wrote.
func (s *Shared) heard(message string) {
	origin, rest, _ := strings.Cut(message, "\n")
	if origin == *s.origin.Load() {
		return
	}
	if table, key, ok := strings.Cut(rest, "\n"); ok {
		s.watchers.tell(table, key)
	}
}

// The scripts. KEYS are the value and the index; ARGV begin with channel, message, member and stamp.
var (
	putScript = redis.NewScript(`
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[7] == 'create' then
  local old = redis.call('GET', KEYS[1])
  if old then return string.sub(old, 1, string.len(ARGV[4])) == ARGV[4] and 1 or 0 end
end
local expires = tonumber(ARGV[6])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if expires == 0 then
  redis.call('SET', KEYS[1], ARGV[4] .. ARGV[5])
  redis.call('ZADD', KEYS[2], '+inf', ARGV[3])
elseif expires > now then
  redis.call('SET', KEYS[1], ARGV[4] .. ARGV[5], 'PXAT', ARGV[6])
  redis.call('ZADD', KEYS[2], ARGV[6], ARGV[3])
else
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[3])
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1`)

	deleteScript = redis.NewScript(`
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1`)

	// A taken value stays under KEYS[3] for a moment, for the same call's second try.
	takeScript = redis.NewScript(`
local value = redis.call('GET', KEYS[3])
if value then return value end
value = redis.call('GET', KEYS[1])
if not value then return false end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('SET', KEYS[3], value, 'PX', ARGV[5])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return value`)
)

func indexKey(table string) string      { return prefix + table }
func valueKey(table, key string) string { return indexKey(table) + ":" + key }

// Get implements Store.
func (s *Shared) Get(ctx context.Context, table, key string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), checkShared(table, key)); err != nil {
		return nil, err
	}
	value, err := s.client.Get(ctx, valueKey(table, key)).Result()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, wrap(err, "reading", table)
	}
	return withoutStamp(value, table)
}

// Put implements Store.
func (s *Shared) Put(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	_, err := s.put(ctx, table, key, value, expires, "put")
	return err
}

// Create implements Store.
func (s *Shared) Create(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	written, err := s.put(ctx, table, key, value, expires, "create")
	if err == nil && !written {
		return ErrExists
	}
	return err
}

func (s *Shared) put(ctx context.Context, table, key string, value []byte, expires time.Time, how string) (written bool, err error) {
	if err := checkValue(table, value); err != nil {
		return false, err
	}
	millis := int64(0)
	if !expires.IsZero() {
		millis = max(1, expires.UnixMilli())
	}
	answer, err := s.write(ctx, putScript, table, key, nil, value, millis, how)
	if err != nil {
		return false, err
	}
	written = answer == int64(1)
	if written {
		s.watchers.tell(table, key)
	}
	return written, nil
}

// Delete implements Store.
func (s *Shared) Delete(ctx context.Context, table, key string) error {
	_, err := s.write(ctx, deleteScript, table, key, nil)
	if err == nil {
		s.watchers.tell(table, key)
	}
	return err
}

// Take implements Store.
func (s *Shared) Take(ctx context.Context, table, key string) ([]byte, error) {
	answer, err := s.write(ctx, takeScript, table, key, func(stamp string) string { return takenKey + stamp }, takenKept.Milliseconds())
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	s.watchers.tell(table, key)
	value, _ := answer.(string)
	return withoutStamp(value, table)
}

// write runs one of the scripts. Where its outcome is not known, it may yet be carried out: the watchers must hear of it
// when it is, so it no longer counts as this process's own.
func (s *Shared) write(ctx context.Context, script *redis.Script, table, key string, third func(stamp string) string, more ...any) (any, error) {
	if err := errors.Join(ctx.Err(), checkShared(table, key)); err != nil {
		return nil, err
	}
	stamp := rand.Text()
	keys := []string{valueKey(table, key), indexKey(table)}
	if third != nil {
		keys = append(keys, third(stamp))
	}
	message := *s.origin.Load() + "\n" + table + "\n" + key
	answer, err := script.Run(ctx, s.client, keys, append([]any{channel, message, key, stamp}, more...)...).Result()
	if err == nil || errors.Is(err, redis.Nil) {
		return answer, err
	}
	s.newOrigin()
	s.watchers.tell(table, key)
	return nil, wrap(err, "writing", table)
}

// Scan implements Store. Values written meanwhile may be seen or not.
func (s *Shared) Scan(ctx context.Context, table string, fn func(key string, value []byte) error) error {
	if err := errors.Join(ctx.Err(), checkShared(table, "any")); err != nil {
		return err
	}
	seen := make(map[string]bool) // a key may be handed out twice
	for cursor := uint64(0); ; {
		page, next, err := s.client.ZScan(ctx, indexKey(table), cursor, "", scanPage).Result()
		if err != nil {
			return wrap(err, "reading", table)
		}
		var keys []string
		for i := 0; i+1 < len(page); i += 2 { // each with its score
			if !seen[page[i]] {
				seen[page[i]] = true
				keys = append(keys, page[i])
			}
		}
		if len(seen) > maxScan {
			return fmt.Errorf("reading state table %s: it has more than %d entries", table, maxScan)
		}
		if err := s.values(ctx, table, keys, fn); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// values calls fn for those of the keys that are live.
func (s *Shared) values(ctx context.Context, table string, keys []string, fn func(key string, value []byte) error) error {
	for len(keys) > 0 {
		some := keys[:min(scanValues, len(keys))]
		keys = keys[len(some):]
		names := make([]string, len(some))
		for i, key := range some {
			names[i] = valueKey(table, key)
		}
		found, err := s.client.MGet(ctx, names...).Result()
		if err != nil {
			return wrap(err, "reading", table)
		}
		for i, raw := range found {
			text, live := raw.(string)
			if !live {
				continue // expired, or deleted since
			}
			value, err := withoutStamp(text, table)
			if err == nil {
				err = fn(some[i], value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func withoutStamp(value, table string) ([]byte, error) {
	if len(value) < stampBytes {
		return nil, fmt.Errorf("reading state table %s: a value of %d bytes was not written by a gateway", table, len(value))
	}
	return []byte(value[stampBytes:]), nil
}

// checkShared is checkName, and refuses a table's name that would break out of its keys or of a message.
func checkShared(table, key string) error {
	if strings.ContainsAny(table, ":\n") {
		return fmt.Errorf("table name %q has a colon or a newline", table)
	}
	return checkName(table, key)
}
