package cache_test

import (
	"net/http"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

// RFC 9111 section 4.3.1: sending a validation request.
func TestSection431Conditions(t *testing.T) {
	for _, row := range []struct {
		name, validator, want string
	}{
		{"a strong tag", `Etag: "a"`, `If-None-Match: "a"`},
		{"a weak tag", `Etag: W/"a"`, `If-None-Match: W/"a"`},
		{"a date", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT"},
		{"none: the gateway's own tag says nothing to upstream", "X-None: 1", ""},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			var conditions http.Header
			w.upstream = func(_ int, sent http.Header) (*cache.Answer, error) {
				conditions = sent
				return ok("x", "Cache-Control: max-age=1", row.validator), nil
			}
			if w.get(); len(conditions) != 0 {
				t.Errorf("the first request has conditions: %v", conditions)
			}
			time.Sleep(time.Second)
			w.get(`If-None-Match: "the client's own"`)
			if want := header(row.want); row.want == "" && len(conditions) != 0 || row.want != "" && !equalHeaders(conditions, want) {
				t.Errorf("conditions are %v, want %q", conditions, row.want)
			}
		})
	}
}

func equalHeaders(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if a.Get(name) != b.Get(name) {
			return false
		}
	}
	return true
}

// RFC 9111 section 3.2 and 4.3.4: freshening stored responses upon validation.
func TestSection434Freshening(t *testing.T) {
	for _, row := range []struct {
		name            string
		first, then     []string // the stored header; the 304's
		want            []string // fields of the answer afterwards
		reusedAfterThat bool
	}{
		{"fields are kept", []string{"X-A: 1"}, nil, []string{"X-A: 1"}, true},
		{"fields are updated", []string{"X-A: 1", "Content-Type: text/a"}, []string{"X-A: 2", "Content-Type: text/b"}, []string{"X-A: 2", "Content-Type: text/b"}, true},
		{"fields about the body stay", []string{"Content-Encoding: a", "Content-Range: a"}, []string{"Content-Encoding: b", "Content-Range: b", "Content-Length: 99"},
			[]string{"Content-Encoding: a", "Content-Range: a", "Content-Length: 6"}, true},
		{"the tag stays", nil, []string{`Etag: "b"`}, []string{`Etag: "a"`}, true},
		{"what belongs to the connection is not stored", nil, []string{"Connection: X-B", "X-B: 1", "Keep-Alive: 5"}, []string{"X-B: ", "Keep-Alive: ", "Connection: "}, true},
		{"a new lifetime", nil, []string{"Cache-Control: max-age=0"}, nil, false},
		{"a new prohibition", nil, []string{"Cache-Control: no-store"}, nil, false},
		{"a cookie", nil, []string{"Set-Cookie: a=b"}, nil, false},
		{"an age", nil, []string{"Age: 99"}, nil, false},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = func(n int, sent http.Header) (*cache.Answer, error) {
				if n == 1 {
					return ok("body 1", append(row.first, "Cache-Control: max-age=2", `Etag: "a"`)...), nil
				}
				return answer(304, "", row.then...), nil
			}
			w.get()
			time.Sleep(2 * time.Second)
			s := w.get()
			if s.Code != 200 || s.Body.String() != "body 1" || s.result.Status != cache.Revalidated {
				t.Errorf("after a 304: %d %q %s", s.Code, s.Body, s.result.Status)
			}
			for name, want := range header(row.want...) {
				if got := s.Header().Get(name); got != want[0] {
					t.Errorf("%s = %q, want %q", name, got, want[0])
				}
			}
			time.Sleep(time.Second)
			if w.get(); (w.calls.Load() == 2) != row.reusedAfterThat {
				t.Errorf("the freshened answer is reused = %t, want %t", w.calls.Load() == 2, row.reusedAfterThat)
			}
		})
	}
}

// RFC 9111 section 4.3.2: handling a received validation request.
func TestSection432ClientConditions(t *testing.T) {
	lm := "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"
	for _, row := range []struct {
		name           string
		stored, client []string
		want           int
	}{
		{"the tag", []string{`Etag: "a"`}, []string{`If-None-Match: "a"`}, 304},
		{"another tag", []string{`Etag: "a"`}, []string{`If-None-Match: "b"`}, 200},
		{"a prefix of the tag", []string{`Etag: "ab"`}, []string{`If-None-Match: "a"`}, 200},
		{"the last of several", []string{`Etag: "a"`}, []string{`If-None-Match: "c", W/"b" , "a"`}, 304},
		{"on a second line", []string{`Etag: "a"`}, []string{`If-None-Match: "c"`, `If-None-Match: "a"`}, 304},
		{"a tag with a comma", []string{`Etag: "a,b"`}, []string{`If-None-Match: "x", "a,b"`}, 304},
		{"part of a tag with a comma", []string{`Etag: "b"`}, []string{`If-None-Match: "a,b"`}, 200},
		{"a tag without quotes", []string{`Etag: a`}, []string{`If-None-Match: b, a`}, 304},
		{"weak comparison", []string{`Etag: W/"a"`}, []string{`If-None-Match: "a"`}, 304},
		{"anything", []string{`Etag: "a"`}, []string{`If-None-Match: *`}, 304},
		{"no tag at all", []string{`Etag: "a"`}, []string{`If-None-Match: `}, 200},
		{"the date", []string{lm}, []string{"If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT"}, 304},
		{"the date in another form", []string{lm}, []string{"If-Modified-Since: Wednesday, 01-Jan-20 00:00:00 GMT"}, 304},
		{"a later date", []string{lm}, []string{"If-Modified-Since: Wed, 01 Jan 2020 00:00:01 GMT"}, 304},
		{"an earlier date", []string{lm}, []string{"If-Modified-Since: Tue, 31 Dec 2019 23:59:59 GMT"}, 200},
		{"not a date", []string{lm}, []string{"If-Modified-Since: then"}, 200},
		{"without Last-Modified the answer's date counts", []string{"Date: now-5s"}, []string{"If-Modified-Since: now"}, 304},
		{"without Last-Modified, an earlier date", []string{"Date: now"}, []string{"If-Modified-Since: now-1s"}, 200},
		{"the tag goes before the date", []string{`Etag: "a"`, lm}, []string{`If-None-Match: "b"`, "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT"}, 200},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = answers(append(row.stored, "Cache-Control: max-age=10", "Vary: Foo", "X-A: 1")...)
			w.get()
			s := w.get(row.client...)
			if s.Code != row.want || s.result.Status != cache.Hit {
				t.Fatalf("stored %q, asked %q: %d %s, want %d", row.stored, row.client, s.Code, s.result.Status, row.want)
			}
			if s.Code != 304 {
				return
			}
			if s.Body.Len() > 0 || s.Header().Get("X-A") != "" || s.Header().Get("Content-Length") != "" {
				t.Errorf("the 304 carries too much: %v %q", s.Header(), s.Body)
			}
			for _, name := range []string{"Cache-Control", "Date", "Vary", "Age", "Etag", "Cache-Status"} {
				if s.Header().Get(name) == "" {
					t.Errorf("the 304 lacks %s (RFC 9110 section 15.4.5)", name)
				}
			}
		})
	}
	bubble(t, "after validation upstream", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
			if n == 1 {
				return ok("x", "Cache-Control: max-age=1", `Etag: "a"`), nil
			}
			return answer(304, ""), nil
		}
		w.get()
		time.Sleep(time.Second)
		if s := w.get(`If-None-Match: "a"`); s.Code != 304 || s.result.Status != cache.Revalidated {
			t.Errorf("got %d %s", s.Code, s.cacheStatus())
		}
	})
	bubble(t, "an answer without a tag gets one", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=10")
		tag := w.get().Header().Get("Etag")
		if s := w.get("If-None-Match: " + tag); tag == "" || s.Code != 304 {
			t.Errorf("with its tag %q: %d", tag, s.Code)
		}
	})
	bubble(t, "an error is not a 304", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = func(int, http.Header) (*cache.Answer, error) { return answer(404, "x", `Etag: "a"`), nil }
		if s := w.get(`If-None-Match: "a"`); s.Code != 404 {
			t.Errorf("got %d", s.Code)
		}
	})
}

// RFC 9111 section 4 and RFC 9110 section 9.3.2: what is sent from memory.
func TestSection4Answers(t *testing.T) {
	bubble(t, "header, age and status", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60", "Date: now", "X-A: 1", "X-A: 2", "Age: 7", "Connection: X-B", "X-B: 1",
			"Keep-Alive: 5", "Te: x", "Transfer-Encoding: chunked", "Proxy-Authenticate: x", "Upgrade: x", "Proxy-Connection: x")
		date := w.get().Header().Get("Date")
		time.Sleep(3 * time.Second)
		h := w.get().Header()
		for name, want := range map[string]string{
			"Age": "10", "Date": date, "Content-Length": "6", "Cache-Status": "gateway; hit; ttl=50", "X-B": "",
			"Keep-Alive": "", "Te": "", "Transfer-Encoding": "", "Proxy-Authenticate": "", "Upgrade": "", "Proxy-Connection": "", "Connection": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if got := h["X-A"]; len(got) != 2 {
			t.Errorf("X-A = %q, want both lines", got)
		}
		time.Sleep(time.Second)
		if got := w.get().Header().Get("Age"); got != "11" {
			t.Errorf("a second later Age = %q", got)
		}
	})
	bubble(t, "HEAD from a stored GET", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60")
		w.get()
		s := w.ask(t.Context(), "HEAD")
		if s.Body.Len() != 0 || s.Header().Get("Content-Length") != "6" || s.result.Status != cache.Hit {
			t.Errorf("HEAD: %v, %d bytes", s.Header(), s.Body.Len())
		}
	})
	bubble(t, "empty bodies", func(t *testing.T) {
		for status, want := range map[int]string{200: "0", 201: "0", 204: ""} {
			w := newWorld(t, cache.Config{})
			w.upstream = func(int, http.Header) (*cache.Answer, error) { return answer(status, ""), nil }
			h := w.get().Header()
			if got := h.Get("Content-Length"); got != want {
				t.Errorf("%d: Content-Length = %q, want %q", status, got, want)
			}
			if values, there := h["Content-Type"]; !there || values != nil {
				t.Errorf("%d: net/http may add a Content-Type", status)
			}
		}
	})
	bubble(t, "what one handler adds does not reach the next", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=60", "X-A: 1")
		w.get()
		w.get().Header().Add("X-A", "2")
		if got := w.get().Header()["X-A"]; len(got) != 1 {
			t.Errorf("X-A = %q", got)
		}
	})
}
