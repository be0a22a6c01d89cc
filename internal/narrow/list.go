package narrow

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"corp.example/gateway/internal/catalog"
)

// list is an answer that was read, with the edits that narrow it.
type list struct {
	shape
	text      string
	container string // name of the array where the answer is an object
	items     int    // in the answer
	removed   int    // of them
	edits     []edit
	kept      []string // the raw kept items, where they are collected
	collect   bool
	page      page
	item      Item  // the one being read
	seen      uint8 // which of its identifying fields were, by index; no shape has more than 8
}

// page is what an answer says of its place in a longer list.
type page struct {
	found              bool
	count, offset      int
	countFrom, countTo int // where the count stands
}

// read reads an answer and judges its items.
func read(body []byte, kind catalog.List, keep func(Item) bool) (*list, error) {
	l := &list{}
	if err := l.read(body, kind, keep); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *list) read(body []byte, kind catalog.List, keep func(Item) bool) error {
	known, ok := shapeOf(kind)
	if !ok {
		return fmt.Errorf("narrowing an answer: %v is no list", kind)
	}
	l.shape, l.text = known, string(body)
	s := scanner{text: l.text}
	err := s.whole(func() error {
		if s.peek() == '[' {
			return l.array(&s, keep)
		}
		return l.object(&s, keep)
	})
	if err != nil {
		return fmt.Errorf("narrowing a list of %v: %w", kind, err)
	}
	return nil
}

// object reads an answer whose items are in one of its members.
func (l *list) object(s *scanner, keep func(Item) bool) error {
	paged := false
	err := s.object(func(m member) error {
		switch {
		case slices.Contains(l.containers, m.name):
			if l.container != "" {
				return s.wrong("the list stands twice")
			}
			l.container = m.name
			return l.array(s, keep)
		case m.name == "pagination" && l.paged:
			if paged {
				return s.wrong("the pagination stands twice")
			}
			paged = true
			return l.page.read(s)
		default:
			return s.skip()
		}
	})
	if err == nil && l.container == "" {
		return s.wrong("no list")
	}
	return err
}

// array reads the items and notes an edit for each that may not be seen.
func (l *list) array(s *scanner, keep func(Item) bool) error {
	cuts := cuts{edits: &l.edits}
	eachMember := func(m member) error { return l.member(s, m) } // one for all items: it would be allocated for each
	err := s.array(func(m member) error {
		cuts.next(m)
		if err := l.readItem(s, eachMember); err != nil {
			return err
		}
		l.items++
		if !keep(l.item) {
			l.removed++
			cuts.cut(m, s.pos)
			return nil
		}
		cuts.keep()
		if l.collect {
			l.kept = append(l.kept, s.text[m.from:s.pos])
		}
		return nil
	})
	cuts.end()
	return err
}

// readItem reads one item into l.item.
func (l *list) readItem(s *scanner, eachMember func(member) error) error {
	l.item, l.seen = Item{}, 0
	if err := s.object(eachMember); err != nil {
		return err
	}
	for i := range l.fields {
		f := &l.fields[i]
		if f.name != l.required || f.inside != "" {
			continue
		}
		if l.seen&(1<<i) == 0 && l.resource != "" && l.item.Type == l.resource {
			*f.text(&l.item) = l.item.ID
		}
		if *f.text(&l.item) == "" {
			return s.wrong("an item without " + l.required)
		}
	}
	return nil
}

// member reads one member of an item. A name that identifies it and stands twice is refused: upstream's reader and ours
// could take a different one.
func (l *list) member(s *scanner, m member) error {
	for i := range l.fields {
		f := &l.fields[i]
		if m.name != cmp.Or(f.inside, f.name) {
			continue
		}
		if l.seen&(1<<i) != 0 {
			return s.wrong("an identifying field stands twice")
		}
		l.seen |= 1 << i
		if f.inside != "" {
			return f.readInside(s, &l.item)
		}
		return f.read(s, &l.item)
	}
	return s.skip()
}

// readInside reads an identifying field from an object inside the item. The object may be null.
func (f *field) readInside(s *scanner, item *Item) error {
	if s.peek() != '{' {
		return s.word("null")
	}
	seen := false
	return s.object(func(m member) error {
		if m.name != f.name {
			return s.skip()
		}
		if seen {
			return s.wrong("an identifying field stands twice")
		}
		seen = true
		return f.read(s, item)
	})
}

// read reads the value of an identifying field: a string, a number as it is written, a flag, or null for none.
func (f *field) read(s *scanner, item *Item) error {
	from := s.pos
	if s.peek() == 'n' {
		return s.word("null")
	}
	if f.flag != nil {
		if err := s.literal(); err != nil {
			return err
		}
		switch s.text[from:s.pos] {
		case "true":
			*f.flag(item) = true
		case "false":
		default:
			return s.wrong("an identifying field is no flag")
		}
		return nil
	}
	if s.peek() == '"' {
		text, err := s.string()
		*f.text(item) = text
		return err
	}
	if err := s.number(); err != nil {
		return s.wrong("an identifying field is neither text nor number")
	}
	*f.text(item) = s.text[from:s.pos]
	return nil
}

// read reads {"count": …, "limit": …, "offset": …}.
func (p *page) read(s *scanner) error {
	if s.peek() != '{' {
		return s.skip()
	}
	var counts, offsets int
	err := s.object(func(m member) error {
		from := s.pos
		if err := s.skip(); err != nil {
			return err
		}
		value, err := strconv.Atoi(s.text[from:s.pos])
		switch {
		case m.name == "count" && err == nil:
			p.count, p.countFrom, p.countTo = value, from, s.pos
			counts++
		case m.name == "offset" && err == nil:
			p.offset = value
			offsets++
		case m.name == "count" || m.name == "offset":
			counts += 2 // a count that is no whole number cannot be put right
		}
		return nil
	})
	if err == nil && (counts != 1 || offsets > 1) {
		return s.wrong("a pagination without one whole count")
	}
	p.found = true
	return err
}
