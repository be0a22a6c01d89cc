package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"
)

// pollEvery is how often Follow looks for new lines: soon enough for a person who watches, and lines come in batches of
// up to Config.Flush anyway.
const pollEvery = 250 * time.Millisecond

// Follow yields the last f.Last wanted lines (none for 0) and then those that come, until ctx ends, which is no error. It
// goes on over rotation and takes up chains that appear later.
func Follow(ctx context.Context, dir string, f Filter) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		fw := &follower{dir: dir, chain: f.Chain, sieve: newSieve(f), chains: map[string]*trail{}}
		defer fw.close()
		err := f.check()
		if err == nil {
			err = fw.start(ctx, f.Last, yield)
		}
		for err == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pollEvery):
			}
			err = fw.poll(yield)
		}
		if !errors.Is(err, errEnough) && ctx.Err() == nil {
			yield(Line{}, err)
		}
	}
}

// errEnough says that the reader has left the loop.
var errEnough = errors.New("no more wanted")

// follower reads on in several chains.
type follower struct {
	dir    string
	chain  string
	sieve  *sieve
	chains map[string]*trail
}

// trail is how far one chain has been read.
type trail struct {
	number uint64
	in     *blocks // nil: that file is gone
}

func (fw *follower) close() {
	for _, t := range fw.chains {
		if t.in != nil {
			t.in.close()
		}
	}
}

// start reads each chain's newest file to its end, and shows the last lines before that point.
func (fw *follower) start(ctx context.Context, last int, yield func(Line, error) bool) error {
	chains, err := chosenChains(fw.dir, fw.chain)
	if err != nil {
		return err
	}
	ends := limits{}
	for name, files := range chains {
		if len(files) == 0 {
			continue
		}
		newest := files[len(files)-1]
		t := &trail{number: newest.number}
		fw.chains[name] = t
		if err := t.open(newest); err != nil {
			return err
		}
		if err := t.read(func([]byte) error { return nil }); err != nil {
			return err
		}
		ends[name] = mark{number: newest.number, offset: t.in.at + int64(t.in.done)}
	}
	if last == 0 {
		return nil
	}
	for l, err := range search(ctx, fw.sieve, chains, ends) {
		if err != nil {
			return err
		}
		if !yield(l, nil) {
			return errEnough
		}
	}
	return nil
}

// poll yields what has come since.
func (fw *follower) poll(yield func(Line, error) bool) error {
	chains, err := chosenChains(fw.dir, fw.chain)
	if err != nil {
		return err
	}
	show := func(block []byte) error {
		if !fw.sieve.pick(block, func(line []byte, r Record) bool { return yield(Line{Record: r, Raw: slices.Clone(line)}, nil) }) {
			return errEnough
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		t := fw.chains[name]
		if t == nil {
			t = &trail{}
			fw.chains[name] = t
		}
		// A file is complete once the next one exists, so the order is: list, read the old one to its end, go on.
		if err := t.read(show); err != nil {
			return err
		}
		for _, f := range chains[name] {
			if f.number <= t.number {
				continue
			}
			if err := t.open(f); err != nil {
				return err
			}
			if err := t.read(show); err != nil {
				return err
			}
		}
	}
	return nil
}

// open goes on with the next file. One that retention has just removed is passed over.
func (t *trail) open(f file) error {
	if t.in != nil {
		t.in.close()
		t.in = nil
	}
	t.number = f.number
	in, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	t.in = in
	return err
}

// read hands out whole blocks until the file's present end.
func (t *trail) read(show func(block []byte) error) error {
	for t.in != nil {
		block, err := t.in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("following the audit log: %w", err)
		}
		if err := show(block); err != nil {
			return err
		}
	}
	return nil
}
