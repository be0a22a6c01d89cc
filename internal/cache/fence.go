package cache

import (
	"hash/maphash"
	"sync/atomic"
)

// generations is how many counters the scopes share. Two scopes on one counter cost an unneeded fetch, never a wrong
// answer; with 65,536 counters (512 KiB) ten thousand live scopes collide with a given write once in seven.
const generations = 1 << 16

// fence tells a read that began before a write from one that began after it. Each scope has a counter, found by hash: so
// there is nothing to evict and nothing a caller could grow. What is read notes the counters when its read begins; a
// write raises them; what holds an older count is dead.
type fence struct {
	seed   maphash.Seed
	counts [generations]atomic.Uint64 // counts[0] is everything's
}

// mark is a counter and what it showed when the read began.
type mark struct {
	index uint32
	count uint64
}

func newFence() *fence { return &fence{seed: maphash.MakeSeed()} }

func (f *fence) index(scope string) uint32 {
	return 1 + uint32(maphash.String(f.seed, scope)%(generations-1))
}

func (f *fence) mark(index uint32) mark {
	return mark{index: index, count: f.counts[index].Load()}
}

// marks notes where the scopes stand now: those of the rule, and the three that every entry has.
func (f *fence) marks(key Key, scopes []string) []mark {
	marks := make([]mark, 0, 3+len(scopes))
	marks = append(marks, f.mark(0), f.mark(f.index(OperationScope(key.Operation))), f.mark(f.index(PathScope(key.Path))))
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

func (f *fence) raise(scope string) { f.counts[f.index(scope)].Add(1) }

func (f *fence) raiseAll() { f.counts[0].Add(1) }
