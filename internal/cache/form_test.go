package cache_test

import (
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"corp.example/gateway/internal/cache"
)

var long = strings.Repeat(`{"id":"abcdefghijklmnopqrst","name":"project"}`, 100)

// always makes an upstream that always gives the same answer.
func always(body string, lines ...string) func(int, http.Header) (*cache.Answer, error) {
	return func(int, http.Header) (*cache.Answer, error) { return ok(body, lines...), nil }
}

func unzipped(t *testing.T, s served) string {
	t.Helper()
	z, err := gzip.NewReader(s.Body)
	if err != nil {
		t.Fatalf("not gzip: %v", err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("broken gzip: %v", err)
	}
	return string(body)
}

// RFC 9110 sections 8.4 and 12.5.3: clients with and without gzip get the same content, each with a validator of its own.
func TestBothCodings(t *testing.T) {
	for _, upstream := range []string{`Etag: "a"`, `Etag: W/"a"`, "X-No-Tag: 1"} {
		w := newWorld(t, cache.Config{})
		w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json; charset=utf-8", upstream)
		w.get()
		w.cache.Settle()
		before := w.cache.Stats().Bytes
		plain, packed := w.get(), w.get("Accept-Encoding: gzip, deflate, br, zstd")
		if plain.Body.String() != long || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: plain: %v", upstream, plain.Header())
		}
		h := packed.Header()
		if h.Get("Content-Encoding") != "gzip" || h.Get("Content-Length") == plain.Header().Get("Content-Length") {
			t.Errorf("%s: gzip: %v", upstream, h)
		}
		w.cache.Settle()
		grown := w.cache.Stats().Bytes - before
		if size := int64(packed.Body.Len()); grown < size {
			t.Errorf("%s: the gzip form of %d bytes counts %d", upstream, size, grown)
		}
		if got := unzipped(t, packed); got != long {
			t.Errorf("%s: gzip is of %d bytes, want %d", upstream, len(got), len(long))
		}
		a, b := plain.Header().Get("Etag"), h.Get("Etag")
		if a == "" || b == "" || (a == b) != strings.HasPrefix(a, "W/") {
			t.Errorf("%s: validators %s and %s", upstream, a, b)
		}
		for _, s := range []served{plain, packed} {
			if s.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: Vary = %q", upstream, s.Header()["Vary"])
			}
		}
		for _, tag := range []string{a, b} {
			for _, accept := range []string{"gzip", "identity"} {
				s := w.get("If-None-Match: "+tag, "Accept-Encoding: "+accept)
				if s.Code != 304 || s.Header().Get("Etag") != tag {
					t.Errorf("%s: If-None-Match %s, Accept-Encoding %s: %d %s", upstream, tag, accept, s.Code, s.Header().Get("Etag"))
				}
			}
		}
	}
}

func TestWhoAcceptsGzip(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json")
	for accept, want := range map[string]bool{
		"Accept-Encoding: gzip":                    true,
		"Accept-Encoding: GZIP":                    true,
		"Accept-Encoding: x-gzip":                  true,
		"Accept-Encoding: br, gzip;q=0.5":          true,
		"Accept-Encoding: *":                       true,
		"Accept-Encoding: gzip;q=0":                false,
		"Accept-Encoding: gzip; q=0.000, *":        false,
		"Accept-Encoding: *;q=0":                   false,
		"Accept-Encoding: identity":                false,
		"Accept-Encoding: gzipped":                 false,
		"Accept-Encoding: ":                        false,
		"X-Accept-Encoding-Is-Not-Here: otherwise": false,
	} {
		if got := w.get(accept).Header().Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%s: gzip = %t, want %t", accept, got, want)
		}
	}
}

func TestWhatIsNotPacked(t *testing.T) {
	noise := make([]byte, 2000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for name, upstream := range map[string]func(int, http.Header) (*cache.Answer, error){
		"a short body":    always(long[:1000], "Cache-Control: max-age=60", "Content-Type: application/json"),
		"eszip":           always(long, "Cache-Control: max-age=60", "Content-Type: application/vnd.denoland.eszip"),
		"no content type": always(long, "Cache-Control: max-age=60"),
		"no-transform":    always(long, "Cache-Control: max-age=60, no-transform", "Content-Type: application/json"),
		"coded already":   always(long, "Cache-Control: max-age=60", "Content-Type: application/json", "Content-Encoding: br"),
		"not stored":      always(long, "Cache-Control: no-store", "Content-Type: application/json"),
		"no gain":         always(string(noise), "Cache-Control: max-age=60", "Content-Type: text/plain"),
	} {
		w := newWorld(t, cache.Config{})
		w.upstream = upstream
		w.get()
		if got := w.get("Accept-Encoding: gzip").Header().Get("Content-Encoding"); got == "gzip" {
			t.Errorf("%s is sent in gzip", name)
		}
	}
}

func TestVaryOfUpstreamIsKept(t *testing.T) {
	for vary, want := range map[string]int{"Origin": 2, "Origin, accept-encoding": 1} {
		w := newWorld(t, cache.Config{})
		w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json", "Vary: "+vary)
		if got := w.get().Header()["Vary"]; len(got) != want || got[0] != vary {
			t.Errorf("Vary: %s became %q", vary, got)
		}
	}
}

func TestGzipFormSurvivesValidation(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
		if n == 1 {
			return ok(long, "Cache-Control: max-age=60", "Content-Type: application/json", `Etag: "a"`), nil
		}
		return answer(304, ""), nil
	}
	w.get("Accept-Encoding: gzip")
	w.cache.Settle()
	weight := w.cache.Stats().Bytes
	if s := w.get("Cache-Control: no-cache"); s.result.Status != cache.Revalidated {
		t.Errorf("after a 304: %s", s.cacheStatus())
	}
	w.cache.Settle()
	if now := w.cache.Stats().Bytes; now < weight-100 {
		t.Errorf("it weighs %d before somebody asks for its gzip form again, was %d with it", now, weight)
	}
	if s := w.get("Accept-Encoding: gzip"); unzipped(t, s) != long {
		t.Errorf("then %s, %d bytes", s.cacheStatus(), s.Body.Len())
	}
}

func TestGzipFormIsMadeOnceForAll(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json")
	w.get()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if s := w.get("Accept-Encoding: gzip"); unzipped(t, s) != long {
				t.Error("somebody got another body")
			}
		})
	}
	group.Wait()
}
