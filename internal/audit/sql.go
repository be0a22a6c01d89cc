package audit

import "strings"

// RedactSQL returns a statement, of PostgreSQL's dialect, with every literal replaced by ? and comments and spare white
// space left out: what was done, without with what. Names, key words and operators stay; NULL, TRUE and FALSE are key
// words. Text that does not end as it must, or can be read in two ways, is left out to the end, which … then says.
func RedactSQL(sql string) string {
	s := sqlScanner{rest: sql}
	for s.rest != "" && s.token() {
	}
	if s.cut {
		s.out.WriteString(ellipsis)
	}
	return redact(s.out.String())
}

const (
	literal = "?"
	// maxName is the length of PostgreSQL's names: a longer word is none.
	maxName = 63
)

// sqlScanner walks a statement token by token, as PostgreSQL's lexer divides it.
type sqlScanner struct {
	rest string // not read yet
	out  strings.Builder
	gap  bool // white space or a comment came before
	cut  bool // the rest is left out
}

// token reads one token, and reports whether to go on.
func (s *sqlScanner) token() bool {
	c := s.rest[0]
	switch {
	case isSpace(c):
		s.rest, s.gap = s.rest[1:], true
	case strings.HasPrefix(s.rest, "--"):
		s.line()
	case strings.HasPrefix(s.rest, "/*"):
		return s.comment()
	case c == '\'':
		return s.quoted(false)
	case c == '"':
		return s.name()
	case c == '$':
		return s.dollar()
	case isDigit(c), c == '.' && len(s.rest) > 1 && isDigit(s.rest[1]):
		s.number()
	case isWord(c):
		return s.word()
	default:
		s.put(s.rest[:1])
		s.rest = s.rest[1:]
	}
	return true
}

// put writes a token, with one space for whatever white space was before it.
func (s *sqlScanner) put(token string) {
	if s.gap && s.out.Len() > 0 {
		s.out.WriteByte(' ')
	}
	s.gap = false
	s.out.WriteString(token)
}

// end leaves the rest out.
func (s *sqlScanner) end() bool {
	s.cut = true
	s.put("")
	return false
}

// line passes over a comment to the end of its line, which a carriage return alone makes, too: what follows is run.
func (s *sqlScanner) line() {
	end := strings.IndexAny(s.rest, "\r\n")
	if end < 0 {
		end = len(s.rest)
	}
	s.rest, s.gap = s.rest[end:], true
}

// comment passes over a block comment; they nest.
func (s *sqlScanner) comment() bool {
	depth, i := 0, 0
	for {
		switch {
		case strings.HasPrefix(s.rest[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s.rest[i:], "*/"):
			depth--
			i += 2
		case i >= len(s.rest):
			return s.end()
		default:
			i++
		}
		if depth == 0 {
			s.rest, s.gap = s.rest[i:], true
			return true
		}
	}
}

// quoted replaces a string that begins at rest. In an escape string a backslash takes the next character's meaning away;
// in others it does so where standard_conforming_strings is off, which cannot be known: where it would matter the rest is
// left out.
func (s *sqlScanner) quoted(escapes bool) bool {
	s.put(literal)
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			if escapes {
				i++
			} else if i+1 < len(s.rest) && s.rest[i+1] == '\'' {
				return s.end()
			}
		case '\'':
			if i+1 < len(s.rest) && s.rest[i+1] == '\'' { // a quote within
				i++
				continue
			}
			s.rest = s.rest[i+1:]
			return true
		}
	}
	return s.end()
}

// name keeps a quoted name that looks like one. Others are more likely a string in the wrong quotes.
func (s *sqlScanner) name() bool {
	plain := true
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"' && i+1 < len(s.rest) && s.rest[i+1] == '"':
			plain = false
			i++
		case c == '"':
			if name := s.rest[:i+1]; plain && i <= maxName+1 {
				s.put(name)
			} else {
				s.put(`"` + literal + `"`)
			}
			s.rest = s.rest[i+1:]
			return true
		case !isWord(c) && !isDigit(c) && c != '-':
			plain = false
		}
	}
	return s.end()
}

// dollar reads what begins with a dollar sign: a parameter such as $1, or a string between $tag$ and $tag$.
func (s *sqlScanner) dollar() bool {
	i := 1
	for i < len(s.rest) && isDigit(s.rest[i]) {
		i++
	}
	if i > 1 {
		s.put("$n")
		s.rest = s.rest[i:]
		return true
	}
	for i < len(s.rest) && (isWord(s.rest[i]) || isDigit(s.rest[i])) && s.rest[i] != '$' {
		i++
	}
	if i == len(s.rest) || s.rest[i] != '$' {
		s.put("$")
		s.rest = s.rest[1:]
		return true
	}
	s.put(literal)
	tag := s.rest[:i+1]
	end := strings.Index(s.rest[len(tag):], tag)
	if end < 0 {
		return s.end()
	}
	s.rest = s.rest[2*len(tag)+end:]
	return true
}

// number replaces a number, and whatever is stuck to it: 1e-5, 0x1F, 1_000. A dollar sign is not: a string begins there.
func (s *sqlScanner) number() {
	i := 1
	for i < len(s.rest) {
		c := s.rest[i]
		sign := (c == '+' || c == '-') && (s.rest[i-1] == 'e' || s.rest[i-1] == 'E')
		if !isWord(c) && !isDigit(c) && c != '.' && !sign || c == '$' {
			break
		}
		i++
	}
	s.put(literal)
	s.rest = s.rest[i:]
}

// word keeps a name or key word, replaces a string that begins with a letter (E'…', B'…', X'…', N'…'), and leaves out what
// follows COPY … FROM STDIN: data, line by line.
func (s *sqlScanner) word() bool {
	i := 1
	for i < len(s.rest) && (isWord(s.rest[i]) || isDigit(s.rest[i])) {
		i++
	}
	word := s.rest[:i]
	if i < len(s.rest) && s.rest[i] == '\'' && len(word) == 1 && strings.Contains("eEbBxXnN", word) {
		s.rest = s.rest[1:]
		return s.quoted(word == "e" || word == "E")
	}
	if s.rest = s.rest[i:]; len(word) > maxName {
		word = literal
	}
	s.put(word)
	if strings.EqualFold(word, "stdin") && s.rest != "" {
		return s.end()
	}
	return true
}

func isSpace(c byte) bool { return c <= ' ' || c == 0x7f }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isWord reports what names are made of: letters, underscores, dollar signs, and every character beyond ASCII.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
