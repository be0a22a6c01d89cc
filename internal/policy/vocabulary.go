package policy

import (
	"slices"
	"strings"

	"corp.example/gateway/internal/catalog"
)

// vocabulary turns the words of a grant into the operations they cover.
type vocabulary struct {
	ops    []*catalog.Operation
	scopes []string
	perms  []string
	ids    []string
}

// what is what may be done, as a grant says it: patterns, each with "*" for any run of characters.
type what struct {
	scopes, permissions, operations []string
	deny                            bool
}

func newVocabulary(cat *catalog.Catalog) *vocabulary {
	v := &vocabulary{ops: cat.Operations(), scopes: cat.Scopes(), perms: cat.Permissions()}
	for _, op := range v.ops {
		v.ids = append(v.ids, op.ID)
	}
	return v
}

// columns returns the columns that w covers: column Index for an operation, len(ops)+Index for the form of it that only
// reads. Operations the gateway answers itself or never forwards have no columns: no grant decides about them.
func (v *vocabulary) columns(w what) bits {
	b := newBits(2 * len(v.ops))
	held := expand(w.permissions, v.perms)
	for i, op := range v.ops {
		if op.Local || op.Refused != "" {
			continue
		}
		named := matchesAny(w.operations, op.ID)
		whole := named || w.meets(op.Needs(op.Effect), held)
		if whole {
			b.set(i)
		}
		if op.ReadOnlyIf == "" {
			continue
		}
		// Whoever may make the call whole may make the harmless form of it; a deny of the whole leaves the harmless form.
		if named || w.meets(op.Needs(catalog.Read), held) || (whole && !w.deny) {
			b.set(len(v.ops) + i)
		}
	}
	return b
}

// meets reports whether w covers the needs. An allow must hold the scope or one permission set whole. A deny holds as soon
// as it names the scope or any permission of any set: which set a call will use is upstream's choice.
func (w what) meets(n catalog.Needs, held map[string]bool) bool {
	if n.Scope != "" && matchesAny(w.scopes, n.Scope) {
		return true
	}
	has := func(permission string) bool { return held[permission] }
	for _, set := range n.Permissions {
		if w.deny && slices.ContainsFunc(set, has) {
			return true
		}
		if !w.deny && len(set) > 0 && !slices.ContainsFunc(set, func(p string) bool { return !held[p] }) {
			return true
		}
	}
	return false
}

// expand returns the known words that any of the patterns matches.
func expand(patterns, known []string) map[string]bool {
	held := make(map[string]bool)
	for _, pattern := range patterns {
		if !strings.Contains(pattern, "*") {
			held[pattern] = true
			continue
		}
		for _, word := range known {
			if wordMatch(pattern, word) {
				held[word] = true
			}
		}
	}
	return held
}

func matchesAny(patterns []string, word string) bool {
	for _, pattern := range patterns {
		if pattern == word || (strings.Contains(pattern, "*") && wordMatch(pattern, word)) {
			return true
		}
	}
	return false
}
