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

// A million keys asked for once, with the default bound. The collector is told the bound that an operator would give with
// GOMEMLIMIT: the configured bytes and 15 %, and what the process took before. What is resident must not pass that.
func BenchmarkMillionKeys(b *testing.B) {
	const keys, step, size = 1_000_000, 20_000, 300 // bytes, a status as upstream gives it
	for b.Loop() {
		debug.FreeOSMemory()
		before := resident(b)
		limit := int64(cache.DefaultMemory) + cache.DefaultMemory*15/100
		old := debug.SetMemoryLimit(before + limit)
		c, err := cache.New(cache.Config{})
		if err != nil {
			b.Fatal(err)
		}
		var most int64
		for first := 0; first < keys; first += step {
			fill(b, c, first, step, size)
			most = max(most, resident(b)-before)
		}
		c.Settle()
		if most > limit {
			b.Errorf("%d bytes are resident, more than the configured %d and 15 %%", most, cache.DefaultMemory)
		}
		b.ReportMetric(float64(most)/cache.DefaultMemory*100, "%resident/configured")
		b.ReportMetric(float64(c.Stats().Entries), "entries")
		runtime.KeepAlive(c)
		debug.SetMemoryLimit(old)
	}
}
