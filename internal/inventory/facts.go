package inventory

import (
	"iter"
	"time"
)

// facts is a bounded map whose entries end. The caller locks.
type facts[K comparable, V any] struct {
	entries map[K]entry[V]
	most    int
}

type entry[V any] struct {
	value V
	ends  time.Time
}

func newFacts[K comparable, V any](most int) facts[K, V] {
	return facts[K, V]{entries: map[K]entry[V]{}, most: most}
}

func (f facts[K, V]) get(key K, now time.Time) (V, bool) {
	e, ok := f.entries[key]
	if !ok || !now.Before(e.ends) {
		var none V
		return none, false
	}
	return e.value, true
}

func (f facts[K, V]) put(key K, value V, lasts time.Duration, now time.Time) {
	if _, replaces := f.entries[key]; !replaces && len(f.entries) >= f.most {
		f.makeRoom(now)
	}
	f.entries[key] = entry[V]{value, now.Add(lasts)}
}

// makeRoom drops what has ended, and then any until an eighth is free: a fact that is missed is asked for again, and one
// pass serves many puts.
func (f facts[K, V]) makeRoom(now time.Time) {
	for key, e := range f.entries {
		if !now.Before(e.ends) {
			delete(f.entries, key)
		}
	}
	for key := range f.entries {
		if len(f.entries) <= f.most-max(1, f.most/8) {
			return
		}
		delete(f.entries, key)
	}
}

func (f facts[K, V]) drop(key K) { delete(f.entries, key) }

func (f facts[K, V]) dropIf(match func(K, V) bool) {
	for key, e := range f.entries {
		if match(key, e.value) {
			delete(f.entries, key)
		}
	}
}

func (f facts[K, V]) all(now time.Time) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for key, e := range f.entries {
			if now.Before(e.ends) && !yield(key, e.value) {
				return
			}
		}
	}
}
