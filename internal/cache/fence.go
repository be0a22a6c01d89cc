package cache

import (
	"hash/fnv"
	"io"
	"sync/atomic"
)

// generations is how many counters the scopes share. Two scopes on one counter cost an unneeded fetch, never a wrong
// answer; with 65,536 counters (512 KiB) ten thousand live scopes collide with a given write once in seven.
const generations = 1 << 16

// fenceSize is what they take of Config.Memory.
const fenceSize = 8 * generations

// everything is the counter that all entries have.
const everything uint32 = 0

// fence tells a read that began before a write from one that began after it. Each scope has a counter, found by hash: so
// there is nothing to evict and nothing a caller could grow. What is read notes the counters when its read begins; a
// write raises them; what holds an older count is dead.
type fence struct {
	raises atomic.Uint64 // how often any counter was raised; it goes up before the counter does
	counts [generations]atomic.Uint64
}

// mark is a counter and what it showed when the read began.
type mark struct {
	index uint32
	count uint64
}

// index is the counter of a scope, the same on all replicas.
func (f *fence) index(scope string) uint32 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, scope) // a hash takes everything
	return 1 + uint32(h.Sum64()%(generations-1))
}

func (f *fence) mark(index uint32) mark {
	return mark{index: index, count: f.counts[index].Load()}
}

// marks notes where the scopes stand now: those of the rule, and the three that every entry has.
func (f *fence) marks(key Key, scopes []string) []mark {
	marks := make([]mark, 0, 3+len(scopes))
	marks = append(marks, f.mark(everything), f.mark(f.index(OperationScope(key.Operation))), f.mark(f.index(PathScope(key.Path))))
	for _, scope := range scopes {
		marks = append(marks, f.mark(f.index(scope)))
	}
	return marks
}

// holds tells whether no write has touched the scopes since they were marked.
func (f *fence) holds(marks []mark) bool {
	for _, m := range marks {
		if f.counts[m.index].Load() != m.count {
			return false
		}
	}
	return true
}

func (f *fence) raise(indexes ...uint32) {
	f.raises.Add(1)
	for _, index := range indexes {
		f.counts[index].Add(1)
	}
}

// indexes are the counters of the scopes, or everything's where there are none.
func (f *fence) indexes(scopes []string) []uint32 {
	if len(scopes) == 0 {
		return []uint32{everything}
	}
	indexes := make([]uint32, len(scopes))
	for i, scope := range scopes {
		indexes[i] = f.index(scope)
	}
	return indexes
}
