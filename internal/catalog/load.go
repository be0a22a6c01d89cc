package catalog

import (
	"maps"
	"slices"
	"strconv"
)

// Catalog is a loaded table of operations. It is immutable.
type Catalog struct {
	version     string
	operations  []*Operation
	byID        map[string]*Operation
	root        *node
	scopes      []string
	permissions []string
}

// New loads the embedded table and the extra rows. An extra row
//   - adds an operation;
//   - or, under the id of an operation that is there, changes its cache rule or limit class and nothing else;
//   - or, for the method and path of a row whose scope and permissions are only assumed, replaces that row: the operator
//     knows better. Rows that upstream publishes cannot be replaced.
//
// The error is Faults: all that is wrong with the extra rows.
func New(extra ...Row) (*Catalog, error) {
	own := embedded()
	merged := newMerging(own)
	for i := range extra {
		merged.add(i, extra[i])
	}
	compiled := newCompiling(own)
	for i := range merged.rows {
		compiled.row(merged.origin(i), &merged.rows[i])
	}
	faults := slices.Concat(merged.faults, compiled.faults)
	if len(faults) > 0 {
		slices.SortStableFunc(faults, func(a, b Fault) int { return a.Row - b.Row })
		return nil, faults
	}
	version := own.Version
	if len(extra) > 0 {
		version += "+" + strconv.Itoa(len(extra))
	}
	return assemble(version, compiled.operations, compiled.patterns), nil
}

func assemble(version string, operations []*Operation, patterns [][]*pattern) *Catalog {
	c := &Catalog{version: version, operations: operations, byID: make(map[string]*Operation, len(operations)), root: &node{}}
	scopes, permissions := map[string]bool{}, map[string]bool{}
	for i, op := range operations {
		c.byID[op.ID] = op
		c.root.insert(op, patterns[i])
		for _, needs := range []Needs{op.Needs(op.Effect), op.ReadNeeds} {
			if needs.Scope != "" {
				scopes[needs.Scope] = true
			}
			for _, set := range needs.Permissions {
				for _, permission := range set {
					permissions[permission] = true
				}
			}
		}
	}
	c.scopes, c.permissions = slices.Sorted(maps.Keys(scopes)), slices.Sorted(maps.Keys(permissions))
	return c
}

// Operations returns all operations; an operation's Index is its position. The caller must not change the slice.
func (c *Catalog) Operations() []*Operation { return c.operations }

// Lookup returns the operation of that id, nil when there is none.
func (c *Catalog) Lookup(id string) *Operation { return c.byID[id] }

// Scopes returns the names of all scopes, sorted. The caller must not change the slice.
func (c *Catalog) Scopes() []string { return c.scopes }

// Permissions returns the names of all permissions, sorted. The caller must not change the slice.
func (c *Catalog) Permissions() []string { return c.permissions }

// Version names the embedded table and how many extra rows were given: "2026-05.1+2".
func (c *Catalog) Version() string { return c.version }
