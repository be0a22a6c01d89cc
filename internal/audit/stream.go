package audit

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"time"
)

// streamSink writes lines to a stream, such as standard output, for a collector to pick up. Its chain begins anew with
// each process; how durable a line is the collector decides.
type streamSink struct {
	chain  string
	out    io.Writer
	key    ed25519.PrivateKey // nil: no checkpoints
	every  time.Duration
	last   link
	signed uint64
	sealed time.Time
	buf    []byte
	broken bool // the last write may have left half a line
}

func newStreamSink(c Config, out io.Writer, key ed25519.PrivateKey) *streamSink {
	return &streamSink{chain: c.Name, out: out, key: key, every: c.Checkpoint}
}

func (s *streamSink) write(b *batch) error {
	now := time.Now()
	next := s.last
	s.buf = s.buf[:0]
	if s.broken {
		s.buf = append(s.buf, '\n') // ends the half line, so that it spoils no other
	}
	b.each(func(body []byte) { s.buf, next = next.appendLine(s.buf, body) })
	sign := s.key != nil && next.seq > s.signed && now.Sub(s.sealed) >= s.every
	if sign {
		s.buf, next = next.appendCheckpoint(s.buf, now, checkpoint{Chain: s.chain}, s.key)
	}
	if len(s.buf) == 0 {
		return nil
	}
	if _, err := s.out.Write(s.buf); err != nil {
		s.broken = true
		return fmt.Errorf("writing audit lines to a stream: %w", err)
	}
	s.last, s.broken = next, false
	if sign {
		s.signed, s.sealed = next.seq, now
	}
	return nil
}

func (s *streamSink) due() time.Time {
	if s.key == nil || s.last.seq == s.signed {
		return time.Time{}
	}
	return s.sealed.Add(s.every)
}

func (s *streamSink) close() error {
	if s.key == nil || s.last.seq == s.signed {
		return nil
	}
	s.sealed = time.Time{}
	return s.write(&batch{})
}
