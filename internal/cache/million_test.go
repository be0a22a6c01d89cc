package cache_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"corp.example/gateway/internal/cache"
)

// resident is what the process takes of the machine's memory, in bytes.
func resident(b *testing.B) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("only Linux tells:", err)
	}
	_, line, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}

// A million keys asked for once: with the default bound, into which a seventh of them fits, and with one that holds them
// all. Live is what the cache takes after a collection; it must not pass the configured bytes and 15 %. Neither must what
// is resident where the collector is told so, as an operator tells it with GOMEMLIMIT; what it lets pile up otherwise is
// measured, too.
func BenchmarkMillionKeys(b *testing.B) {
	for _, row := range []struct {
		name    string
		memory  int64
		limited bool
	}{
		{"256MiB/GOMEMLIMIT", cache.DefaultMemory, true},
		{"256MiB/GOGC=100", cache.DefaultMemory, false},
		{"2GiB/GOMEMLIMIT", 2 << 30, true},
		{"2GiB/GOGC=100", 2 << 30, false},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				million(b, row.memory, row.limited)
			}
		})
	}
}

func million(b *testing.B, memory int64, limited bool) {
	const keys, step, size = 1_000_000, 20_000, 300 // bytes, a status as upstream gives it
	before := heap()
	debug.FreeOSMemory()
	process := resident(b)
	limit := memory + memory*15/100
	if limited {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(process + limit))
	}
	c, err := cache.New(cache.Config{Memory: memory})
	if err != nil {
		b.Fatal(err)
	}
	var most int64
	for first := 0; first < keys; first += step {
		fill(b, c, first, step, size)
		most = max(most, resident(b)-process)
	}
	c.Settle()
	live, stats := heap()-before, c.Stats()
	if live > limit {
		b.Errorf("%d bytes are live, more than the configured %d and 15 %%", live, memory)
	}
	if limited && most > limit {
		b.Errorf("%d bytes are resident, more than the configured %d and 15 %%", most, memory)
	}
	b.ReportMetric(float64(stats.Bytes)/float64(memory)*100, "%weight")
	b.ReportMetric(float64(live)/float64(memory)*100, "%live")
	b.ReportMetric(float64(most)/float64(memory)*100, "%resident")
	b.ReportMetric(float64(stats.Entries), "entries")
	runtime.KeepAlive(c)
}
