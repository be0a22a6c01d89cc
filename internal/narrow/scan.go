package narrow

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxDepth bounds the nesting of an answer, and with it the scanner's recursion. Upstream's deepest answer has 7 levels.
const maxDepth = 100

// scanner reads JSON (RFC 8259) strictly and remembers where its values stand. Its errors tell the place and never the
// text, which may be a secret.
type scanner struct {
	text  string
	pos   int
	depth int
}

var errDeep = errors.New("nested too deep")

func (s *scanner) wrong(what string) error { return fmt.Errorf("byte %d: %s", s.pos, what) }

// whole reads one value by read and requires that nothing follows it.
func (s *scanner) whole(read func() error) error {
	s.space()
	if err := read(); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.text) {
		return s.wrong("text after the end")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// take steps over c and reports whether it was there.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// member is where one member of an object or one element of an array stands.
type member struct {
	name  string // decoded; "" in an array
	from  int    // of its name, or of the element
	comma int    // of the comma before it, -1 for the first
}

// object reads an object; each is called at every member's value and must read it.
func (s *scanner) object(each func(m member) error) error {
	return s.sequence('{', '}', func(comma int) error {
		m := member{from: s.pos, comma: comma}
		var err error
		if m.name, err = s.string(); err != nil {
			return err
		}
		s.space()
		if !s.take(':') {
			return s.wrong("no colon after a name")
		}
		s.space()
		return each(m)
	})
}

// array reads an array; each is called at every element and must read it.
func (s *scanner) array(each func(m member) error) error {
	return s.sequence('[', ']', func(comma int) error {
		return each(member{from: s.pos, comma: comma})
	})
}

func (s *scanner) sequence(open, end byte, each func(comma int) error) error {
	if !s.take(open) {
		return s.wrong("not the kind of value expected here")
	}
	if s.depth++; s.depth > maxDepth {
		return errDeep
	}
	s.space()
	if s.take(end) {
		s.depth--
		return nil
	}
	for comma := -1; ; {
		if err := each(comma); err != nil {
			return err
		}
		s.space()
		comma = s.pos
		if s.take(end) {
			s.depth--
			return nil
		}
		if !s.take(',') {
			return s.wrong("neither a comma nor an end")
		}
		s.space()
	}
}

// skip reads any value.
func (s *scanner) skip() error {
	switch c := s.peek(); c {
	case '{':
		return s.object(s.skipMember)
	case '[':
		return s.array(s.skipMember)
	case '"':
		_, _, err := s.quoted()
		return err
	default:
		return s.literal()
	}
}

func (s *scanner) skipMember(member) error { return s.skip() }

// literal reads a number, true, false or null.
func (s *scanner) literal() error {
	switch s.peek() {
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) word(w string) error {
	if !strings.HasPrefix(s.text[s.pos:], w) {
		return s.wrong("no value")
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.wrong("no value")
	}
	if s.take('.') && !s.digits() {
		return s.wrong("a number without digits")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return s.wrong("a number without digits")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

// quoted reads a string and returns it with its quotes, and whether it holds escapes.
func (s *scanner) quoted() (raw string, escaped bool, err error) {
	from := s.pos
	if !s.take('"') {
		return "", false, s.wrong("no string")
	}
	for {
		s.pos = plainEnd(s.text, s.pos)
		switch c := s.peek(); {
		case c == '"':
			s.pos++
			return s.text[from:s.pos], escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return "", false, err
			}
		case s.pos == len(s.text):
			return "", false, s.wrong("a string without an end")
		default:
			return "", false, s.wrong("a control character in a string")
		}
	}
}

// plainEnd returns where the run of plain characters that begins at from ends: nearly all of an answer is in such runs.
func plainEnd(text string, from int) int {
	for i := from; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(text)
}

func (s *scanner) escape() error {
	s.pos++
	c := s.peek()
	if c == 0 || strings.IndexByte(`"\/bfnrtu`, c) < 0 {
		return s.wrong("an unknown escape")
	}
	s.pos++
	if c != 'u' {
		return nil
	}
	for range 4 {
		c := s.peek() | 0x20
		if !('0' <= c && c <= '9' && s.peek() == c || 'a' <= c && c <= 'f') {
			return s.wrong("an unknown escape")
		}
		s.pos++
	}
	return nil
}

// string reads a string and decodes it.
func (s *scanner) string() (string, error) {
	raw, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if !escaped {
		return raw[1 : len(raw)-1], nil
	}
	var text string
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		return "", s.wrong("no string")
	}
	return text, nil
}
