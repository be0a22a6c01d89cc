package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// The words of effects, kinds and lists, as tables, policies, audit records and pages write them. Index 0 is the zero
// value, which has no word unless it means something.
var (
	effectWords = [...]string{"", "read", "write", "destructive"}
	kindWords   = [...]string{"", "account", "organization", "project", "branch", "snippet"}
	listWords   = [...]string{"", "projects", "organizations", "organization_projects", "snippets", "branches"}
)

func (e Effect) String() string { return word(effectWords[:], int(e)) }
func (k Kind) String() string   { return word(kindWords[:], int(k)) }
func (l List) String() string   { return word(listWords[:], int(l)) }

// MarshalText writes the effect's word.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// MarshalText writes the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText writes the list's word.
func (l List) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads one of read, write and destructive.
func (e *Effect) UnmarshalText(text []byte) error {
	i, err := meaning(effectWords[:], "an effect", text)
	*e = Effect(i)
	return err
}

// UnmarshalText reads one of account, organization, project, branch and snippet.
func (k *Kind) UnmarshalText(text []byte) error {
	i, err := meaning(kindWords[:], "a kind of target", text)
	*k = Kind(i)
	return err
}

// UnmarshalText reads one of projects, organizations, organization_projects, snippets and branches.
func (l *List) UnmarshalText(text []byte) error {
	i, err := meaning(listWords[:], "a list", text)
	*l = List(i)
	return err
}

func word(words []string, i int) string {
	if i >= len(words) {
		return fmt.Sprintf("%%!(%d)", i)
	}
	return words[i]
}

func meaning(words []string, what string, text []byte) (int, error) {
	i := slices.Index(words, string(text))
	if i <= 0 {
		return 0, fmt.Errorf("%q is not %s: write one of %s", text, what, strings.Join(words[1:], ", "))
	}
	return i, nil
}
