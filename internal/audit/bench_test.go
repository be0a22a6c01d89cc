package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
)

// BenchmarkOutcome is what a cached read pays: encoding and handing over. Hashing and writing happen beside it.
func BenchmarkOutcome(b *testing.B) {
	l := open(b, audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: b.TempDir(), MaxSize: 1 << 30}, Required: true}}})
	b.ReportAllocs()
	for b.Loop() {
		r := read()
		if err := l.Outcome(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIntents compares 64 writers on the log's group commit with 64 writers on a file synced line by line. The
// median wait is given in fsyncs of the same disk.
func BenchmarkIntents(b *testing.B) {
	const writers = 64
	b.Run("group", func(b *testing.B) {
		l := open(b, audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: b.TempDir(), MaxSize: 1 << 30}, Required: true}}})
		run(b, writers, func() error { r := write(); return l.Intent(context.Background(), &r) })
	})
	b.Run("line", func(b *testing.B) {
		f, err := os.OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		var mu sync.Mutex
		r := write()
		line := audit.EncodeLine(&r)
		run(b, writers, func() error {
			mu.Lock()
			defer mu.Unlock()
			if _, err := f.Write(line); err != nil {
				return err
			}
			return f.Sync()
		})
	})
}

func run(b *testing.B, writers int, one func() error) {
	var todo atomic.Int64
	todo.Store(int64(b.N))
	waits := make([][]time.Duration, writers)
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range writers {
		all.Go(func() {
			for todo.Add(-1) >= 0 {
				start := time.Now()
				if err := one(); err != nil {
					b.Error(err)
					return
				}
				waits[i] = append(waits[i], time.Since(start))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	every := slices.Concat(waits...)
	slices.Sort(every)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "intents/s")
	b.ReportMetric(float64(every[len(every)/2].Microseconds()), "µs-median")
}

// BenchmarkVerify and BenchmarkSearch read the same log of 100,000 lines, plain and compressed.
func BenchmarkVerify(b *testing.B) {
	each(b, func(b *testing.B, dir string) {
		if _, err := audit.Verify(b.Context(), dir, audit.VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	each(b, func(b *testing.B, dir string) {
		for _, err := range audit.Search(b.Context(), dir, audit.Filter{Actor: "nobody@corp.example"}) {
			b.Fatal("found something", err)
		}
	})
}

func each(b *testing.B, read func(*testing.B, string)) {
	for _, zip := range []bool{false, true} {
		b.Run(fmt.Sprintf("gzip=%v", zip), func(b *testing.B) {
			dir := b.TempDir()
			size := fill(b, dir, 100_000)
			if zip {
				for _, path := range logFiles(b, dir) {
					if err := audit.CompressAtOnce(path); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.SetBytes(size)
			for b.Loop() {
				read(b, dir)
			}
		})
	}
}

// BenchmarkCompress is what a complete file costs beside the calls.
func BenchmarkCompress(b *testing.B) {
	const lines = 100_000
	made := b.TempDir()
	b.SetBytes(fill(b, made, lines))
	data, err := os.ReadFile(logFiles(b, made)[0])
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "audit-000001-20260102T150405Z.jsonl")
	for b.Loop() {
		b.StopTimer()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := audit.CompressAtOnce(path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/lines, "µs-a-line")
}

func fill(tb testing.TB, dir string, n int) (size int64) {
	l := open(tb, audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir, MaxSize: 1 << 30}, Required: true}}})
	for i := range n {
		r := someRead(i)
		if err := l.Outcome(tb.Context(), &r); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	for _, path := range logFiles(tb, dir) {
		info, err := os.Stat(path)
		if err != nil {
			tb.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

// BenchmarkLine is what one line costs all together: encoding, tail and hash.
func BenchmarkLine(b *testing.B) {
	r := read()
	audit.StampAt(&r, audit.Outcome, noon)
	r.ID = "00112233445566778899aabbccddeeff"
	var buf []byte
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = audit.AppendRecord(buf[:0], &r)
		}
	})
	b.Run("encode again", func(b *testing.B) {
		b.ReportAllocs()
		recent := audit.NewRecent()
		for b.Loop() {
			buf = recent.AppendRecord(buf[:0], &r)
		}
	})
	b.Run("chain", func(b *testing.B) {
		line := audit.AppendRecord(nil, &r)
		for b.Loop() {
			buf = audit.AppendLine(buf[:0], line)
		}
	})
}
