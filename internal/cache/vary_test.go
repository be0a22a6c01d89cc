package cache_test

import (
	"fmt"
	"testing"

	"corp.example/gateway/internal/cache"
)

// RFC 9111 section 4.1: calculating cache keys with Vary.
func TestSection41Vary(t *testing.T) {
	for _, row := range []struct {
		name, vary    string
		first, second []string
		reused        bool
	}{
		{"the same value", "Foo", []string{"Foo: 1"}, []string{"Foo: 1"}, true},
		{"another value", "Foo", []string{"Foo: 1"}, []string{"Foo: 2"}, false},
		{"absent at first", "Foo", nil, []string{"Foo: 1"}, false},
		{"absent then", "Foo", []string{"Foo: 1"}, nil, false},
		{"absent both times", "Foo", nil, nil, true},
		{"empty is not absent", "Foo", []string{"Foo: "}, nil, false},
		{"a field that does not select", "Foo", []string{"Foo: 1", "Other: 2"}, []string{"Foo: 1", "Other: 3"}, true},
		{"two fields", "Foo, Bar", []string{"Foo: 1", "Bar: a"}, []string{"Foo: 1", "Bar: a"}, true},
		{"the second of two differs", "foo,BAR", []string{"Foo: 1", "Bar: a"}, []string{"Foo: 1", "Bar: b"}, false},
		{"lines are combined", "Foo", []string{"Foo: 1, 2"}, []string{"Foo: 1", "Foo: 2"}, true},
		{"space around elements", "Foo", []string{"Foo: 1,2"}, []string{"Foo:  1 ,\t2 "}, true},
		{"order counts", "Foo", []string{"Foo: 1, 2"}, []string{"Foo: 2, 1"}, false},
		{"case counts", "Foo", []string{"Foo: a"}, []string{"Foo: A"}, false},
		{"space within quotes counts", "Foo", []string{`Foo: "1, 2"`}, []string{`Foo: "1,2"`}, false},
		{"language order", "Accept-Language", []string{"Accept-Language: en, de"}, []string{"Accept-Language: de,EN"}, true},
		{"language weights", "Accept-Language", []string{"Accept-Language: en;q=0.5, de"}, []string{"Accept-Language: en, de"}, false},
		{"the gateway negotiates codings itself", "Accept-Encoding", []string{"Accept-Encoding: br"}, nil, true},
		{"a field that is not forwarded", "Secret", []string{"Secret: 1"}, []string{"Secret: 2"}, true},
		{"too many fields to keep", "A,B,C,D,E,F,G,H,I", nil, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{Forwards: func(name string) bool { return name != "Secret" }})
			w.upstream = answers("Cache-Control: max-age=10", "Vary: "+row.vary)
			w.get(row.first...)
			w.get(row.second...)
			if got := w.calls.Load() == 1; got != row.reused {
				t.Errorf("Vary: %s, first %q, then %q: reused = %t, want %t", row.vary, row.first, row.second, got, row.reused)
			}
		})
	}
}

func TestVariantsAreKeptSideBySide(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = answers("Cache-Control: max-age=10", "Vary: Foo")
	for i := range 3 {
		w.get(fmt.Sprintf("Foo: %d", i))
	}
	for i := range 3 {
		if got, want := w.get(fmt.Sprintf("Foo: %d", i)).Body.String(), fmt.Sprintf("body %d", i+1); got != want {
			t.Errorf("variant %d is %q, want %q", i, got, want)
		}
	}
	w.get("Foo: 0", "Cache-Control: no-cache")
	if got := w.get("Foo: 0").Body.String(); got != "body 4" {
		t.Errorf("the newer answer did not take the older one's place: %q", got)
	}
}

// A client that sends a new value of a selecting header each time must not fill memory under one key.
func TestVariantFloodIsBounded(t *testing.T) {
	w := newWorld(t, cache.Config{})
	w.upstream = answers("Cache-Control: max-age=10", "Vary: Foo")
	for i := range 100 {
		w.get(fmt.Sprintf("Foo: %d", i))
	}
	before := w.calls.Load()
	kept := 0
	for i := range 100 {
		if w.get("Cache-Control: only-if-cached", fmt.Sprintf("Foo: %d", i)).result.Status == cache.Hit {
			kept++
		}
	}
	if kept != 16 || w.calls.Load() != before {
		t.Errorf("%d variants are kept, want 16", kept)
	}
}
