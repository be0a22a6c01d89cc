package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Shipper takes lines to a place outside the gateway's own disk.
type Shipper struct {
	// Name is the sink's label in Stats, such as "redis".
	Name string
	// Send takes whole lines, newlines included, which are its own until it returns. An error means that some may not have
	// arrived: the same lines then come again, for ever, but see ErrRejected. It is called by one goroutine and given up when
	// ctx ends.
	Send func(ctx context.Context, lines []byte) error
}

// ErrRejected is in a Send's error when the place refuses one of the lines as such, so that it would refuse it again. After
// a few more tries a sink that is not required drops such lines; a required one goes on and refuses writes, since somebody
// has to see to it.
var ErrRejected = errors.New("rejected for good")

const (
	// rejectedTries are how often lines are refused before any is dropped: two seconds, in case it was a fault in passing.
	rejectedTries = 8
	// siftSends bounds the search for the refused lines of one batch: enough to find one among a million by halves.
	siftSends = 64
)

// Stdout ships lines to a stream, such as standard output, for a collector to pick up.
func Stdout(out io.Writer) *Shipper {
	broken := false // the last write may have left half a line
	return &Shipper{Name: "stdout", Send: func(_ context.Context, lines []byte) error {
		if broken {
			lines = append([]byte{'\n'}, lines...) // ends the half line, so that it spoils no other
		}
		_, err := out.Write(lines)
		if broken = err != nil; broken {
			return fmt.Errorf("writing audit lines to a stream: %w", err)
		}
		return nil
	}}
}

// shipSink chains lines and ships them. Its chain begins anew with each process; how durable a line is the place decides.
type shipSink struct {
	chain   string
	patient bool // never drops what is rejected
	send    func(ctx context.Context, lines []byte) error
	timeout time.Duration
	key     ed25519.PrivateKey // nil: no checkpoints
	every   time.Duration
	last    link
	signed  uint64
	sealed  time.Time
	buf     []byte
	refused int // how often in a row the batch was rejected
}

func newShipSink(c Config, s *Shipper, required bool, key ed25519.PrivateKey) *shipSink {
	return &shipSink{chain: c.Name, patient: required, send: s.Send, timeout: c.Timeout, key: key, every: c.Checkpoint}
}

func (s *shipSink) write(b *batch) (lost int, err error) {
	now := time.Now()
	next := s.last
	s.buf = s.buf[:0]
	b.each(func(line body) { s.buf, next = next.appendLine(s.buf, line) })
	sign := s.key != nil && next.seq > s.signed && now.Sub(s.sealed) >= s.every
	if sign {
		s.buf, next = next.appendCheckpoint(s.buf, now, checkpoint{Chain: s.chain}, s.key)
	}
	if len(s.buf) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	err = s.send(ctx, s.buf)
	if !errors.Is(err, ErrRejected) {
		s.refused = 0
	} else if s.refused++; !s.patient && s.refused >= rejectedTries {
		lines, sends := slices.Collect(bytes.Lines(s.buf)), siftSends
		if lost, err = s.sift(ctx, lines, &sends); err == nil {
			s.refused = 0
		}
	}
	if err != nil {
		return 0, err
	}
	s.last = next
	if sign {
		s.signed, s.sealed = next.seq, now
	}
	return min(lost, len(b.ends)), nil // a refused checkpoint is no record
}

// sift ships rejected lines by halves, which leaves out the refused ones, and returns how many these are. Once sends is used
// up, lines that are refused together are dropped together. Lines may arrive twice.
func (s *shipSink) sift(ctx context.Context, lines [][]byte, sends *int) (lost int, err error) {
	if len(lines) == 1 {
		return 1, nil
	}
	for _, half := range [][][]byte{lines[:len(lines)/2], lines[len(lines)/2:]} {
		*sends--
		err := s.send(ctx, bytes.Join(half, nil))
		part := 0
		if errors.Is(err, ErrRejected) {
			if part, err = len(half), nil; *sends > 0 {
				part, err = s.sift(ctx, half, sends)
			}
		}
		if err != nil {
			return 0, err
		}
		lost += part
	}
	return lost, nil
}

func (s *shipSink) due() time.Time {
	if s.key == nil || s.last.seq == s.signed {
		return time.Time{}
	}
	return s.sealed.Add(s.every)
}

func (s *shipSink) close() error {
	if s.key == nil || s.last.seq == s.signed {
		return nil
	}
	s.sealed = time.Time{}
	_, err := s.write(&batch{})
	return err
}
