package cache

import (
	"net/http"
	"slices"
	"strings"
)

const (
	// maxSelectors bounds the fields of one Vary; real ones name two or three. An answer that names more is not stored.
	maxSelectors = 8
	// maxVariants bounds the answers kept under one key, so that a client cannot fill memory by sending a new value of a
	// selecting header each time: the oldest goes.
	maxVariants = 16
)

// selector is a header that selected a stored answer, with the value its request had (RFC 9111 section 4.1).
type selector struct {
	name    string // canonical
	present bool
	plain   string // as it came, where it was one line: the quick comparison
	normal  string // as it is compared
}

// selectors reads what selected an answer. It reports false where nothing can select it again: Vary: *, or too much.
func (c *Cache) selectors(answer, request http.Header) ([]selector, bool) {
	var list []selector
	for _, line := range answer["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			if name == "*" {
				return nil, false
			}
			// Accept-Encoding never reaches upstream: the gateway asks for one coding and negotiates with its clients itself.
			if name == "" || name == "Accept-Encoding" || !c.forwards(name) ||
				slices.ContainsFunc(list, func(s selector) bool { return s.name == name }) {
				continue
			}
			if len(list) == maxSelectors {
				return nil, false
			}
			list = append(list, newSelector(name, request[name]))
		}
	}
	return list, true
}

func newSelector(name string, values []string) selector {
	s := selector{name: strings.Clone(name), present: len(values) > 0}
	if len(values) == 1 {
		s.plain = strings.Clone(values[0])
	}
	s.normal = normalise(name, values)
	return s
}

func (s *selector) matches(values []string) bool {
	if len(values) == 0 || !s.present {
		return len(values) == 0 && !s.present
	}
	if len(values) == 1 && values[0] == s.plain {
		return true
	}
	return normalise(s.name, values) == s.normal
}

func selected(list []selector, request http.Header) bool {
	for i := range list {
		if !list[i].matches(request[list[i].name]) {
			return false
		}
	}
	return true
}

// choose finds the variant that the request selects. The latest comes first, as section 4.1 prefers.
func choose(variants []*Entry, request http.Header) *Entry {
	for _, e := range variants {
		if selected(e.selectors, request) {
			return e
		}
	}
	return nil
}

// normalise joins a header's lines and takes out the space around list elements, which means nothing (section 4.1). Within
// quotes it may mean something, so a value with quotes is left alone. Accept-Language is a set without case.
func normalise(name string, values []string) string {
	joined := strings.Join(values, ",")
	if strings.Contains(joined, `"`) {
		return joined
	}
	if name == "Accept-Language" {
		joined = strings.ToLower(joined)
	}
	elements := strings.Split(joined, ",")
	for i := range elements {
		elements[i] = strings.Trim(elements[i], " \t")
	}
	if name == "Accept-Language" {
		slices.Sort(elements)
	}
	return strings.Join(elements, ",")
}
