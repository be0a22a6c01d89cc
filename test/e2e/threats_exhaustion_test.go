package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// plentiful is an upstream with a quota that no test spends, whose answers are body.
func plentiful(body func(r *http.Request) []byte) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("X-Ratelimit-Limit", "1000000")
			h.Set("X-Ratelimit-Remaining", "999999")
			h.Set("X-Ratelimit-Reset", "60")
			h.Set("Content-Type", "application/json")
			w.Write(body(r))
		})
	}
}

// metric reads one metric without labels from the admin listener.
func metric(t *testing.T, g *harness.Gateway, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics(t, g)) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func metrics(t *testing.T, g *harness.Gateway) string {
	t.Helper()
	response, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExhaustionByDistinctCacheKeys(t *testing.T) {
	t.Parallel()
	const memory, size, keys = 8 << 20, 16 << 10, 800 // one and a half times what the cache may hold
	body := bytes.Repeat([]byte("x"), size)
	g := harness.Start(t, harness.Options{Config: "cache: {memory: 8MiB}\n", Front: plentiful(func(*http.Request) []byte { return body })})
	token := g.Token("payments")
	for range 2 { // what is counted of an answer is there when the next one comes
		g.Get(token, own+"/functions")
	}
	series := strings.Count(metrics(t, g), "\n")
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for n := next.Add(1); n <= keys; n = next.Add(1) {
				if a := g.Get(token, own+"/functions?key="+strconv.FormatInt(n, 10)); a.StatusCode != http.StatusOK {
					t.Errorf("key %d: %d %s", n, a.StatusCode, a.Text)
					return
				}
			}
		})
	}
	clients.Wait()
	if held := metric(t, g, "gateway_cache_bytes"); held > memory {
		t.Errorf("the cache holds %.0f bytes, may hold %d", held, memory)
	}
	if now := strings.Count(metrics(t, g), "\n"); now > series+20 {
		t.Errorf("the metrics grew from %d to %d lines: a label is the client's choice", series, now)
	}
	// A full cache admits what is asked for more often than what it holds: a few reads make it so.
	stored := false
	for range 20 {
		stored = stored || isHit(g.Get(token, own+"/functions"))
	}
	if !stored {
		t.Error("the cache no longer stores")
	}
}

func TestExhaustionByLargeRequests(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Server: "max_body: 1MiB, "})
	token := g.Token("payments")
	head := " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n"
	t.Run("a header", func(t *testing.T) {
		t.Parallel()
		connection, answers := open(t, g, "GET "+own+head)
		go io.WriteString(connection, "X-Large: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
		if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %+v, %v; want 431", response, err)
		}
	})
	t.Run("many headers", func(t *testing.T) {
		t.Parallel()
		connection, answers := open(t, g, "GET "+own+head)
		go io.WriteString(connection, strings.Repeat("a: b\r\n", 100_000)+"\r\n")
		if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode/100 != 4 {
			t.Errorf("answered %+v, %v; want a refusal", response, err)
		}
	})
	t.Run("a body in chunks", func(t *testing.T) {
		t.Parallel()
		request, _ := http.NewRequest("POST", g.URL+own+"/secrets", io.LimitReader(zeros{}, 4<<20))
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return // the connection was closed on the sender
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("answered %d, want 413", response.StatusCode)
		}
	})
	t.Run("a body that decides, nested deeply", func(t *testing.T) {
		t.Parallel()
		deep := `{"query":"select 1","x":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `,"read_only":true}`
		if a := g.Do(token, "POST", own+"/database/query", deep); a.StatusCode != http.StatusBadRequest {
			t.Errorf("answered %d, want 400", a.StatusCode)
		}
	})
	t.Cleanup(func() {
		for _, r := range g.Upstream.Requests() {
			if r.Status != 0 && r.Status < 400 {
				t.Errorf("upstream carried out %s %s", r.Method, r.Target)
			}
		}
	})
}

// TestExhaustionByUpstreamsAnswers: a list that is too large, and a small one that unpacks to a huge one.
func TestExhaustionByUpstreamsAnswers(t *testing.T) {
	t.Parallel()
	huge := 64 << 20
	if harness.Race {
		huge = 16 << 20 // each byte costs more, and memory is not measured
	}
	part := []byte(strings.Repeat(fmt.Sprintf(`{"ref":%q,"name":%q},`, sandbox.FieldApp, strings.Repeat("x", 4<<10)), 16))
	var bomb bytes.Buffer
	packed := gzip.NewWriter(&bomb)
	io.CopyN(packed, zeros{}, int64(huge))
	packed.Close()
	g := harness.Start(t, harness.Options{Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Query().Has("bomb") {
				w.Header().Set("Content-Encoding", "gzip")
				w.Write(bomb.Bytes())
				return
			}
			io.WriteString(w, "[")
			for sent := 0; sent < huge; sent += len(part) {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
			io.WriteString(w, "{}]")
		})
	}})
	token := g.Token("payments")
	if a := g.Get(token, "/v1/profile"); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode)
	}
	before := residentPeak(t, g)
	for _, path := range []string{"/v1/projects", "/v1/projects?bomb", own + "/functions?bomb", own + "/config/auth?bomb", own + "/functions/x/body?bomb"} {
		a := g.Get(token, path)
		if a.StatusCode != http.StatusBadGateway {
			t.Errorf("%s was answered %d with %d bytes, want 502", path, a.StatusCode, len(a.Text))
		}
	}
	for _, path := range []string{own + "/functions", own + "/config/auth"} { // not narrowed, so it may pass, but not be held
		request, _ := http.NewRequest("GET", g.URL+path, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		if response.Body.Close(); err != nil || response.StatusCode != http.StatusOK || n < int64(huge) {
			t.Errorf("%s was answered %d with %d bytes, %v; want all", path, response.StatusCode, n, err)
		}
	}
	// The largest answer that the cache takes in is an eighth of this.
	if growth := residentPeak(t, g) - before; growth > int64(huge)*3/2 && !harness.Race {
		t.Errorf("memory grew by %d MiB", growth>>20)
	}
}

// TestExhaustionByAThousandWaiters: one team floods a project's quota. Who cannot be served in time is told when to come back,
// another team's call is served in its turn, what was abandoned is never asked, and memory stays bounded.
func TestExhaustionByAThousandWaiters(t *testing.T) {
	t.Parallel()
	const flood, window = 1000, 3 * time.Second
	g := harness.Start(t, harness.Options{Sandbox: func(c *sandbox.Config) { c.Limits.Window = window }})
	flooding, other := g.Token("payments"), g.Token("platform")
	g.Get(other, own+"/functions/warm-up") // tells the gateway how long upstream's window is
	before := residentPeak(t, g)

	ctx, abandon := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for n := range flood {
		clients.Go(func() {
			request, _ := http.NewRequestWithContext(ctx, "GET", g.URL+own+"/functions?flood="+strconv.Itoa(n), nil)
			request.Header.Set("Authorization", "Bearer "+flooding)
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				return // abandoned
			}
			defer response.Body.Close()
			honest := response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") != ""
			if response.StatusCode != http.StatusOK && !honest {
				t.Errorf("answered %d", response.StatusCode)
			}
		})
	}
	waitFor(t, "the queue to fill", func() bool { return waiting(t, g) > 20 })

	began := time.Now()
	a := g.Get(other, own+"/branches")
	if took := time.Since(began); a.StatusCode != http.StatusOK || took > 3*window { // the next window, with some to spare
		t.Errorf("the other team was answered %d after %v", a.StatusCode, took)
	}
	if growth := residentPeak(t, g) - before; growth > 96<<20 && !harness.Race {
		t.Errorf("%d waiters cost %d MiB", flood, growth>>20)
	}
	abandon()
	clients.Wait()
	waitFor(t, "the queue to empty", func() bool { return waiting(t, g) == 0 })
	asked := g.Upstream.Requests()
	if a := g.Get(other, own+"/functions/afterwards"); a.StatusCode >= 429 {
		t.Errorf("behind the flood: %d %s", a.StatusCode, a.Text)
	}
	if more := len(g.Upstream.Requests()) - len(asked); more > 2 {
		t.Errorf("upstream was asked %d times more for those who had left", more)
	}
	for _, r := range asked {
		// Under the race detector a request may be so long on its way that it arrives in the next window.
		if r.Status == http.StatusTooManyRequests && !harness.Race {
			t.Fatalf("upstream answered 429 to %s", r.Target)
		}
	}
}

// waiting is how many requests are in the queue.
func waiting(t *testing.T, g *harness.Gateway) (n int) {
	t.Helper()
	for line := range strings.Lines(metrics(t, g)) {
		if strings.HasPrefix(line, "gateway_queue_depth{") {
			value, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]))
			if err != nil {
				t.Fatal(err)
			}
			n += value
		}
	}
	return n
}

// waitFor waits for what another process does.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
