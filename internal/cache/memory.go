package cache

import (
	"fmt"
	"math"
	"strings"

	"github.com/maypok86/otter/v2"
)

// memory is the first level: entries of this process, bounded by their weight in bytes. Which go is W-TinyLFU's choice:
// a scan of a million keys does not drive out what is read all the time. It judges nothing: whether an entry may be used
// is decided by who gets it, and anything may vanish from it at any time.
type memory struct {
	level *otter.Cache[slot, []*Entry]
}

// slot is where entries are kept: a key, or a narrowed form of what is found under it.
type slot struct {
	Key
	narrowed string
}

func newMemory(bytes uint64) (*memory, error) {
	entries, err := otter.New(&otter.Options[slot, []*Entry]{
		MaximumWeight: bytes,
		Weigher: func(_ slot, variants []*Entry) uint32 {
			weight := 0
			for _, e := range variants {
				weight += e.weight()
			}
			return uint32(min(weight, math.MaxUint32))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("building the memory cache: %w", err)
	}
	return &memory{level: entries}, nil
}

// get is the variants kept under a slot, the latest first. The slice must not be changed.
func (m *memory) get(s slot) []*Entry {
	variants, _ := m.level.GetIfPresent(s)
	return variants
}

// put keeps an entry in its slot, in place of the one that the same requests select.
func (m *memory) put(e *Entry) {
	m.level.Compute(e.kept.slot, func(old []*Entry, _ bool) ([]*Entry, otter.ComputeOp) {
		variants := make([]*Entry, 1, 1+min(len(old), maxVariants-1))
		variants[0] = e
		for _, other := range old {
			if len(variants) < maxVariants && !sameSelection(other, e) {
				variants = append(variants, other)
			}
		}
		return variants, otter.WriteOp
	})
}

func sameSelection(a, b *Entry) bool {
	if len(a.selectors) != len(b.selectors) {
		return false
	}
	for i := range a.selectors {
		x, y := &a.selectors[i], &b.selectors[i]
		if x.name != y.name || x.present != y.present || x.normal != y.normal {
			return false
		}
	}
	return true
}

// drop takes an entry out, unless another has taken its place.
func (m *memory) drop(e *Entry) { m.dropFrom(e.kept.slot, func(one *Entry) bool { return one == e }) }

func (m *memory) dropFrom(s slot, dead func(*Entry) bool) (dropped int) {
	m.level.ComputeIfPresent(s, func(old []*Entry) ([]*Entry, otter.ComputeOp) {
		dropped = 0
		var left []*Entry
		for _, e := range old {
			if dead(e) {
				dropped++
			} else {
				left = append(left, e)
			}
		}
		switch {
		case dropped == 0:
			return old, otter.CancelOp
		case len(left) == 0:
			return nil, otter.InvalidateOp
		default:
			return left, otter.WriteOp
		}
	})
	return dropped
}

// dropIf takes out every dead entry and returns how many there were.
func (m *memory) dropIf(dead func(*Entry) bool) int {
	dropped := 0
	for s := range m.level.Keys() {
		dropped += m.dropFrom(s, dead)
	}
	m.level.CleanUp() // otter counts weights in the background
	return dropped
}

// weigh counts an entry's slot anew, after the entry has grown.
func (m *memory) weigh(s slot) {
	m.level.ComputeIfPresent(s, func(variants []*Entry) ([]*Entry, otter.ComputeOp) {
		return variants, otter.WriteOp
	})
}

func (m *memory) bytes() int64 { return int64(m.level.WeightedSize()) }

func (m *memory) entries() int { return m.level.EstimatedSize() }

// owned is the key with its own copies of what was cut from a request, whose whole text would be held otherwise.
func (k Key) owned() Key {
	k.Path, k.Query = strings.Clone(k.Path), strings.Clone(k.Query)
	return k
}
