package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// fileSink appends a chain to files. Only its queue's worker calls it.
type fileSink struct {
	chain  string
	config FileConfig
	every  time.Duration // between checkpoints
	key    ed25519.PrivateKey
	log    *slog.Logger
	lock   *os.File // held as long as the sink is open
	keeper *keeper
	ahead  *ahead

	sync    func(*os.File) error // of segments
	release func()               // gives back what sync holds

	last   link                // the last line on stable storage
	signed uint64              // seq of the last checkpoint
	sealed time.Time           // when it was signed
	open   map[string]struct{} // ids of intents on stable storage without an outcome
	buf    []byte              // a batch as it goes to disk
	period
}

// period is the current file and what bounds it.
type period struct {
	file    *segment // nil: none yet
	number  uint64
	blank   uint64 // up to this seq it holds nothing but checkpoints: it may grow old
	began   time.Time
	since   *since    // where the kept chain begins; nil: at its first line
	expires time.Time // when the oldest file is to go; zero: never
}

// write frames the lines of b, adds a checkpoint when one is due, and stores all of it or nothing: none is ever lost.
func (s *fileSink) write(b *batch) (lost int, err error) {
	now := time.Now()
	if err := s.ready(now, b.size+len(b.ends)*maxTail); err != nil {
		return 0, err
	}
	next := s.last
	s.buf = s.buf[:0]
	b.each(func(line body) { s.buf, next = next.appendLine(s.buf, line) })
	plan := retirement{since: s.since, expires: s.expires}
	if s.expired(now) {
		plan = s.plan(now)
	}
	if plan.gap != "" {
		s.buf, next = next.appendLine(s.buf, noteBody("gap", plan.gap))
	}
	mark := len(s.buf)
	sign := len(plan.remove) > 0 || next.seq > s.signed && now.Sub(s.sealed) >= s.every
	if sign {
		s.buf, next = next.appendCheckpoint(s.buf, now, checkpoint{Chain: s.chain, Since: plan.since}, s.key)
	}
	if len(s.buf) > 0 {
		if err := s.file.append(s.buf, b.urgent); err != nil {
			return 0, err
		}
	}
	if len(b.ends) == 0 && s.blank == s.last.seq {
		s.blank = next.seq
	}
	s.last, s.since, s.expires = next, plan.since, plan.expires
	s.mark(b.marks)
	if sign {
		s.seal(now, s.buf[mark:])
	}
	if len(plan.remove) > 0 {
		s.keeper.tidy(plan.remove, s.number)
	}
	return 0, nil
}

func (s *fileSink) expired(now time.Time) bool { return !s.expires.IsZero() && !now.Before(s.expires) }

// plan is retire where recording comes first: a plan that cannot be made is tried again in an hour.
func (s *fileSink) plan(now time.Time) retirement {
	plan, err := s.retire(now)
	if err != nil {
		s.log.Warn("audit files are not retired", "error", err)
		return retirement{since: s.since, expires: now.Add(time.Hour)}
	}
	return plan
}

// maxTail is no less than what a tail and a newline add to a body.
const maxTail = len(seqKey) + 20 + len(prevKey) + 64 + len(tailEnd) + 1

func (s *fileSink) mark(marks []entry) {
	for _, m := range marks {
		if m.opens {
			s.open[m.id] = struct{}{}
		} else {
			delete(s.open, m.id)
		}
	}
}

// seal remembers that line, the last one stored, is a checkpoint, and leaves a copy of it beside the log: a chain that
// later ends before it has been cut short. The copy is a witness, not the record: without it the log still works.
func (s *fileSink) seal(now time.Time, line []byte) {
	s.signed, s.sealed = s.last.seq, now
	path := headPath(s.config.Dir, s.chain)
	err := os.WriteFile(path+".tmp", line, 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		s.log.Warn("audit checkpoint has no copy beside the log", "error", err)
	}
}

func headPath(dir, chain string) string { return filepath.Join(dir, chain+".head") }

// due is when the chain is to be signed, or the file to be changed, though no line comes.
func (s *fileSink) due() time.Time {
	next := s.expires
	if s.last.seq > s.blank {
		next = earlier(next, s.began.Add(s.config.MaxAge))
	}
	if s.last.seq > s.signed {
		next = earlier(next, s.sealed.Add(s.every))
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// ready sees to it that there is a current file, that nobody else has touched it, and that it has room for n more bytes.
func (s *fileSink) ready(now time.Time, n int) error {
	if s.file == nil {
		return s.begin(now, "", "")
	}
	event, detail, err := s.file.tampered()
	switch {
	case err != nil:
		return err
	case event != "":
		s.log.Error("audit file was tampered with", "event", event, "detail", detail)
		return s.begin(now, event, detail)
	case !s.outgrown(now, n):
		return nil
	}
	if err := s.begin(now, "", ""); err != nil {
		// The old file still records: rather a file too large than a call refused.
		s.log.Warn("audit file is not changed", "error", err)
		s.began = now.Add(time.Minute - s.config.MaxAge) // again in a minute
	}
	return nil
}

func (s *fileSink) outgrown(now time.Time, n int) bool {
	return s.last.seq > s.blank && (s.file.size+int64(n) > s.config.MaxSize || now.Sub(s.began) >= s.config.MaxAge)
}

// begin starts the next file with a checkpoint that carries over what the next start must know, and a note when there is
// an event. Files that retention gives up are removed once that line is stored.
func (s *fileSink) begin(now time.Time, event, detail string) error {
	plan := s.plan(now)
	if s.file != nil {
		if err := s.file.settle(); err != nil && event != "vanished" { // of a file that is gone nothing can be saved
			return err
		}
	}
	file, err := createSegment(filepath.Join(s.config.Dir, fileName(s.chain, s.number+1, now)), s.number+1, s.ahead, s.sync)
	if err != nil {
		return err
	}
	opening := checkpoint{Chain: s.chain, File: s.number + 1, Open: slices.Sorted(maps.Keys(s.open)), Since: plan.since}
	data, next := s.last.appendCheckpoint(nil, now, opening, s.key)
	line := data
	if event != "" {
		data, next = next.appendLine(data, noteBody(event, detail))
	}
	if plan.gap != "" {
		data, next = next.appendLine(data, noteBody("gap", plan.gap))
	}
	if err := file.append(data, false); err != nil {
		file.discard()
		return err
	}
	if err := syncDir(s.config.Dir); err != nil {
		file.discard()
		return err
	}
	if s.file != nil {
		s.file.f.Close() // all of it is synced
	}
	s.period = period{file: file, number: s.number + 1, blank: s.last.seq + 1, began: now, since: plan.since, expires: plan.expires}
	s.last = next
	s.seal(now, line)
	s.signed = s.blank // a note after it is not signed yet
	s.keeper.tidy(plan.remove, s.number)
	return nil
}

// close signs what is not signed yet and gives the chain free.
func (s *fileSink) close() error {
	s.sealed = time.Time{}
	var fault error
	if s.last.seq > s.signed {
		_, fault = s.write(&batch{})
	}
	s.keeper.close()
	if s.file != nil {
		if err := s.file.settle(); err != nil {
			fault = errors.Join(fault, err)
		} else {
			fault = errors.Join(fault, s.ahead.remove())
		}
		s.file.f.Close()
	}
	s.release()
	s.lock.Close() // gives the lock back
	if fault != nil {
		return fmt.Errorf("signing the end of the audit log: %w", fault)
	}
	return nil
}
