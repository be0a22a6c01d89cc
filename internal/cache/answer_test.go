package cache_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"corp.example/gateway/internal/cache"
)

func TestRead(t *testing.T) {
	broken := errors.New("connection reset")
	for _, row := range []struct {
		name   string
		length int64
		body   io.Reader
		whole  string // Body
		rest   string // Rest; "" where the body is whole
		err    error
	}{
		{"whole, length said", 5, strings.NewReader("01234"), "01234", "", nil},
		{"whole, length unknown", -1, strings.NewReader("01234"), "01234", "", nil},
		{"exactly at the bound", -1, strings.NewReader("01234567"), "01234567", "", nil},
		{"empty", 0, strings.NewReader(""), "", "", nil},
		{"too large, length said", 9, strings.NewReader("012345678"), "", "012345678", nil},
		{"too large, length unknown", -1, strings.NewReader("0123456789"), "012345678", "9", nil},
		{"shorter than said", 5, strings.NewReader("012"), "", "", io.ErrUnexpectedEOF},
		{"nothing of what was said", 5, strings.NewReader(""), "", "", io.ErrUnexpectedEOF},
		{"breaks off", -1, io.MultiReader(strings.NewReader("012"), iotest.ErrReader(broken)), "", "", broken},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := cache.New(cache.Config{MaxBody: 8})
			if err != nil {
				t.Fatal(err)
			}
			body := &closer{Reader: row.body}
			a, err := c.Read(&http.Response{StatusCode: 200, ContentLength: row.length, Body: body})
			if !errors.Is(err, row.err) {
				t.Fatalf("err = %v, want %v", err, row.err)
			}
			if err != nil {
				if !body.closed.Load() {
					t.Error("the body is not closed")
				}
				return
			}
			rest := ""
			if a.Rest != nil {
				b, _ := io.ReadAll(a.Rest)
				rest = string(b)
			}
			if string(a.Body) != row.whole || rest != row.rest || body.closed.Load() != (a.Rest == nil) {
				t.Errorf("body %q, rest %q, closed %t", a.Body, rest, body.closed.Load())
			}
		})
	}
}

// Incomplete bodies are never stored: the read fails, so nothing is there to store.
func TestBodyThatBreaksOffIsNotStored(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
		body := io.NopCloser(strings.NewReader("01234"[:min(n*2, 5)]))
		return w.cache.Read(&http.Response{StatusCode: 200, Header: header("Cache-Control: max-age=60"), ContentLength: 5, Body: body})
	}
	w.get()
	w.get()
	if s := w.get(); s.Body.String() != "01234" || w.calls.Load() != 3 {
		t.Errorf("%q after %d calls", s.Body, w.calls.Load())
	}
}
