package state_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/state"
)

// Every kind of store passes the same suite.

func TestEmbedded(t *testing.T) {
	testStore(t, func(t *testing.T) state.Store { return open(t, t.TempDir()) })
}

func TestRemote(t *testing.T) {
	testStore(t, func(t *testing.T) state.Store {
		dir := t.TempDir()
		open(t, dir)
		return connect(t, dir)
	})
}

func open(t *testing.T, dir string) *state.Embedded {
	t.Helper()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func connect(t *testing.T, dir string) state.Connection {
	t.Helper()
	c, err := state.Connect(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// testStore is the contract of state.Store.
func testStore(t *testing.T, open func(t *testing.T) state.Store) {
	never := time.Time{}
	past := func() time.Time { return time.Now().Add(-time.Millisecond) }
	soon := func() time.Time { return time.Now().Add(time.Hour) }

	// check compares what Get gives with want; nil means that there is nothing.
	check := func(t *testing.T, s state.Store, table, key string, want []byte) {
		t.Helper()
		got, err := s.Get(t.Context(), table, key)
		switch {
		case want == nil && !errors.Is(err, state.ErrNotFound):
			t.Errorf("Get(%s, %s) = %q, %v, want ErrNotFound", table, key, got, err)
		case want != nil && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("Get(%s, %s) = %q, %v, want %q", table, key, got, err, want)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("what was put is there until it is deleted", func(t *testing.T) {
		s := open(t)
		check(t, s, "t", "k", nil)
		must(t, s.Put(t.Context(), "t", "k", []byte("one"), never))
		check(t, s, "t", "k", []byte("one"))
		check(t, s, "other", "k", nil)
		must(t, s.Put(t.Context(), "t", "k", []byte("two"), soon()))
		check(t, s, "t", "k", []byte("two"))
		must(t, s.Delete(t.Context(), "t", "k"))
		check(t, s, "t", "k", nil)
		must(t, s.Delete(t.Context(), "t", "k"))
	})
	t.Run("any bytes are a value", func(t *testing.T) {
		s := open(t)
		for _, value := range [][]byte{{}, {0, 255, 10}, bytes.Repeat([]byte{1}, state.MaxValueBytes)} {
			must(t, s.Put(t.Context(), "t", "k", value, soon()))
			check(t, s, "t", "k", value)
		}
		must(t, s.Put(t.Context(), "t/ä", "a key\n%", nil, soon()))
		check(t, s, "t/ä", "a key\n%", []byte{})
	})
	t.Run("an expired value is not there", func(t *testing.T) {
		s := open(t)
		must(t, s.Put(t.Context(), "t", "k", []byte("v"), past()))
		check(t, s, "t", "k", nil)
		if v, err := s.Take(t.Context(), "t", "k"); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("Take of an expired value = %q, %v, want ErrNotFound", v, err)
		}
		must(t, s.Scan(t.Context(), "t", func(key string, _ []byte) error {
			t.Errorf("Scan shows the expired %q", key)
			return nil
		}))
		must(t, s.Create(t.Context(), "t", "k", []byte("w"), soon()))
		check(t, s, "t", "k", []byte("w"))
	})
	t.Run("one of many creates", func(t *testing.T) {
		s := open(t)
		created := together(16, func() error { return s.Create(context.Background(), "t", "k", []byte("v"), soon()) }, state.ErrExists, t)
		if created != 1 {
			t.Errorf("%d of 16 created, want 1", created)
		}
	})
	t.Run("one of many takes", func(t *testing.T) {
		s := open(t)
		must(t, s.Put(t.Context(), "t", "k", []byte("v"), soon()))
		taken := together(16, func() error {
			_, err := s.Take(context.Background(), "t", "k")
			return err
		}, state.ErrNotFound, t)
		if taken != 1 {
			t.Errorf("%d of 16 took, want 1", taken)
		}
		check(t, s, "t", "k", nil)
	})
	t.Run("a scan sees the live values of one table", func(t *testing.T) {
		s := open(t)
		want := map[string]string{"a": "1", "b": "2", "c": ""}
		for k, v := range want {
			must(t, s.Put(t.Context(), "t", k, []byte(v), soon()))
		}
		must(t, s.Put(t.Context(), "t", "gone", []byte("x"), past()))
		must(t, s.Put(t.Context(), "u", "elsewhere", []byte("x"), soon()))
		got := map[string]string{}
		must(t, s.Scan(t.Context(), "t", func(k string, v []byte) error { got[k] = string(v); return nil }))
		if !maps.Equal(got, want) {
			t.Errorf("Scan gave %v, want %v", got, want)
		}
		must(t, s.Scan(t.Context(), "no such table", func(k string, _ []byte) error { return errors.New(k) }))
		stop := errors.New("enough")
		if err := s.Scan(t.Context(), "t", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Scan = %v, want the error of its function", err)
		}
	})
	t.Run("a watcher hears of every write to its table", func(t *testing.T) {
		s := open(t)
		var mu sync.Mutex
		var heard []string
		s.Watch("t", func(key string) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, key)
		})
		must(t, s.Put(t.Context(), "t", "put", nil, soon()))
		must(t, s.Create(t.Context(), "t", "created", nil, soon()))
		must(t, s.Delete(t.Context(), "t", "deleted"))
		_, err := s.Take(t.Context(), "t", "put")
		must(t, err)
		must(t, s.Put(t.Context(), "u", "elsewhere", nil, soon()))
		_ = s.Create(t.Context(), "t", "created", nil, soon()) // refused: nothing was written
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"put", "created", "deleted", "put"}; !slices.Equal(heard, want) {
			t.Errorf("heard of %q, want %q", heard, want)
		}
	})
	t.Run("values are copied", func(t *testing.T) {
		s := open(t)
		value := []byte("abc")
		must(t, s.Put(t.Context(), "t", "k", value, soon()))
		value[0] = 'x'
		got, err := s.Get(t.Context(), "t", "k")
		must(t, err)
		got[1] = 'x'
		check(t, s, "t", "k", []byte("abc"))
	})
	t.Run("what is too large or has no name is refused", func(t *testing.T) {
		s := open(t)
		long := strings.Repeat("k", state.MaxKeyBytes+1)
		for name, err := range map[string]error{
			"value too large":   s.Put(t.Context(), "t", "k", make([]byte, state.MaxValueBytes+1), soon()),
			"create, too large": s.Create(t.Context(), "t", "k", make([]byte, state.MaxValueBytes+1), soon()),
			"key too long":      s.Put(t.Context(), "t", long, nil, soon()),
			"no key":            s.Put(t.Context(), "t", "", nil, soon()),
			"no table":          s.Put(t.Context(), "", "k", nil, soon()),
			"delete, no key":    s.Delete(t.Context(), "t", ""),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, err := s.Get(t.Context(), "t", long); err == nil || errors.Is(err, state.ErrNotFound) {
			t.Errorf("Get of a key too long = %v, want an error that is not ErrNotFound", err)
		}
	})
	t.Run("a caller who has left gets nothing done", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Put(ctx, "t", "k", nil, soon()); !errors.Is(err, context.Canceled) {
			t.Errorf("Put = %v, want context.Canceled", err)
		}
		check(t, s, "t", "k", nil)
	})
}

// together runs do n times at once and counts how often it succeeded; every other time it must return refused.
func together(n int, do func() error, refused error, t *testing.T) int {
	t.Helper()
	results := make(chan error, n)
	for range n {
		go func() { results <- do() }()
	}
	succeeded := 0
	for range n {
		switch err := <-results; {
		case err == nil:
			succeeded++
		case !errors.Is(err, refused):
			t.Errorf("error %v, want %v", err, refused)
		}
	}
	return succeeded
}
