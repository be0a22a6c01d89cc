package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	fileName = "state.db"

	// lockWait is how long a starting service waits for the file: a command may hold it for a moment, another service
	// holds it for good.
	lockWait = 5 * time.Second
	// batchDelay is how long a write waits for others to share its fsync. It is well below what the fsync takes.
	batchDelay = 2 * time.Millisecond
	// sweepEvery is how often expired values are removed from the file. They are invisible before, so this only bounds
	// the file's size.
	sweepEvery = time.Minute
	// sweepChunk bounds one sweep's transaction, since a transaction keeps other writers waiting.
	sweepChunk = 1000
)

// Embedded is a Store in one file that one process holds open. Other processes reach it through the control socket that
// Open starts beside the file.
type Embedded struct {
	dir      string
	db       *bolt.DB
	watchers watchers
	control  *control // nil in a command that opened the file for a moment
	stop     chan struct{}
	running  sync.WaitGroup
	close    func() error
}

// Open opens the store in dir for a service, creating both where they are missing: the directory with mode 0700, the
// files with 0600. It serves other processes through the control socket until Close.
func Open(dir string) (*Embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating state directory: %w", err)
	}
	e, err := openFile(dir, lockWait)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("state directory %s is in use by another gateway: stop it, or give this one its own state.dir", dir)
	}
	if err != nil {
		return nil, err
	}
	if e.control, err = serveControl(dir, e); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.running.Go(e.janitor)
	return e, nil
}

// openFile opens the file alone, waiting for its lock.
func openFile(dir string, wait time.Duration) (*Embedded, error) {
	path := filepath.Join(dir, fileName)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: wait, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, err
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission for %s: run as the user that runs the gateway", path)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.MaxBatchDelay = batchDelay
	e := &Embedded{dir: dir, db: db, stop: make(chan struct{})}
	e.close = sync.OnceValue(e.shut)
	return e, nil
}

// Close ends the control socket and the file. Calls in progress finish first.
func (e *Embedded) Close() error { return e.close() }

func (e *Embedded) shut() error {
	close(e.stop)
	var err error
	if e.control != nil {
		err = e.control.close()
	}
	e.running.Wait()
	return errors.Join(err, e.db.Close())
}

// Get implements Store.
func (e *Embedded) Get(ctx context.Context, table, key string) (value []byte, err error) {
	if err := errors.Join(ctx.Err(), checkName(table, key)); err != nil {
		return nil, err
	}
	err = e.db.View(func(tx *bolt.Tx) error {
		value = live(tx.Bucket([]byte(table)), key, time.Now())
		return nil
	})
	if err == nil && value == nil {
		err = ErrNotFound
	}
	return value, wrap(err, "reading", table)
}

// Put implements Store.
func (e *Embedded) Put(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	if err := errors.Join(ctx.Err(), checkName(table, key), checkValue(table, value)); err != nil {
		return err
	}
	return e.write(table, key, func(b *bolt.Bucket) error { return b.Put([]byte(key), encode(value, expires)) })
}

// Create implements Store.
func (e *Embedded) Create(ctx context.Context, table, key string, value []byte, expires time.Time) error {
	if err := errors.Join(ctx.Err(), checkName(table, key), checkValue(table, value)); err != nil {
		return err
	}
	return e.write(table, key, func(b *bolt.Bucket) error {
		if live(b, key, time.Now()) != nil {
			return ErrExists
		}
		return b.Put([]byte(key), encode(value, expires))
	})
}

// Take implements Store.
func (e *Embedded) Take(ctx context.Context, table, key string) (value []byte, err error) {
	if err := errors.Join(ctx.Err(), checkName(table, key)); err != nil {
		return nil, err
	}
	err = e.write(table, key, func(b *bolt.Bucket) error {
		if value = live(b, key, time.Now()); value == nil {
			return ErrNotFound
		}
		return b.Delete([]byte(key))
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// Delete implements Store.
func (e *Embedded) Delete(ctx context.Context, table, key string) error {
	if err := errors.Join(ctx.Err(), checkName(table, key)); err != nil {
		return err
	}
	return e.write(table, key, func(b *bolt.Bucket) error { return b.Delete([]byte(key)) })
}

// Scan implements Store. It reads one snapshot; writes made meanwhile are not seen.
func (e *Embedded) Scan(ctx context.Context, table string, fn func(key string, value []byte) error) error {
	now := time.Now()
	return e.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(table))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, raw []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if value := decode(raw, now); value != nil {
				return fn(string(k), value)
			}
			return nil
		})
	})
}

// Watch implements Store.
func (e *Embedded) Watch(table string, fn func(key string)) { e.watchers.add(table, fn) }

// Hearing implements Store: every write to the file is made by this process.
func (e *Embedded) Hearing() bool { return true }

// write changes one table and tells its watchers. Concurrent writes share one fsync, so change may run more than once.
func (e *Embedded) write(table, key string, change func(*bolt.Bucket) error) error {
	err := e.db.Batch(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(table))
		if err != nil {
			return err
		}
		return change(b)
	})
	if err != nil {
		return wrap(err, "writing", table)
	}
	e.watchers.tell(table, key)
	return nil
}

// janitor removes expired values until Close.
func (e *Embedded) janitor() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			// A sweep that fails leaves values that nobody can see; the next one tries again, and a broken file shows
			// itself to the callers.
			_ = e.sweep(now)
		}
	}
}

// sweep removes what had expired by now, in transactions of at most sweepChunk.
func (e *Embedded) sweep(now time.Time) error {
	for {
		removed := 0
		err := e.db.Update(func(tx *bolt.Tx) error {
			removed = 0
			return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
				var gone [][]byte
				c := b.Cursor()
				for k, raw := c.First(); k != nil && removed+len(gone) < sweepChunk; k, raw = c.Next() {
					if decode(raw, now) == nil {
						gone = append(gone, k)
					}
				}
				removed += len(gone)
				for _, k := range gone {
					if err := b.Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil || removed < sweepChunk {
			return err
		}
	}
}

// wrap says what was being done, and passes the errors callers branch on as they are.
func wrap(err error, doing, table string) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
		return err
	}
	return fmt.Errorf("%s state table %s: %w", doing, table, err)
}

// live returns a copy of an unexpired value, nil where there is none.
func live(b *bolt.Bucket, key string, now time.Time) []byte {
	if b == nil {
		return nil
	}
	raw := b.Get([]byte(key))
	if raw == nil {
		return nil
	}
	return decode(raw, now)
}

// encode puts the expiry, in nanoseconds since 1970 and zero for never, in front of the value.
func encode(value []byte, expires time.Time) []byte {
	var nanos int64
	if !expires.IsZero() {
		nanos = max(1, expires.UnixNano())
	}
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(nanos)), value...)
}

// decode returns a copy of the value, nil where it has expired. An empty value is not nil.
func decode(raw []byte, now time.Time) []byte {
	if len(raw) < 8 {
		return nil
	}
	if nanos := int64(binary.BigEndian.Uint64(raw)); nanos != 0 && nanos <= now.UnixNano() {
		return nil
	}
	return append([]byte{}, raw[8:]...)
}
