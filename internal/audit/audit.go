// Package audit is the log of who did what to which project: append, verify, search.
//
// Invariant: when Intent returns nil, the line is on stable storage in every required sink, so a call that waits for it
// cannot reach upstream unrecorded. Every line carries the hash of the line before it and checkpoints sign the chain, so
// that a line changed later shows. When a required sink cannot record, the package says so and refuses: it never drops in
// silence.
//
// It decides nothing about calls, counts nothing itself (Stats returns facts), and keeps no secret: values come from the
// caller as plain text, and what looks like a token is taken out.
package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"sync"
	"time"

	"corp.example/gateway/internal/problem"
)

// Config says where the log goes. The zero value of a field means its default.
type Config struct {
	// Name is the chain's name and the prefix of its files: one for each replica that writes to a directory. Lower-case
	// letters, digits and dashes, at most 40. Default: "audit".
	Name string
	// Sinks are where records go. At least one. A log without a required sink never refuses anything.
	Sinks []Sink
	// Flush is how long an outcome of a read may wait in memory before it is on stable storage. Default: 1 s.
	Flush time.Duration
	// Timeout is how long one write may hang before its sink counts as failed. Default: 5 s, well below the time-outs of
	// clients (60 s), so that they hear the reason.
	Timeout time.Duration
	// BufferBytes bounds what waits in memory for each sink. Default: 32 MiB, about a second of the highest rate one core
	// serves (40,000 lines of 600 bytes), so that one slow sync refuses nobody.
	BufferBytes int
	// BufferRecords bounds the same in lines. Default: 65,536, which BufferBytes holds at 512 bytes a line.
	BufferRecords int
	// Checkpoint is how often a chain that grows is signed. Default: 10 s.
	Checkpoint time.Duration
	// KeyFile holds the Ed25519 private key that signs checkpoints, PEM PKCS #8. Default: NAME.key in the directory of the
	// file sink, made at the first start; a key named here must exist.
	KeyFile string
	// Log hears of torn lines, failing and recovering sinks. Default: silence.
	Log *slog.Logger

	sync       func(*os.File) error // of tests that hang it, or fail it
	aheadBytes int64                // size of the write-ahead file
	aheadAfter int                  // how many urgent batches come before it is made
}

// Sink is one place records go to: exactly one of File and Shipper is set.
type Sink struct {
	File     *FileConfig
	Shipper  *Shipper // lines with a chain of their own that begins anew at each start
	Required bool     // no write is served while this sink cannot record
}

// FileConfig is the file sink's.
type FileConfig struct {
	Dir      string        // created when absent, mode 0700
	MaxSize  int64         // bytes of one file before the next begins. Default: 64 MiB, scanned in a fraction of a second at start
	MaxAge   time.Duration // age of one file before the next begins. Default: 24 h
	Keep     time.Duration // how long whole files are kept. Default: 0, for ever
	MaxTotal int64         // bytes of all files of the chain; the oldest go first, never the current. Default: 0, no cap
}

// The bounds of a name: it becomes part of file names and of every checkpoint.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (c Config) withDefaults() Config {
	def(&c.Name, "audit")
	def(&c.Flush, time.Second)
	def(&c.Timeout, 5*time.Second)
	def(&c.BufferBytes, 32<<20)
	def(&c.BufferRecords, 1<<16)
	def(&c.Checkpoint, 10*time.Second)
	def(&c.aheadBytes, aheadBytes)
	def(&c.aheadAfter, aheadAfter)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check returns every fault of the configuration at once.
func (c Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("audit: "+format, args...)) }
	if !namePattern.MatchString(c.Name) {
		fault("name %q: use lower-case letters, digits and dashes, at most 40", c.Name)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"flush", c.Flush}, {"timeout", c.Timeout}, {"checkpoint", c.Checkpoint}} {
		if d.value < 0 {
			fault("%s %v: must not be negative", d.name, d.value)
		}
	}
	if c.BufferBytes < 2*maxLine || c.BufferRecords < 2 {
		fault("buffer of %d bytes and %d records: at least %d bytes and 2 records", c.BufferBytes, c.BufferRecords, 2*maxLine)
	}
	if len(c.Sinks) == 0 {
		fault("no sink: name at least one")
	}
	dirs := map[string]bool{}
	for i, s := range c.Sinks {
		switch {
		case (s.File == nil) == (s.Shipper == nil):
			fault("sinks[%d]: name exactly one kind of sink", i)
		case s.File != nil && s.File.Dir == "":
			fault("sinks[%d].file.dir: missing", i)
		case s.File != nil && dirs[s.File.Dir]:
			fault("sinks[%d].file.dir %s: named twice", i, s.File.Dir)
		case s.File != nil:
			dirs[s.File.Dir] = true
		}
	}
	return errors.Join(faults...)
}

// Log writes records to all its sinks. It is safe for concurrent use.
type Log struct {
	queues  []*queue  // in the order of Config.Sinks
	scratch sync.Pool // *scratch: lines are encoded outside every lock
}

// scratch is what encoding a line needs.
type scratch struct {
	own    []byte
	recent recent
}

// Open opens every sink and continues its chain: a torn last line is set aside, intents without an outcome are closed as
// unknown, and both are noted in the chain. It fails when the configuration is faulty, when another process writes the
// same chain, or when a sink, required or not, cannot be opened: at start a fault is a mistake to mend, not an outage.
func Open(c Config) (*Log, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	key, err := loadKey(c)
	if err != nil {
		return nil, err
	}
	seed := maphash.MakeSeed()
	l := &Log{scratch: sync.Pool{New: func() any { return &scratch{own: make([]byte, 0, 1024), recent: recent{seed: seed}} }}}
	for i, s := range c.Sinks {
		out, name, err := openSink(c, i, key)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.queues = append(l.queues, newQueue(c, name, s.Required, out))
	}
	return l, nil
}

func openSink(c Config, i int, key ed25519.PrivateKey) (sink, string, error) {
	s := c.Sinks[i]
	if s.File == nil {
		return newShipSink(c, s.Shipper, s.Required, key), s.Shipper.Name, nil
	}
	out, err := openFileSink(c, *s.File, key)
	return out, "file", err
}

// Intent records that a call that is not a read is about to go upstream. It returns nil only when the line is on stable
// storage in every required sink; on any error the call must not be sent. It sets r.Time, r.Phase and an empty r.ID; the
// same r is to be handed to Outcome. The error is a *problem.Error 503 audit_unavailable, or the context's own.
func (l *Log) Intent(ctx context.Context, r *Record) error {
	r.intended = true
	l.stamp(r, Intent)
	tickets := make([]*ticket, 0, 2) // nearly always one required sink
	if err := l.each(r, func(q *queue, line body) error {
		t, err := q.add(ctx, line, entry{id: r.ID, opens: true, urgent: true, waits: q.required})
		if t != nil {
			tickets = append(tickets, t)
		}
		return err
	}); err != nil {
		return err
	}
	for _, t := range tickets {
		select {
		case <-t.done:
			if t.err != nil {
				return unavailable(t.err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Outcome records how a call ended, a read at r.Time unless that is zero, all else now. The line of a read waits in memory
// for at most Config.Flush; the outcome of a recorded intent is written at once. It blocks only while a required sink's
// buffer is full, until there is room, the sink fails or ctx ends: pass a context that outlives the client. The error is a
// *problem.Error 503 audit_unavailable and means that a required sink lost the line.
func (l *Log) Outcome(ctx context.Context, r *Record) error {
	l.stamp(r, Outcome)
	return l.each(r, func(q *queue, line body) error {
		_, err := q.add(ctx, line, entry{id: r.ID, closes: r.intended, urgent: r.intended})
		return err
	})
}

// Accepting is asked before a read is served. It returns a *problem.Error 503 audit_unavailable once a required sink has
// failed and its buffer is three quarters full: the rest is kept for the outcomes of what is already under way. It costs
// an atomic load for each sink while that is sound.
func (l *Log) Accepting() error {
	for _, q := range l.queues {
		if err := q.healthy(); q.required && err != nil && q.crowded() {
			return unavailable(err)
		}
	}
	return nil
}

// Healthy returns why writes are refused now: a required sink that cannot record. The error is a *problem.Error 503
// audit_unavailable.
func (l *Log) Healthy() error {
	for _, q := range l.queues {
		if err := q.healthy(); q.required && err != nil {
			return unavailable(err)
		}
	}
	return nil
}

// Stats returns what each sink has done since Open, in the order of Config.Sinks.
func (l *Log) Stats() []Stats {
	stats := make([]Stats, len(l.queues))
	for i, q := range l.queues {
		stats[i] = q.stats()
	}
	return stats
}

// Close writes what is buffered, signs each chain and releases the files. A sink that hangs is given up after twice
// Config.Timeout. The error tells of required sinks; the loss of another one's last lines is logged. Records that come
// later are refused.
func (l *Log) Close() error {
	faults := make([]error, len(l.queues))
	var closing sync.WaitGroup
	for i, q := range l.queues {
		closing.Go(func() {
			err := q.close()
			if err != nil && !q.required {
				q.log.Warn("audit sink did not take its last lines", "error", err)
				return
			}
			faults[i] = err
		})
	}
	closing.Wait()
	return errors.Join(faults...)
}

func (l *Log) stamp(r *Record, phase Phase) {
	r.Phase = phase
	if r.intended || r.Time.IsZero() { // reading the clock costs a read as much as copying its line
		r.Time = time.Now()
	}
	if !plainID(r.ID) {
		r.ID = newID()
	}
}

// each encodes r once and hands the line to every sink. An error of a sink that is not required is counted there and
// otherwise ignored: such a sink may fail without harm.
func (l *Log) each(r *Record, add func(q *queue, line body) error) error {
	s := l.scratch.Get().(*scratch)
	line := s.recent.appendRecord(s.own[:0], r)
	s.own = line.own
	var fault error
	for _, q := range l.queues {
		if err := add(q, line); err != nil && q.required && fault == nil {
			fault = err
		}
	}
	l.scratch.Put(s)
	if fault != nil {
		return unavailable(fault)
	}
	return nil
}

// unavailable is what clients are told; the reason is for the log. Fail closed: what cannot be recorded is not done.
func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &problem.Error{
		Status: http.StatusServiceUnavailable, Code: problem.AuditUnavailable, RetryAfter: time.Second, Err: err,
		Message: "The gateway cannot record this call in its audit log now, so it does not serve it. Try again shortly; if it lasts, tell the gateway's operators.",
	}
}
