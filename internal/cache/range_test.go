package cache_test

import (
	"net/http"
	"strconv"
	"testing"

	"corp.example/gateway/internal/cache"
)

// RFC 9110 section 14: a part of what is stored, for a client that asks for it.
func TestRFC9110Section14Ranges(t *testing.T) {
	for _, row := range []struct {
		name, asked string
		part, said  string // "": the whole
	}{
		{"from, to", "bytes=0-1", "01", "bytes 0-1/10"},
		{"from", "bytes=7-", "789", "bytes 7-9/10"},
		{"the last", "bytes=-3", "789", "bytes 7-9/10"},
		{"the last, more than there are", "bytes=-30", "0123456789", "bytes 0-9/10"},
		{"to behind the end", "bytes=8-99", "89", "bytes 8-9/10"},
		{"to a very large number", "bytes=8-9223372036854775807", "89", "bytes 8-9/10"},
		{"one byte", "bytes=4-4", "4", "bytes 4-4/10"},
		{"in another case", "Bytes=0-0", "0", "bytes 0-0/10"},
		{"behind the end", "bytes=10-", "", ""},
		{"the last none", "bytes=-0", "", ""},
		{"backwards", "bytes=2-1", "", ""},
		{"several", "bytes=0-0,2-2", "", ""},
		{"another unit", "items=0-1", "", ""},
		{"no unit", "0-1", "", ""},
		{"nothing", "bytes=-", "", ""},
		{"no stretch", "bytes=1", "", ""},
		{"negative", "bytes=-1-2", "", ""},
		{"too large", "bytes=99999999999999999999-", "", ""},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = always("0123456789", "Cache-Control: max-age=60", `Etag: "a"`, "X-A: 1")
			w.get()
			s := w.get("Range: " + row.asked)
			code, body := http.StatusPartialContent, row.part
			if row.said == "" {
				code, body = http.StatusOK, "0123456789"
			}
			h := s.Header()
			if s.Code != code || s.Body.String() != body || h.Get("Content-Range") != row.said || h.Get("X-A") != "1" || h.Get("Etag") != `"a"` {
				t.Errorf("%s: %d %q %v", row.asked, s.Code, s.Body, h)
			}
			if len(h["Content-Length"]) != 1 || h.Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Errorf("%s: Content-Length %q of %d bytes", row.asked, h["Content-Length"], len(body))
			}
		})
	}
}

// RFC 9110 section 13.1.5: a part is sent only where it surely fits what the client has.
func TestRFC9110Section1315IfRange(t *testing.T) {
	modified := "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"
	for _, row := range []struct {
		name, stored, condition string
		want                    int
	}{
		{"the tag", `Etag: "a"`, `If-Range: "a"`, 206},
		{"another tag", `Etag: "a"`, `If-Range: "b"`, 200},
		{"a weak tag", `Etag: W/"a"`, `If-Range: W/"a"`, 200},
		{"a date", modified, "If-Range: Wed, 01 Jan 2020 00:00:00 GMT", 200},
		{"the tag of the gzip form", `Etag: "a"`, `If-Range: "a+gzip"`, 200},
		{"a client that has it whole", `Etag: "a"`, `If-None-Match: "a"`, 304},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json", row.stored)
			w.get("Accept-Encoding: gzip")
			if s := w.get("Range: bytes=0-1", row.condition); s.Code != row.want {
				t.Errorf("stored %q, asked %q: %d, want %d", row.stored, row.condition, s.Code, row.want)
			}
		})
	}
}

// A part is of the form whose bytes do not depend on the compressor, though the client takes gzip.
func TestPartIsNotPacked(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = always(long, "Cache-Control: max-age=60", "Content-Type: application/json")
	w.get("Accept-Encoding: gzip")
	s := w.get("Accept-Encoding: gzip", "Range: bytes=0-9")
	if s.Code != 206 || s.Body.String() != long[:10] || s.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d %q %v", s.Code, s.Body, s.Header())
	}
}

func TestNoPartOfAHeadOrAnError(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = always("0123456789", "Cache-Control: max-age=60")
	if s := w.ask(t.Context(), http.MethodHead, "Range: bytes=0-1"); s.Code != 200 || s.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %v", s.Code, s.Header())
	}
	w.upstream = func(int, http.Header) (*cache.Answer, error) { return answer(404, "0123456789"), nil }
	if s := w.get("Cache-Control: no-cache", "Range: bytes=0-1"); s.Code != 404 || s.Body.Len() != 10 {
		t.Errorf("404: %d %q", s.Code, s.Body)
	}
}
