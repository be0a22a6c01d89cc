package catalog

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode"
)

// maxSegment bounds one path segment in bytes: the longest git branch name that file systems allow.
const maxSegment = 255

// pattern decides whether a raw path segment may stand for a parameter. Patterns are written as regular expressions of
// the whole segment. Those a table needs (classes with counts, one after the other, and alternatives of such) are
// compiled into byte sets, so that parsing a request runs no regular expression; any other runs as one.
type pattern struct {
	source       string
	alternatives [][]atom       // nil: fallback decides
	fallback     *regexp.Regexp // nil where alternatives decide
}

// atom is a set of bytes that stands min to max times.
type atom struct {
	set      [256]bool
	min, max int
}

// compilePattern reads a regular expression. It is anchored as a whole, so "a|b" cannot escape the anchors.
func compilePattern(source string) (*pattern, error) {
	if source == "" {
		return nil, fmt.Errorf("an empty pattern matches nothing: write a regular expression of the whole segment")
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%q is no regular expression: %w", source, err)
	}
	p := &pattern{source: source}
	if alternatives, simple := alternativesOf(tree); simple {
		p.alternatives = alternatives
		return p, nil
	}
	p.fallback, err = regexp.Compile(`^(?:` + source + `)$`)
	return p, err
}

func (p *pattern) match(segment string) bool {
	if len(segment) > maxSegment {
		return false
	}
	if p.fallback != nil {
		return p.fallback.MatchString(segment)
	}
	for _, atoms := range p.alternatives {
		if matchAtoms(atoms, segment) {
			return true
		}
	}
	return false
}

// matchAtoms takes as much as each atom allows. That never has to be taken back: an atom of variable length is only
// compiled where the next one begins with another byte (see sequenceOf).
func matchAtoms(atoms []atom, segment string) bool {
	for i := range atoms {
		a := &atoms[i]
		n := 0
		for n < len(segment) && n < a.max && a.set[segment[n]] {
			n++
		}
		if n < a.min {
			return false
		}
		segment = segment[n:]
	}
	return segment == ""
}

func alternativesOf(tree *syntax.Regexp) ([][]atom, bool) {
	branches := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpAlternate {
		branches = tree.Sub
	}
	var alternatives [][]atom
	for _, branch := range branches {
		atoms, simple := sequenceOf(branch)
		if !simple {
			return nil, false
		}
		alternatives = append(alternatives, atoms)
	}
	return alternatives, true
}

func sequenceOf(tree *syntax.Regexp) ([]atom, bool) {
	parts := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	var atoms []atom
	for _, part := range parts {
		next, simple := atomsOf(part)
		if !simple {
			return nil, false
		}
		atoms = append(atoms, next...)
	}
	for i := range len(atoms) - 1 {
		if atoms[i].min != atoms[i].max && (atoms[i+1].min == 0 || overlap(&atoms[i], &atoms[i+1])) {
			return nil, false
		}
	}
	return atoms, true
}

func atomsOf(part *syntax.Regexp) ([]atom, bool) {
	if part.Flags&(syntax.FoldCase|syntax.NonGreedy) != 0 {
		return nil, false
	}
	switch part.Op {
	case syntax.OpLiteral:
		var atoms []atom
		for _, r := range part.Rune {
			one := atom{min: 1, max: 1}
			if !one.add(r, r) {
				return nil, false
			}
			atoms = append(atoms, one)
		}
		return atoms, true
	case syntax.OpCharClass:
		one := atom{min: 1, max: 1}
		for i := 0; i < len(part.Rune); i += 2 {
			if !one.add(part.Rune[i], part.Rune[i+1]) {
				return nil, false
			}
		}
		return []atom{one}, true
	case syntax.OpPlus:
		return repeated(part.Sub[0], 1, maxSegment)
	case syntax.OpRepeat:
		if part.Max < 0 {
			return repeated(part.Sub[0], part.Min, maxSegment)
		}
		return repeated(part.Sub[0], part.Min, part.Max)
	default:
		return nil, false
	}
}

func repeated(part *syntax.Regexp, least, most int) ([]atom, bool) {
	atoms, simple := atomsOf(part)
	if !simple || len(atoms) != 1 || atoms[0].min != 1 || atoms[0].max != 1 {
		return nil, false
	}
	atoms[0].min, atoms[0].max = least, most
	return atoms, true
}

// add puts the bytes first to last into the set; only ASCII can: a segment holds nothing else.
func (a *atom) add(first, last rune) bool {
	if last > unicode.MaxASCII {
		return false
	}
	for r := first; r <= last; r++ {
		a.set[r] = true
	}
	return true
}

func overlap(a, b *atom) bool {
	for i := range a.set {
		if a.set[i] && b.set[i] {
			return true
		}
	}
	return false
}
