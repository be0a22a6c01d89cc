package httpcache_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// What the public suite does not look at, through the built gateway as well.

const (
	functions = "/v1/projects/" + sandbox.Payments + "/functions" // configuration: its rule lets it become stale
	health    = "/v1/projects/" + sandbox.Payments + "/health?services=db"
)

// upstream answers everything as a test likes and counts what it is asked.
type upstream struct {
	*harness.Gateway
	token string
	asked atomic.Int64
	down  atomic.Bool
}

func start(t *testing.T, body string, header ...string) *upstream {
	t.Helper()
	u := &upstream{}
	answer := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u.asked.Add(1)
			if u.down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			_, _ = io.WriteString(w, body) // an error here is the gateway's to report
		})
	}
	u.Gateway = harness.Start(t, harness.Options{Front: answer})
	u.token = u.Token("platform")
	return u
}

var long = "[" + strings.Repeat(`{"slug":"hello","name":"hello","status":"ACTIVE"},`, 100) + `{"slug":"last"}]`

func TestClientsWithAndWithoutGzipGetTheirOwnValidators(t *testing.T) {
	t.Parallel()
	u := start(t, long, "Etag", `"v1"`)
	get := func(coding string, more ...string) harness.Answer {
		return u.Get(u.token, functions, append([]string{"Accept-Encoding", coding}, more...)...)
	}
	get("identity")
	plain, packed := get("identity"), get("gzip")
	if plain.Text != long || plain.Header.Get("Etag") != `"v1"` || plain.Header.Get("Content-Length") != strconv.Itoa(len(long)) {
		t.Errorf("without gzip: %v", plain.Header)
	}
	unpacked, err := gzip.NewReader(strings.NewReader(packed.Text))
	if err != nil {
		t.Fatalf("with gzip: %v %v", err, packed.Header)
	}
	if body, err := io.ReadAll(unpacked); err != nil || string(body) != long || packed.Header.Get("Etag") != `"v1+gzip"` {
		t.Errorf("with gzip: %v, %d bytes, %v", err, len(body), packed.Header)
	}
	for _, coding := range []string{"identity", "gzip"} {
		for _, tag := range []string{`"v1"`, `"v1+gzip"`} {
			if a := get(coding, "If-None-Match", tag); a.StatusCode != http.StatusNotModified || a.Header.Get("Etag") != tag || a.Text != "" {
				t.Errorf("%s with %s: %d %v", coding, tag, a.StatusCode, a.Header)
			}
		}
	}
	if n := u.asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times, want once for both", n)
	}
}

func TestHeadIsAnsweredFromAStoredGet(t *testing.T) {
	t.Parallel()
	u := start(t, long)
	get := u.Get(u.token, functions, "Accept-Encoding", "identity")
	head := u.Do(u.token, http.MethodHead, functions, "", "Accept-Encoding", "identity")
	if head.StatusCode != http.StatusOK || head.Text != "" || !strings.HasPrefix(head.Header.Get("Cache-Status"), "gateway; hit; ttl=") {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Etag", "Date"} {
		if head.Header.Get(name) == "" || name != "Etag" && head.Header.Get(name) != get.Header.Get(name) {
			t.Errorf("HEAD says %s: %q, GET said %q", name, head.Header.Get(name), get.Header.Get(name))
		}
	}
	if n := u.asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
}

func TestAnswerWithACookieIsNotStored(t *testing.T) {
	t.Parallel()
	u := start(t, long, "Set-Cookie", "session=1", "Cache-Control", "max-age=60")
	for range 2 {
		a := u.Get(u.token, functions)
		if a.Header.Get("Set-Cookie") != "" || !strings.HasSuffix(a.Header.Get("Cache-Status"), "detail=set-cookie") {
			t.Errorf("%v", a.Header)
		}
	}
	if n := u.asked.Load(); n != 2 {
		t.Errorf("upstream was asked %d times, want each time", n)
	}
}

// Upstream's own cache says how old its answer is.
func TestUpstreamsAgeCounts(t *testing.T) {
	t.Parallel()
	u := start(t, long, "Age", "40", "Cache-Control", "max-age=60")
	for range 2 {
		if age, err := strconv.Atoi(u.Get(u.token, functions).Header.Get("Age")); err != nil || age < 40 || age > 55 {
			t.Errorf("Age = %d, %v, want upstream's 40 and what has passed since", age, err)
		}
	}
	if n := u.asked.Load(); n != 1 {
		t.Errorf("upstream was asked %d times", n)
	}
}

// Tools wait for a status to change: what is older than two seconds is no status. Everything else may stand in, marked.
func TestHealthIsNeverOlderThanTwoSeconds(t *testing.T) {
	t.Parallel()
	u := start(t, "[]", "Cache-Control", "max-age=1")
	began := time.Now()
	for _, path := range []string{health, functions} {
		if a := u.Get(u.token, path); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.StatusCode, a.Text)
		}
	}
	u.down.Store(true)
	for {
		asked := time.Now()
		a := u.Get(u.token, health)
		if a.StatusCode != http.StatusOK {
			break
		}
		if asked.Sub(began) > 2*time.Second+500*time.Millisecond { // the first answer is younger than its request
			t.Fatalf("health is served %s after it was asked for: %v", asked.Sub(began), a.Header)
		}
		time.Sleep(20 * time.Millisecond) // the passing of time is the event
	}
	a := u.Get(u.token, functions)
	if status := a.Header.Get("Cache-Status"); a.StatusCode != http.StatusOK || a.Text != "[]" || !strings.HasSuffix(status, "detail=stale-if-error") || a.Header.Get("Age") == "" {
		t.Errorf("while upstream fails: %d %v", a.StatusCode, a.Header)
	}
	for _, directive := range []string{"no-cache", "max-age=0, no-cache"} {
		if a := u.Get(u.token, functions, "Cache-Control", directive); a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s while upstream fails: %d %v", directive, a.StatusCode, a.Header)
		}
	}
}
