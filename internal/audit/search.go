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
)

// Line is a found record together with the line as it stands in the file.
type Line struct {
	Record Record
	Raw    []byte // without its newline; the caller's to keep
}

// Search returns the wanted records of every chain in dir in the order of time, while it reads: memory does not grow with
// the log. It may run beside the log's writer. An error ends it; the records before it are sound.
func Search(ctx context.Context, dir string, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for l, err := range Lines(ctx, dir, f) {
			if !yield(l.Record, err) {
				return
			}
		}
	}
}

// Dir is a log in files, by their directory.
type Dir string

// Lines is the function Lines on the directory.
func (d Dir) Lines(ctx context.Context, f Filter) iter.Seq2[Line, error] {
	return Lines(ctx, string(d), f)
}

// Follow is the function Follow on the directory.
func (d Dir) Follow(ctx context.Context, f Filter) iter.Seq2[Line, error] {
	return Follow(ctx, string(d), f)
}

// Lines is Search for those who want the lines themselves.
func Lines(ctx context.Context, dir string, f Filter) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		fail := func(err error) { yield(Line{}, err) }
		if err := f.check(); err != nil {
			fail(fmt.Errorf("searching the audit log: %w", err))
			return
		}
		chains, err := chosenChains(dir, f.Chain)
		if err != nil {
			fail(err)
			return
		}
		search(ctx, newSieve(f), chains, nil)(yield)
	}
}

// HasFiles reports a directory in which there is nothing to search.
func HasFiles(dir string) error {
	chains, err := listFiles(dir)
	if err == nil && len(chains) == 0 {
		return noFiles(dir)
	}
	return err
}

func noFiles(dir string) error {
	return fmt.Errorf("no audit files in %s: their names end in .jsonl or .jsonl.gz", dir)
}

func chosenChains(dir, chain string) (map[string][]file, error) {
	chains, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	if chain != "" {
		return map[string][]file{chain: chains[chain]}, nil
	}
	return chains, nil
}

// limits say where a search of each chain ends: at an offset of one file. Nil: at the end.
type limits map[string]mark

type mark struct {
	number uint64
	offset int64
}

func search(ctx context.Context, s *sieve, chains map[string][]file, until limits) iter.Seq2[Line, error] {
	var parts []iter.Seq2[Line, error]
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		c := chainSearch{ctx: ctx, sieve: s, files: chains[name]}
		if m, ok := until[name]; ok {
			c.end = &m
		}
		if s.filter.Last > 0 {
			parts = append(parts, c.last(s.filter.Last))
		} else {
			parts = append(parts, c.all())
		}
	}
	if s.filter.Last > 0 {
		return lastOf(merge(parts), s.filter.Last)
	}
	return merge(parts)
}

// chainSearch searches one chain.
type chainSearch struct {
	ctx   context.Context
	sieve *sieve
	files []file
	end   *mark // nil: no limit
}

// all yields oldest first.
func (c chainSearch) all() iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for i := range c.files {
			more := true
			err := c.scan(i, func(l Line) bool {
				more = yield(l, nil)
				return more
			})
			if err != nil {
				yield(Line{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// last yields the last n, oldest first. It reads from the newest file backwards until it has enough.
func (c chainSearch) last(n int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		var found []Line
		for i := len(c.files) - 1; i >= 0 && len(found) < n; i-- {
			var here []Line
			err := c.scan(i, func(l Line) bool {
				here = append(here, l)
				if len(here) >= 2*n { // cut now and then, so that memory stays bounded
					here = slices.Clone(here[len(here)-n:])
				}
				return true
			})
			if err != nil {
				yield(Line{}, err)
				return
			}
			found = append(here, found...)
		}
		for _, l := range found[max(0, len(found)-n):] {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// scan yields the wanted lines of one file; files and blocks that lie outside the wanted time are passed over.
func (c chainSearch) scan(i int, yield func(Line) bool) error {
	f := c.files[i]
	ended := c.files[min(i+1, len(c.files)-1)].began
	if i == len(c.files)-1 {
		ended = ended.AddDate(1000, 0, 0) // still written
	}
	if !c.sieve.overlaps(f.began, ended) || c.end != nil && f.number > c.end.number {
		return nil
	}
	b, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // retention has just removed it
	}
	if err != nil {
		return err
	}
	defer b.close()
	for {
		block, err := b.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading audit file %s: %w", f.path, err)
		}
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if c.end != nil && f.number == c.end.number {
			block = block[:max(0, min(int64(len(block)), c.end.offset-b.at))]
		}
		switch {
		case len(block) == 0, c.sieve.after(block):
			return nil
		case c.sieve.before(block):
			continue
		}
		if !c.sieve.pick(block, func(line []byte, r Record) bool { return yield(Line{Record: r, Raw: slices.Clone(line)}) }) {
			return nil
		}
	}
}

// merge yields several sequences that are each in the order of time as one.
func merge(parts []iter.Seq2[Line, error]) iter.Seq2[Line, error] {
	if len(parts) == 1 {
		return parts[0]
	}
	return func(yield func(Line, error) bool) {
		var heads []pulled
		for _, part := range parts {
			next, stop := iter.Pull2(part)
			defer stop()
			if p := (pulled{next: next}); p.advance() {
				heads = append(heads, p)
			}
		}
		for len(heads) > 0 {
			i := 0
			for j := range heads {
				if heads[j].line.Record.Time.Before(heads[i].line.Record.Time) {
					i = j
				}
			}
			if !yield(heads[i].line, heads[i].err) || heads[i].err != nil {
				return
			}
			if !heads[i].advance() {
				heads = slices.Delete(heads, i, i+1)
			}
		}
	}
}

// pulled is the next line of one sequence.
type pulled struct {
	next func() (Line, error, bool)
	line Line
	err  error
}

func (p *pulled) advance() (ok bool) {
	p.line, p.err, ok = p.next()
	return ok
}

// lastOf yields the last n of a sequence that is not much longer.
func lastOf(lines iter.Seq2[Line, error], n int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		var all []Line
		for l, err := range lines {
			if err != nil {
				yield(Line{}, err)
				return
			}
			all = append(all, l)
		}
		for _, l := range all[max(0, len(all)-n):] {
			if !yield(l, nil) {
				return
			}
		}
	}
}
