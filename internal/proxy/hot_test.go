package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/strictyaml"
)

// cachedRead answers one read from the cache.
func cachedRead(t testing.TB) func() {
	return newLine(t, options{minted: true, rows: cachedLong()}).cachedRead(t)
}

// cachedLong makes one operation's answers keep for longer than any test takes.
func cachedLong() []catalog.Row {
	return []catalog.Row{{ID: "v1-list-all-functions", Cache: &catalog.RowCache{TTL: strictyaml.Duration(time.Hour)}}}
}

// cachedRead answers one read from the cache; one goroutine may use what it returns.
func (l *line) cachedRead(t testing.TB) func() {
	request := httptest.NewRequest("GET", "/v1/projects/"+sandbox.Payments+"/functions", nil)
	request.Header.Set("Authorization", "Bearer "+l.token)
	w := &discarding{header: http.Header{}}
	read := func() {
		clear(w.header)
		l.ServeHTTP(w, request)
		if w.status != http.StatusOK {
			t.Fatalf("status %d", w.status)
		}
	}
	read()
	return read
}

// hotAllocations is the ceiling for a cached read in the proxy, which takes four: the fields of the quota, and what the race
// detector adds by having pools forget.
const hotAllocations = 8

func TestACachedReadAllocatesLittle(t *testing.T) {
	if got := testing.AllocsPerRun(200, cachedRead(t)); got > hotAllocations {
		t.Errorf("a cached read allocates %v times, want at most %d", got, hotAllocations)
	}
}

func BenchmarkCachedRead(b *testing.B) {
	read := cachedRead(b)
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
}

// discarding is a ResponseWriter that keeps the status alone.
type discarding struct {
	header http.Header
	status int
}

func (d *discarding) Header() http.Header         { return d.header }
func (d *discarding) WriteHeader(status int)      { d.status = status }
func (d *discarding) Write(p []byte) (int, error) { return len(p), nil }
