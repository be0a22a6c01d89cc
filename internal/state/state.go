// Package state keeps what must survive a restart: tokens, sessions, the people behind them. It is a small store of
// tables with string keys, opaque values and expiry: in a file of one gateway, or in the Redis that several share.
//
// Invariants: an expired value is never handed out; a write has reached the disk, or Redis, when its call returns; the
// writer's own watchers of a table have been told of a write by then, those of other processes on a file as well, and
// those of other replicas on Redis within a second, or they know that they do not hear. The package does not encrypt and
// does not know what it stores: callers keep hashes here, not secrets.
package state

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds on what is stored. Keys are hashes and short names; the largest values are a person's claims and sealed OAuth
// tokens, both a few KiB. A value past the bound is a bug in the caller and must not fill the disk.
const (
	MaxKeyBytes   = 512
	MaxValueBytes = 256 << 10
)

// The errors callers branch on. Everything else means that the store cannot be read or written now.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
)

// Store is what every kind of state offers: Embedded in one process, Remote beside it, and Shared for replicas.
//
// A zero expires means never. Values handed out belong to the caller, values handed in are copied. All methods may be
// called concurrently.
type Store interface {
	// Get returns the value, or ErrNotFound where there is none or it has expired.
	Get(ctx context.Context, table, key string) ([]byte, error)
	// Put stores the value, replacing what was there.
	Put(ctx context.Context, table, key string, value []byte, expires time.Time) error
	// Create stores the value only where there is none (or an expired one), otherwise it returns ErrExists. Of several
	// concurrent calls one succeeds.
	Create(ctx context.Context, table, key string, value []byte, expires time.Time) error
	// Take returns the value and deletes it in one step, so that of several concurrent calls one gets it.
	Take(ctx context.Context, table, key string) ([]byte, error)
	// Delete removes the value. A missing one is no error.
	Delete(ctx context.Context, table, key string) error
	// Scan calls fn for every live value of the table, in no promised order, until fn returns an error, which it returns.
	// fn must not write to the store.
	Scan(ctx context.Context, table string, fn func(key string, value []byte) error) error
	// Watch has fn called after every write to the table, with the key written. An empty key says that changes may have
	// been missed, so everything remembered of the table must be forgotten. fn must be quick and must not write.
	Watch(table string, fn func(key string))
	// Hearing reports whether the watchers have been told of every write made more than a second ago, wherever it was
	// made. While it is false, nothing remembered of a table may be relied on.
	Hearing() bool
}

// checkName refuses what no table or key may be.
func checkName(table, key string) error {
	switch {
	case table == "" || len(table) > MaxKeyBytes:
		return fmt.Errorf("table name has %d bytes, want 1 to %d", len(table), MaxKeyBytes)
	case key == "" || len(key) > MaxKeyBytes:
		return fmt.Errorf("key in table %s has %d bytes, want 1 to %d", table, len(key), MaxKeyBytes)
	}
	return nil
}

func checkValue(table string, value []byte) error {
	if len(value) > MaxValueBytes {
		return fmt.Errorf("value for table %s has %d bytes, at most %d may be stored", table, len(value), MaxValueBytes)
	}
	return nil
}
