package cache

import (
	"slices"
	"strconv"
)

// Narrow is the entry as one view of it may be seen: cut removes from the body what is not for it. The form is kept with
// the entry, so that cut runs once for each view and stored answer; view must therefore name everything that cut
// decides by. An empty view, or an entry that is not stored, is narrowed for this request alone.
//
// A narrowed form has validators of its own: two callers who see different parts of a list never share one.
func (c *Cache) Narrow(e *Entry, view string, cut func(body []byte) ([]byte, error)) (*Entry, error) {
	keep := e.kept.in != nil && view != ""
	where := slot{Key: e.kept.slot.Key, narrowed: view}
	if keep {
		for _, known := range c.memory.get(where) {
			if known.kept.base == e.kept.id {
				return known, nil
			}
		}
	}
	body, err := cut(e.plain.body)
	if err != nil {
		return nil, err
	}
	narrowed := e.narrowed(body)
	if keep {
		narrowed.kept = kept{in: c, slot: where, marks: e.kept.marks, base: e.kept.id, packable: narrowed.packs(e)}
		c.memory.put(narrowed)
	}
	return narrowed, nil
}

// narrowed is a copy with another body. Fields about the whole body do not hold for it.
func (e *Entry) narrowed(body []byte) *Entry {
	n := &Entry{status: e.status, selectors: e.selectors, fresh: e.fresh}
	n.kept.base = unstoredBase
	n.fields = slices.DeleteFunc(slices.Clone(e.fields), func(f field) bool {
		switch f.name {
		case "Last-Modified", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest":
			return true
		}
		return false
	})
	body = fitted(body)
	n.plain = form{body: body, etag: []string{ETag(body)}, length: []string{strconv.Itoa(len(body))}}
	return n
}

// unstoredBase marks a narrowed form whose origin is not stored. No stored entry has this id.
const unstoredBase = ^uint64(0)

// packs tells whether the narrowed form may be sent in gzip form: where the whole may, and it is still long enough.
func (e *Entry) packs(whole *Entry) bool {
	return whole.kept.packable && len(e.plain.body) >= minPacked
}
