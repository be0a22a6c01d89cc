package policy

import (
	"strconv"
	"sync"
)

// maxBooks bounds the books kept for sets of teams. A company has far fewer combinations of teams than people; beyond
// the bound each caller gets its own.
const maxBooks = 1024

// shelf keeps one book for each set of teams that callers have, so that a call by a member of many teams costs no more
// than one by a member of one.
type shelf struct {
	mu    sync.Mutex
	books map[string]*book // by the teams' indexes
}

// book returns the rules of the teams read as one, which are in the order of the file.
func (s *shelf) book(teams []*team) *book {
	switch len(teams) {
	case 0:
		return &book{}
	case 1:
		return &teams[0].book
	}
	var key []byte
	for _, t := range teams {
		key = strconv.AppendInt(append(key, ' '), int64(t.index), 10)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.books[string(key)]; known != nil {
		return known
	}
	merged := merge(teams)
	if s.books == nil {
		s.books = make(map[string]*book)
	}
	if len(s.books) < maxBooks {
		s.books[string(key)] = merged
	}
	return merged
}

func merge(teams []*team) *book {
	merged := &book{}
	for _, t := range teams {
		for i, list := range t.lists() {
			into := merged.lists()[i]
			for _, g := range list.all {
				into.add(g)
			}
		}
	}
	return merged
}
