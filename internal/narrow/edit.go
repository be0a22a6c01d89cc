package narrow

import (
	"cmp"
	"slices"
)

// edit replaces a stretch of a text.
type edit struct {
	from, to int
	text     string
}

// apply returns text with its edits made. They do not overlap.
func apply(text string, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	out := make([]byte, 0, len(text)+16) // a new count can be no longer than the old one
	last := 0
	for _, e := range edits {
		out = append(append(out, text[last:e.from]...), e.text...)
		last = e.to
	}
	return append(out, text[last:]...)
}

// cuts removes members of one object or array with the comma that goes with each: the one before it where something was
// kept before it, else the one after it.
type cuts struct {
	edits   *[]edit
	kept    bool // something before stays
	pending bool // the last edit reaches up to the next member
	at      int  // of that edit
}

// next is called at the start of every member.
func (c *cuts) next(m member) {
	if c.pending {
		(*c.edits)[c.at].to = m.from
		c.pending = false
	}
}

// keep is called after a member that stays.
func (c *cuts) keep() { c.kept = true }

// cut removes a member that ends at end.
func (c *cuts) cut(m member, end int) {
	if c.kept {
		*c.edits = append(*c.edits, edit{from: m.comma, to: end})
		return
	}
	*c.edits = append(*c.edits, edit{from: m.from, to: end})
	c.at, c.pending = len(*c.edits)-1, true
}

// end is called after the last member.
func (c *cuts) end() { c.pending = false }

// cutter removes the members with certain names from every object of a value.
type cutter struct {
	names []string
	edits []edit
}

func (c *cutter) value(s *scanner) error {
	switch s.peek() {
	case '{':
		cuts := cuts{edits: &c.edits}
		return s.object(func(m member) error {
			cuts.next(m)
			if !slices.Contains(c.names, m.name) {
				cuts.keep()
				return c.value(s)
			}
			if err := s.skip(); err != nil {
				return err
			}
			cuts.cut(m, s.pos)
			return nil
		})
	case '[':
		return s.array(func(member) error { return c.value(s) })
	default:
		return s.skip()
	}
}
