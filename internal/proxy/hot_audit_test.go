package proxy_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"corp.example/gateway/internal/audit"
)

// BenchmarkCachedReadAudited is what the audit log's file costs a cached read: reads in a second of the cores' time with the
// file sink divided by those with a sink that forgets, in turns, from as many goroutines as there are cores. What is done
// beside the calls, hashing and writing, is in it, since it takes the cores' time. Compression of complete files is not: see
// BenchmarkCompress of the audit package.
func BenchmarkCachedReadAudited(b *testing.B) {
	forgets := &audit.Shipper{Name: "forgets", Send: func(context.Context, []byte) error { return nil }}
	sinks := [...]audit.Sink{
		{File: &audit.FileConfig{Dir: b.TempDir(), MaxSize: 1 << 40}, Required: true},
		{Shipper: forgets, Required: true},
	}
	var reads [len(sinks)][]func() // one for each core
	for i := range sinks {
		line := newLine(b, options{minted: true, rows: cachedLong(), sink: &sinks[i]})
		for range runtime.GOMAXPROCS(0) {
			reads[i] = append(reads[i], line.cachedRead(b))
		}
	}
	const turn = 100 * time.Millisecond
	var ratios, micros []float64
	for b.Loop() {
		var reached [len(sinks)]float64
		for i := range reads {
			reached[i] = perSecond(b, turn, reads[i])
		}
		micros = append(micros, 1e6/reached[0])
		ratios = append(ratios, reached[0]/reached[1])
	}
	slices.Sort(ratios)
	slices.Sort(micros)
	b.ReportMetric(ratios[len(ratios)/2], "file/none")
	b.ReportMetric(micros[len(micros)/2], "µs-a-read")
	b.ReportMetric(ratios[len(ratios)/4], "file/none-p25")
	b.ReportMetric(ratios[len(ratios)*3/4], "file/none-p75")
}

// perSecond calls each of reads over and over for a while and returns how many that were in a second of the cores' time: the
// clock on the wall would measure what else the machine does.
func perSecond(b *testing.B, turn time.Duration, reads []func()) float64 {
	b.Helper()
	began, before := time.Now(), spent(b)
	done := make(chan int)
	for _, read := range reads {
		go func() {
			n := 0
			for ; time.Since(began) < turn; n++ {
				read()
			}
			done <- n
		}()
	}
	total := 0
	for range reads {
		total += <-done
	}
	return float64(total) / (spent(b) - before).Seconds()
}

// spent is the cores' time this process has taken.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
