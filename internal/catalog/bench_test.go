package catalog_test

import (
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
)

var requests = []struct {
	name, uri string
	allocs    float64 // the most a parse of it may allocate
}{
	{"plain", "/v1/projects/" + ref, 0},
	{"deep", "/v1/projects/" + ref + "/config/auth/sso/providers/" + uuid, 0},
	{"query", health + "?services=auth&services=db&timeout_ms=500", 1},
	{"encoded query", "/v1/projects/" + ref + "/analytics/endpoints/logs.all?sql=select%20event_message%20from%20edge_logs", 3},
}

func TestParseAllocatesNothingPerStep(t *testing.T) {
	c := load(t)
	for _, r := range requests {
		got := testing.AllocsPerRun(100, func() {
			if _, err := c.Parse("GET", r.uri); err != nil {
				t.Fatal(err)
			}
		})
		if got > r.allocs {
			t.Errorf("%s: %v allocations, at most %v are allowed", r.name, got, r.allocs)
		}
	}
	if got := testing.AllocsPerRun(100, func() { canonical(t, c, requests[2].uri) }); got > 1 {
		t.Errorf("the canonical form of a query that is canonical costs %v allocations, want those of the parse", got)
	}
}

func canonical(tb testing.TB, c *catalog.Catalog, uri string) string {
	call, err := c.Parse("GET", uri)
	if err != nil {
		tb.Fatal(err)
	}
	return call.Query().Canonical()
}

func BenchmarkParse(b *testing.B) {
	c := load(b)
	for _, r := range requests {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Parse("GET", r.uri); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, uri := range map[string]string{ // attacks, which cost an error each
		"longest path":   "/v1/projects/" + ref + "/branches/" + strings.Repeat("a", 1900),
		"many segments":  "/v1" + strings.Repeat("/a", 1000),
		"many parameter": health + "?" + strings.Repeat("services=a&", 63) + "services=a",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Parse("GET", uri)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.New(); err != nil {
			b.Fatal(err)
		}
	}
}
