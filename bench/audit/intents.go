package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/audit"
)

// writers is how many calls wait for their intents at any moment.
const writers = 64

// intents compares the log's group commit with one fsync a line, in turn, on the same disk.
func intents(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("intents", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how often each is measured, in turn")
	each := flags.Duration("each", 2*time.Second, "how long one measurement takes")
	dir := flags.String("dir", "", "a folder on the disk to measure; default: the system's for temporary files")
	profile := flags.String("cpuprofile", "", "file for a CPU profile of the log's turns")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return withFolder(*dir, func(dir string) error {
		var stop func() error
		if *profile != "" {
			f, err := os.Create(*profile)
			if err != nil {
				return err
			}
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			stop = func() error { pprof.StopCPUProfile(); return f.Close() }
			defer func() { _ = stop() }()
		}
		var all []intentRound
		for i := range *rounds {
			r, err := intentsOnce(filepath.Join(dir, fmt.Sprint(i)), *each)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return printIntents(out, all)
	})
}

// intentRound is one turn of everything that is compared.
type intentRound struct {
	alone              load // one append of 500 bytes and its fsync at a time, with nobody else
	log, bare, perLine load // 64 writers each
}

// load is what was reached together by all slices of a round.
type load struct {
	waits  []time.Duration // of each call
	took   time.Duration
	writes int64 // write system calls
}

func (l *load) perSecond() float64    { return float64(len(l.waits)) / l.took.Seconds() }
func (l *load) linesAWrite() float64  { return float64(len(l.waits)) / float64(max(l.writes, 1)) }
func (l *load) median() time.Duration { return l.waits[len(l.waits)/2] }

// slice is how long one has the disk to itself before the next has its turn: a shared disk changes its mind within seconds.
const slice = 200 * time.Millisecond

// intentsOnce lets everyone have each of time, in slices.
func intentsOnce(dir string, each time.Duration) (r intentRound, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	var files [3]*os.File
	for i := range files {
		if files[i], err = os.OpenFile(filepath.Join(dir, fmt.Sprint("plain-", i)), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return r, err
		}
		defer files[i].Close()
	}
	log, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: filepath.Join(dir, "log"), MaxSize: 1 << 30}, Required: true}}})
	if err != nil {
		return r, err
	}
	defer log.Close()
	bare := newBareCommit(files[1])
	defer bare.end()
	line := append(make([]byte, 499), '\n')
	calls := make([]audit.Record, people) // made before, like the line: making them is not the log's work
	for i := range calls {
		calls[i] = *write(i)
	}
	var next atomic.Int64
	var mu sync.Mutex
	turns := []struct {
		writers int
		load    *load
		one     func() error
	}{
		{1, &r.alone, func() error { return appendSync(files[0], line) }},
		{writers, &r.log, func() error {
			call := calls[next.Add(1)%people]
			return log.Intent(context.Background(), &call)
		}},
		{writers, &r.bare, func() error { return bare.append(line) }},
		{writers, &r.perLine, func() error {
			mu.Lock()
			defer mu.Unlock()
			return appendSync(files[2], line)
		}},
	}
	for range max(1, each/slice) {
		for _, t := range turns {
			if err := t.load.press(t.writers, t.one); err != nil {
				return r, err
			}
		}
	}
	for _, t := range turns {
		slices.Sort(t.load.waits)
	}
	return r, nil
}

func appendSync(f *os.File, line []byte) error {
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

// press lets n writers call one over and over for a slice.
func (l *load) press(n int, one func() error) error {
	ended := time.Now().Add(slice)
	waits, faults := make([][]time.Duration, n), make([]error, n)
	before, began := writeCalls(), time.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for from := time.Now(); from.Before(ended) && faults[i] == nil; {
				faults[i] = one()
				now := time.Now()
				waits[i] = append(waits[i], now.Sub(from))
				from = now
			}
		})
	}
	all.Wait()
	l.took += time.Since(began)
	l.writes += writeCalls() - before
	l.waits = append(l.waits, slices.Concat(waits...)...)
	return errors.Join(faults...)
}

// writeCalls is how many write system calls this process has made.
func writeCalls() (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	return field(string(text), "syscw:")
}

// bareCommit is a group commit and nothing else: no encoding, no chain, no bounds. It shows what the disk gives.
type bareCommit struct {
	file *os.File
	wake chan struct{}

	mu   sync.Mutex
	next []byte
	wait *bareWait
}

type bareWait struct {
	done chan struct{}
	err  error
}

func newBareCommit(f *os.File) *bareCommit {
	b := &bareCommit{file: f, wake: make(chan struct{}, 1), wait: &bareWait{done: make(chan struct{})}}
	go b.work()
	return b
}

func (b *bareCommit) append(line []byte) error {
	b.mu.Lock()
	b.next = append(b.next, line...)
	w := b.wait
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	<-w.done
	return w.err
}

func (b *bareCommit) work() {
	var lines []byte
	for range b.wake {
		b.mu.Lock()
		lines, b.next = b.next, lines[:0]
		w := b.wait
		b.wait = &bareWait{done: make(chan struct{})}
		b.mu.Unlock()
		if len(lines) > 0 {
			w.err = appendSync(b.file, lines)
		}
		close(w.done)
	}
}

func (b *bareCommit) end() { close(b.wake) }

// printIntents writes the medians of all rounds, and of the ratios within each.
func printIntents(out io.Writer, all []intentRound) error {
	fmt.Fprintf(out, "| | lines/s, median of rounds (range) | median wait (range) | lines a write |\n|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		of   func(r *intentRound) *load
	}{
		{"the log, 64 writers", func(r *intentRound) *load { return &r.log }},
		{"a bare group commit, 64 writers", func(r *intentRound) *load { return &r.bare }},
		{"one fsync a line, 64 writers", func(r *intentRound) *load { return &r.perLine }},
		{"one fsync a line, one writer", func(r *intentRound) *load { return &r.alone }},
	} {
		fmt.Fprintf(out, "| %s | %s | %s ms | %s |\n", row.name, figures(all, "%.0f", func(r *intentRound) float64 { return row.of(r).perSecond() }),
			figures(all, "%.2f", func(r *intentRound) float64 { return row.of(r).median().Seconds() * 1000 }),
			figures(all, "%.1f", func(r *intentRound) float64 { return row.of(r).linesAWrite() }))
	}
	_, err := fmt.Fprintf(out, "\nLines a second, log / one fsync a line: %s; log / bare group commit: %s.\nMedian wait, log / one fsync of one writer: %s.\n",
		figures(all, "%.1f", func(r *intentRound) float64 { return r.log.perSecond() / r.perLine.perSecond() }),
		figures(all, "%.2f", func(r *intentRound) float64 { return r.log.perSecond() / r.bare.perSecond() }),
		figures(all, "%.2f", func(r *intentRound) float64 { return float64(r.log.median()) / float64(r.alone.median()) }))
	return err
}

// figures prints the median over all rounds, and their range.
func figures(all []intentRound, format string, of func(r *intentRound) float64) string {
	var values []float64
	for i := range all {
		values = append(values, of(&all[i]))
	}
	slices.Sort(values)
	return fmt.Sprintf(format+" ("+format+" to "+format+")", values[len(values)/2], values[0], values[len(values)-1])
}
