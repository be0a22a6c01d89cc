package e2e

import (
	"slices"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

// BenchmarkCachedGET compares what a cached answer costs with a warm JWT and with a minted token. The two take turns, so that
// whatever else the machine does falls on both.
func BenchmarkCachedGET(b *testing.B) {
	g := harness.Start(b, harness.Options{})
	path := own + "/functions"
	tokens := map[string]string{"jwt": g.JWT("ada"), "minted": g.Token("payments")}
	took := map[string][]time.Duration{}
	for _, token := range tokens {
		for range 100 {
			g.Get(token, path)
		}
	}
	for b.Loop() {
		for kind, token := range tokens {
			began := time.Now()
			if a := g.Get(token, path); !isHit(a) {
				b.Fatalf("%s: %d %q", kind, a.StatusCode, a.Header.Get("Cache-Status"))
			}
			took[kind] = append(took[kind], time.Since(began))
		}
	}
	middle := func(kind string) float64 {
		slices.Sort(took[kind])
		return float64(took[kind][len(took[kind])/2].Nanoseconds())
	}
	ratio := middle("jwt") / middle("minted")
	b.ReportMetric(middle("jwt"), "jwt-ns")
	b.ReportMetric(middle("minted"), "minted-ns")
	b.ReportMetric(ratio, "jwt/minted")
	if b.N > 500 && ratio > 1.3 {
		b.Errorf("a warm JWT costs %.2f times a minted token, want at most 1.3", ratio)
	}
}
