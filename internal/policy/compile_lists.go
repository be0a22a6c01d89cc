package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// element is one entry of a grant's list with where it stands: in the grant, or in the set the grant names.
type element struct {
	text string
	list []any // the path of the list or set that it is an entry of
	i    int   // its position there
	used []any // the entry that names the set; nil for an entry of the list itself
}

// expand replaces each $name by the entries of that set.
func (c *compiler) expand(list []string, path []any) []element {
	if list == nil {
		return nil
	}
	if len(list) == 0 {
		c.fault(path, "the list is empty: remove the key or name something")
	}
	var all []element
	for i, text := range list {
		name, isSet := strings.CutPrefix(text, "$")
		if !isSet {
			all = append(all, element{text: text, list: path, i: i})
			continue
		}
		set, known := c.doc.Sets[name]
		if !known {
			c.fault(at(path, i), "unknown set %q%s", text, didYouMean(name, keys(c.doc.Sets)))
			continue
		}
		if len(set) == 0 {
			c.fault([]any{"sets", name}, "the set is empty")
		}
		for j, entry := range set {
			all = append(all, element{text: entry, list: []any{"sets", name}, i: j, used: at(path, i)})
		}
	}
	c.repeated(all)
	return all
}

func (c *compiler) repeated(all []element) {
	seen := make(map[string]bool, len(all))
	for _, e := range all {
		if seen[e.text] && e.text != "" {
			c.elementFault(e, fmt.Sprintf("%q stands twice", e.text))
		}
		seen[e.text] = true
	}
}

// elementFault faults an entry; one inside a set is told once, with the first list that uses it.
func (c *compiler) elementFault(e element, message string) {
	path := at(e.list, e.i)
	if e.used == nil {
		c.fault(path, "%s", message)
		return
	}
	f := c.source.Fault(message, path...)
	if id := f.Error(); !c.setFaults[id] {
		c.setFaults[id] = true
		c.fault(path, "%s (used by %s)", message, c.source.Fault("", e.used...).Key)
	}
}

// list expands a list of words and faults the entries that check has something to say about.
func (c *compiler) list(words []string, check func(word string) string, path []any) []string {
	var out []string
	for _, e := range c.expand(words, path) {
		if message := check(e.text); message != "" {
			c.elementFault(e, message)
			continue
		}
		out = append(out, e.text)
	}
	return out
}

// word returns a check for scopes or permissions: it answers "" for a known one or a pattern that matches some.
func (c *compiler) word(kind string, known []string) func(string) string {
	return func(word string) string {
		switch {
		case strings.Contains(word, "*"):
			if !slices.ContainsFunc(known, func(k string) bool { return wordMatch(word, k) }) {
				return fmt.Sprintf("no %s matches %q", kind, word)
			}
		case !slices.Contains(known, word):
			return fmt.Sprintf("unknown %s %q%s%s", kind, word, didYouMean(word, known), c.otherVocabulary(kind, word))
		}
		return ""
	}
}

// otherVocabulary helps whoever wrote a permission under scopes or the other way round.
func (c *compiler) otherVocabulary(kind, word string) string {
	switch {
	case kind == "scope" && slices.Contains(c.words.perms, word):
		return " (it is a permission: write it under permissions)"
	case kind == "permission" && slices.Contains(c.words.scopes, word):
		return " (it is a scope: write it under scopes)"
	default:
		return ""
	}
}

// operation checks one entry of operations.
func (c *compiler) operation(word string) string {
	if strings.Contains(word, "*") {
		return c.word("operation", c.words.ids)(word)
	}
	op := c.catalog.Lookup(word)
	switch {
	case op == nil:
		return fmt.Sprintf("unknown operation %q%s", word, didYouMean(word, c.words.ids))
	case op.Local:
		return fmt.Sprintf("%s is answered by the gateway itself, to every caller: no grant decides about it", word)
	case op.Refused != "":
		return fmt.Sprintf("%s is never forwarded: no grant decides about it", word)
	default:
		return ""
	}
}

// targets compiles a list of projects or organizations.
func (c *compiler) targets(list []string, form *regexp.Regexp, kind string, path []any) scopeList {
	var s scopeList
	all := c.expand(list, path)
	for _, e := range all {
		switch {
		case e.text == "*":
			s.all = true
			if len(all) > 1 {
				c.elementFault(e, `"*" stands for all: remove the others or the "*"`)
			}
		case !form.MatchString(e.text):
			c.elementFault(e, fmt.Sprintf("%q is no %s", e.text, kind))
		default:
			s.names = append(s.names, e.text)
		}
	}
	return s
}

func keys(m map[string][]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}
