package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"corp.example/gateway/internal/cache"
)

// sees makes what one team may see of "a b c ...": the letters it names.
func sees(letters string, made *int) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) {
		*made++
		return bytes.Map(func(r rune) rune {
			if bytes.ContainsRune([]byte(letters), r) {
				return r
			}
			return -1
		}, body), nil
	}
}

func respond(result cache.Result, lines ...string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header = header(lines...)
	result.Respond(w, r, time.Now())
	return w
}

// Threat 6: another team in a list. One stored answer serves all, each sees its own, and no validator of one is good for
// another.
func TestNarrowedFormsAreKeptApart(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.rule.TTL = time.Minute
	w.upstream = always("abc", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", `Etag: "whole"`, "Content-Md5: x", "X-A: 1")
	whole := w.get().result
	made := 0
	as := func(view, letters string, lines ...string) *httptest.ResponseRecorder {
		t.Helper()
		narrowed, err := w.cache.Narrow(whole.Entry, view, sees(letters, &made))
		if err != nil {
			t.Fatal(err)
		}
		result := whole
		result.Entry = narrowed
		return respond(result, lines...)
	}
	ab, bc := as("team ab", "ab"), as("team bc", "bc")
	if ab.Body.String() != "ab" || bc.Body.String() != "bc" || ab.Header().Get("Content-Length") != "2" {
		t.Errorf("they see %q and %q", ab.Body, bc.Body)
	}
	if again := as("team ab", "must not be asked"); again.Body.String() != "ab" || made != 2 {
		t.Errorf("again: %q, made %d times, want 2", again.Body, made)
	}
	tagAB, tagBC := ab.Header().Get("Etag"), bc.Header().Get("Etag")
	if tagAB == tagBC || tagAB == `"whole"` || tagAB == "" {
		t.Errorf("validators %s and %s", tagAB, tagBC)
	}
	for name, lines := range map[string][]string{
		"the other team's tag": {"If-None-Match: " + tagBC},
		"the whole's tag":      {`If-None-Match: "whole"`},
		"a date":               {"If-Modified-Since: now+1h"},
	} {
		if got := as("team ab", "ab", lines...); got.Code != 200 {
			t.Errorf("%s was answered with %d", name, got.Code)
		}
	}
	if got := as("team ab", "ab", "If-None-Match: "+tagAB); got.Code != 304 {
		t.Errorf("its own tag was answered with %d", got.Code)
	}
	if ab.Header().Get("Last-Modified") != "" || ab.Header().Get("Content-Md5") != "" || ab.Header().Get("X-A") != "1" {
		t.Errorf("header: %v", ab.Header())
	}
	if got := respond(whole).Body.String(); got != "abc" {
		t.Errorf("the whole became %q", got)
	}
}

func TestNarrowedFormEndsWithItsAnswer(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.rule = cache.Rule{TTL: time.Minute, Scopes: []string{"account"}}
	w.upstream = func(n int, _ http.Header) (*cache.Answer, error) { return ok("abc"[:n]), nil }
	made := 0
	narrow := func() string {
		e, err := w.cache.Narrow(w.get().result.Entry, "all", sees("abc", &made))
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Body())
	}
	first := narrow()
	w.cache.Invalidate("account")
	if second := narrow(); first != "a" || second != "ab" || made != 2 {
		t.Errorf("narrowed %q, then %q, made %d times", first, second, made)
	}
	if n := w.cache.Stats().Entries; n != 2 {
		t.Errorf("%d entries, want the answer and its form", n)
	}
	if n := w.cache.Purge("account"); n != 2 {
		t.Errorf("Purge dropped %d", n)
	}
}

func TestNarrowWithoutKeeping(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = always("abc")
	made := 0
	for range 2 {
		unstored := w.get().result
		e, err := w.cache.Narrow(unstored.Entry, "team", sees("a", &made))
		if err != nil || string(e.Body()) != "a" {
			t.Errorf("%q, %v", e.Body(), err)
		}
		unstored.Entry = e
		if s := respond(unstored, "If-Modified-Since: now+1h"); s.Code != 200 {
			t.Errorf("a date was answered with %d", s.Code)
		}
	}
	w.rule.TTL = time.Minute
	stored := w.get().result.Entry
	for range 2 {
		if _, err := w.cache.Narrow(stored, "", sees("a", &made)); err != nil {
			t.Error(err)
		}
	}
	if made != 4 {
		t.Errorf("made %d times, want each time", made)
	}
	if _, err := w.cache.Narrow(stored, "team", func([]byte) ([]byte, error) { return nil, errDown }); !errors.Is(err, errDown) {
		t.Errorf("err = %v", err)
	}
}

func TestNarrowedFormIsPackedWhereItIsLong(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.rule.TTL = time.Minute
	w.upstream = always(long, "Content-Type: application/json")
	whole := w.get().result
	for size, want := range map[int]string{2000: "gzip", 100: ""} {
		e, err := w.cache.Narrow(whole.Entry, fmt.Sprint(size), func(body []byte) ([]byte, error) { return body[:size], nil })
		if err != nil {
			t.Fatal(err)
		}
		result := whole
		result.Entry = e
		if got := respond(result, "Accept-Encoding: gzip").Header().Get("Content-Encoding"); got != want {
			t.Errorf("%d bytes: coding %q, want %q", size, got, want)
		}
	}
}
