package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Stream is an audit log in a Redis stream. Several replicas may add to one; each entry names its chain.
//
// An entry has the fields chain, run (one life of a process, within which the chain is whole) and line.
type Stream struct {
	client redis.UniversalClient
	key    string
	maxLen int64
}

// NewStream names a stream by its key. maxLen bounds, about, how many entries it keeps.
func NewStream(client redis.UniversalClient, key string, maxLen int64) *Stream {
	return &Stream{client: client, key: key, maxLen: maxLen}
}

const (
	// addAtOnce bounds the commands of one transaction: Redis does a few hundred within a millisecond or two, and serves
	// nobody else meanwhile.
	addAtOnce = 256
	// readAtOnce bounds an answer to some hundreds of KiB.
	readAtOnce = 512
)

// Shipper adds lines to the stream under a chain's name. A line is as durable as Redis's own persistence makes it. What
// times out is tried again as long as Send may take, unless the client knows that Redis is away.
func (s *Stream) Shipper(chain string) *Shipper {
	run := newID()[:8]
	return &Shipper{Name: "redis", Send: func(ctx context.Context, lines []byte) error {
		for some := range slices.Chunk(slices.Collect(bytes.Lines(lines)), addAtOnce) {
			err := s.add(ctx, chain, run, some)
			for timedOut(err) && ctx.Err() == nil { // not yet known to be away: that is the client's to say
				err = s.add(ctx, chain, run, some)
			}
			if err != nil {
				return fmt.Errorf("adding audit lines to redis: %w", err)
			}
		}
		return nil
	}}
}

func (s *Stream) add(ctx context.Context, chain, run string, lines [][]byte) error {
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, line := range lines {
			p.XAdd(ctx, &redis.XAddArgs{Stream: s.key, MaxLen: s.maxLen, Approx: true,
				Values: []any{"chain", chain, "run", run, "line", bytes.TrimSuffix(line, []byte("\n"))}})
		}
		return nil
	})
	return err
}

// timedOut reports whether a command merely took too long. One that does says little about a Redis that was busy.
func timedOut(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// late is how long after its time a line may arrive and still be found by a search that ends there: it waits in the
// gateway's memory while Redis is away.
const late = time.Hour

// Lines returns the wanted records in the order they arrived, while it reads. Time outside the filter's is skipped by the
// ids of the entries, which count Redis's own time. A line that was sent twice is returned once.
func (s *Stream) Lines(ctx context.Context, f Filter) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		if err := f.check(); err != nil {
			yield(Line{}, fmt.Errorf("searching the audit log: %w", err))
			return
		}
		r := s.reader(f)
		if f.Last > 0 {
			lines, err := r.last(ctx, r.from, r.to)
			for _, l := range lines {
				if !yield(l, nil) {
					return
				}
			}
			if err != nil {
				yield(Line{}, err)
			}
			return
		}
		if _, err := r.forward(ctx, r.from, r.to, yield); err != nil && !errors.Is(err, errEnough) {
			yield(Line{}, err)
		}
	}
}

// Follow yields the last f.Last wanted lines (none for 0) and then those that come, until ctx ends, which is no error.
func (s *Stream) Follow(ctx context.Context, f Filter) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r := s.reader(f)
		err := f.check()
		at := "-"
		if err == nil {
			at, err = r.start(ctx, yield)
		}
		for err == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pollEvery):
			}
			at, err = r.forward(ctx, at, "+", yield)
		}
		if !errors.Is(err, errEnough) && ctx.Err() == nil {
			yield(Line{}, err)
		}
	}
}

// streamReader is one search of a stream.
type streamReader struct {
	*Stream
	sieve    *sieve
	from, to string            // ids
	seen     map[string]runEnd // by chain: what a line sent again is told by
}

// runEnd is the last line of a chain's run.
type runEnd struct {
	run string
	seq uint64
}

func (s *Stream) reader(f Filter) *streamReader {
	r := &streamReader{Stream: s, sieve: newSieve(f), from: "-", to: "+", seen: map[string]runEnd{}}
	if !f.Since.IsZero() {
		r.from = strconv.FormatInt(max(0, f.Since.Add(-slack).UnixMilli()), 10)
	}
	if !f.Until.IsZero() {
		r.to = strconv.FormatInt(max(0, f.Until.Add(late).UnixMilli()), 10)
	}
	return r
}

// forward yields what is wanted between two ids and returns from where to go on.
func (r *streamReader) forward(ctx context.Context, from, to string, yield func(Line, error) bool) (string, error) {
	for {
		entries, err := r.client.XRangeN(ctx, r.key, from, to, readAtOnce).Result()
		if err != nil {
			return from, fmt.Errorf("reading the audit log from redis: %w", err)
		}
		for _, e := range entries {
			from = "(" + e.ID
			if l, wanted := r.wants(e); wanted && !r.again(e, l) && !yield(l, nil) {
				return from, errEnough
			}
		}
		if len(entries) < readAtOnce {
			return from, nil
		}
	}
}

// last returns the last wanted lines between two ids, oldest first. It reads backwards until it has enough.
func (r *streamReader) last(ctx context.Context, from, to string) ([]Line, error) {
	var found []Line
	ids := map[string]bool{} // of found lines: what was sent twice counts once
	for n := r.sieve.filter.Last; len(found) < n; {
		entries, err := r.client.XRevRangeN(ctx, r.key, to, from, readAtOnce).Result()
		if err != nil {
			return nil, fmt.Errorf("reading the audit log from redis: %w", err)
		}
		for _, e := range entries {
			to = "(" + e.ID
			l, wanted := r.wants(e)
			if once := field(e, "run") + strconv.FormatUint(l.Record.Seq, 10); wanted && !ids[once] && len(found) < n {
				ids[once] = true
				found = append(found, l)
			}
		}
		if len(entries) < readAtOnce {
			break
		}
	}
	slices.Reverse(found)
	return found, nil
}

// start shows the last lines and returns from where to go on.
func (r *streamReader) start(ctx context.Context, yield func(Line, error) bool) (string, error) {
	newest, err := r.client.XRevRangeN(ctx, r.key, "+", "-", 1).Result()
	if err != nil {
		return "", fmt.Errorf("reading the audit log from redis: %w", err)
	}
	if len(newest) == 0 {
		return "-", nil
	}
	lines, err := r.last(ctx, r.from, newest[0].ID)
	for _, l := range lines {
		if !yield(l, nil) {
			return "", errEnough
		}
	}
	return "(" + newest[0].ID, err
}

func (r *streamReader) wants(e redis.XMessage) (l Line, wanted bool) {
	line := []byte(field(e, "line"))
	if f := &r.sieve.filter; f.Chain != "" && f.Chain != field(e, "chain") {
		return l, false
	}
	l.Raw = line
	return l, r.sieve.wants(line, &l.Record)
}

// again reports whether a line has come before: whoever gets no answer from Redis sends a batch once more.
func (r *streamReader) again(e redis.XMessage, l Line) bool {
	chain, run := field(e, "chain"), field(e, "run")
	if end := r.seen[chain]; end.run == run && l.Record.Seq <= end.seq {
		return true
	}
	r.seen[chain] = runEnd{run: run, seq: l.Record.Seq}
	return false
}

func field(e redis.XMessage, name string) string {
	text, _ := e.Values[name].(string)
	return text
}
