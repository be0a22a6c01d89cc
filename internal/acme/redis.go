package acme

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"

	"corp.example/gateway/internal/seal"
)

// What is in Redis: one hash of all files, since there are few and they are listed by prefix; and a key for each lock.
const (
	filesKey   = "gateway:{acme}"
	lockPrefix = "gateway:{acme}:lock:"
)

// A lock ends by itself this long after its holder died, and is renewed by a holder that lives. Issuing takes minutes.
const (
	lockLease = 30 * time.Second
	lockRenew = 10 * time.Second
	lockRetry = 500 * time.Millisecond
)

// sealedFor is the purpose that values are sealed for; the key follows, so that they cannot be swapped.
const sealedFor = "acme "

// Redis keeps certificates for all replicas, sealed. It implements certmagic.Storage.
type Redis struct {
	client redis.UniversalClient
	keys   *seal.Keys

	mu   sync.Mutex
	held map[string]lock // by name
}

type lock struct {
	token string
	stop  context.CancelFunc
}

var _ certmagic.Storage = (*Redis)(nil)

// NewRedis makes a storage on a client whose commands are bounded in time.
func NewRedis(client redis.UniversalClient, keys *seal.Keys) *Redis {
	return &Redis{client: client, keys: keys, held: map[string]lock{}}
}

// Store implements certmagic.Storage.
func (r *Redis) Store(ctx context.Context, key string, value []byte) error {
	dated := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	if err := r.client.HSet(ctx, filesKey, key, r.keys.Seal(sealedFor+key, append(dated, value...))).Err(); err != nil {
		return fmt.Errorf("storing %s in redis: %w", key, err)
	}
	return nil
}

// Load implements certmagic.Storage.
func (r *Redis) Load(ctx context.Context, key string) ([]byte, error) {
	value, _, err := r.load(ctx, key)
	return value, err
}

func (r *Redis) load(ctx context.Context, key string) (value []byte, modified time.Time, err error) {
	sealed, err := r.client.HGet(ctx, filesKey, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, modified, fs.ErrNotExist
	}
	if err != nil {
		return nil, modified, fmt.Errorf("loading %s from redis: %w", key, err)
	}
	dated, err := r.keys.Open(sealedFor+key, sealed)
	if err != nil || len(dated) < 8 {
		// Not an error: a certificate can be had again, and a seal key that was taken away must not be in its way.
		return nil, modified, fs.ErrNotExist
	}
	return dated[8:], time.Unix(0, int64(binary.BigEndian.Uint64(dated))), nil
}

// Delete implements certmagic.Storage: it deletes the key and what it is a folder of.
func (r *Redis) Delete(ctx context.Context, key string) error {
	below, err := r.List(ctx, key, true)
	if err != nil {
		return err
	}
	if err := r.client.HDel(ctx, filesKey, append(below, key)...).Err(); err != nil {
		return fmt.Errorf("deleting %s from redis: %w", key, err)
	}
	return nil
}

// Exists implements certmagic.Storage.
func (r *Redis) Exists(ctx context.Context, key string) bool {
	if found, err := r.client.HExists(ctx, filesKey, key).Result(); err == nil && found {
		return true
	}
	below, err := r.List(ctx, key, true)
	return err == nil && len(below) > 0
}

// List implements certmagic.Storage.
func (r *Redis) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	all, err := r.client.HKeys(ctx, filesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("listing %s in redis: %w", folder, err)
	}
	prefix := strings.TrimSuffix(folder, "/") + "/"
	if folder == "" {
		prefix = ""
	}
	found := map[string]bool{}
	var out []string
	for _, key := range all {
		rest, below := strings.CutPrefix(key, prefix)
		if !below {
			continue
		}
		if name, _, deeper := strings.Cut(rest, "/"); deeper && !recursive {
			key = prefix + name
		}
		if !found[key] {
			found[key] = true
			out = append(out, key)
		}
	}
	return out, nil
}

// Stat implements certmagic.Storage.
func (r *Redis) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, modified, err := r.load(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: modified, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if below, listErr := r.List(ctx, key, true); listErr == nil && len(below) > 0 {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return certmagic.KeyInfo{}, err
}

// Lock implements certmagic.Storage. It waits until the lock is free or ctx ends.
func (r *Redis) Lock(ctx context.Context, name string) error {
	token := rand.Text()
	for {
		taken, err := r.client.SetNX(ctx, lockPrefix+name, token, lockLease).Result()
		if err != nil {
			return fmt.Errorf("locking %s in redis: %w", name, err)
		}
		if taken {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockRetry):
		}
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.mu.Lock()
	r.held[name] = lock{token, stop}
	r.mu.Unlock()
	go r.renew(renewing, name, token)
	return nil
}

// Both act on a lock only while it is still its holder's.
var (
	extend  = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end return 0`)
	release = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)
)

func (r *Redis) renew(ctx context.Context, name, token string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lockRenew):
			// One that fails is made up for by the next, before the lease ends.
			_ = extend.Run(ctx, r.client, []string{lockPrefix + name}, token, lockLease.Milliseconds()).Err()
		}
	}
}

// Unlock implements certmagic.Storage.
func (r *Redis) Unlock(ctx context.Context, name string) error {
	r.mu.Lock()
	held, locked := r.held[name]
	delete(r.held, name)
	r.mu.Unlock()
	if !locked {
		return fmt.Errorf("unlocking %s in redis: it is not held here", name)
	}
	held.stop()
	if err := release.Run(ctx, r.client, []string{lockPrefix + name}, held.token).Err(); err != nil {
		return fmt.Errorf("unlocking %s in redis: %w", name, err)
	}
	return nil
}
