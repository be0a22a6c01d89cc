package state

import (
	"time"

	bolt "go.etcd.io/bbolt"
)

// OpenFile opens the file without the control socket, which cannot be used inside a synctest bubble.
func OpenFile(dir string) (*Embedded, error) { return openFile(dir, time.Nanosecond) }

// StartJanitor starts what Open starts.
func (e *Embedded) StartJanitor() { e.running.Go(e.janitor) }

// Size counts the values in the file, live and expired.
func (e *Embedded) Size(table string) (n int) {
	_ = e.db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte(table)); b != nil {
			n = b.Stats().KeyN
		}
		return nil
	})
	return n
}

// Sweep removes what has expired by now.
func (e *Embedded) Sweep(now time.Time) error { return e.sweep(now) }

const (
	SweepEvery    = sweepEvery
	SweepChunk    = sweepChunk
	SocketName    = socketName
	FileName      = fileName
	MaxSocketPath = maxSocketPath
)
