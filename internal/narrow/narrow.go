// Package narrow removes from a JSON answer what one caller may not see: items of a list, and secret fields.
//
// Invariant: an answer is either understood whole or refused with an error; it never passes through unread. What stays is
// byte for byte what upstream sent, cut out of its answer and not written anew. The package decides nothing: which items
// and fields may be seen is the caller's to say.
package narrow

import (
	"fmt"

	"corp.example/gateway/internal/catalog"
)

// Item is what identifies one item of a list. A field that the kind of list has no use for, or that the item lacks, is
// empty.
type Item struct {
	ID             string // its own id: an organization's, a snippet's, a branch's, a project's
	Type           string // what kind of resource the newer form of a list says it is: {"type": …, "id": …}
	Project        string // ref: the project's own, or the branch's own project
	Parent         string // ref of the branch's parent project
	Organization   string // slug: the organization's own, or the one the project is in
	OrganizationID string // the older id of the one the project is in
	ProjectNumber  string // upstream's number of the snippet's project, as digits
	Branch         bool   // the project is a branch's own
}

// shape says where a kind of list keeps its items and what identifies them.
type shape struct {
	containers []string // names of the array in an answer that is an object
	fields     []field
	required   string // without this field an item cannot be judged
	resource   string // an item of this type has its id in place of the required field
	paged      bool   // "pagination" counts the items
}

// field is one identifying field of an item and where its value goes.
type field struct {
	name   string
	inside string // name of the object it is in, "" for the item itself
	text   func(*Item) *string
	flag   func(*Item) *bool
}

func (i *Item) id() *string             { return &i.ID }
func (i *Item) kind() *string           { return &i.Type }
func (i *Item) project() *string        { return &i.Project }
func (i *Item) parent() *string         { return &i.Parent }
func (i *Item) organization() *string   { return &i.Organization }
func (i *Item) organizationID() *string { return &i.OrganizationID }
func (i *Item) projectNumber() *string  { return &i.ProjectNumber }
func (i *Item) branch() *bool           { return &i.Branch }

// shapeOf returns the shape of a kind of list; ok is false for what is none.
func shapeOf(kind catalog.List) (s shape, ok bool) {
	switch kind {
	case catalog.ListProjects, catalog.ListOrgProjects:
		return shape{containers: []string{"projects", "data"}, required: "ref", resource: "project", paged: true, fields: []field{
			{name: "ref", text: (*Item).project},
			{name: "id", text: (*Item).id},
			{name: "type", text: (*Item).kind},
			{name: "organization_slug", text: (*Item).organization},
			{name: "organization_id", text: (*Item).organizationID},
			{name: "is_branch", flag: (*Item).branch},
		}}, true
	case catalog.ListOrganizations:
		return shape{containers: []string{"organizations", "data"}, required: "slug", fields: []field{
			{name: "slug", text: (*Item).organization},
			{name: "id", text: (*Item).id},
		}}, true
	case catalog.ListSnippets:
		return shape{containers: []string{"data"}, required: "id", fields: []field{
			{name: "id", text: (*Item).id},
			{name: "id", inside: "project", text: (*Item).projectNumber},
		}}, true
	case catalog.ListBranches:
		return shape{containers: []string{"branches", "data"}, required: "project_ref", fields: []field{
			{name: "id", text: (*Item).id},
			{name: "project_ref", text: (*Item).project},
			{name: "parent_project_ref", text: (*Item).parent},
		}}, true
	default:
		return shape{}, false
	}
}

// List returns body without the items that keep refuses, and how many those were. Where pagination shows that the page is
// the whole list, its count is set to what is left; where further pages exist, a count of what this caller can see takes
// all of them, see Pages. An answer that cannot be read in one way only is an error.
func List(body []byte, kind catalog.List, keep func(Item) bool) (narrowed []byte, removed int, err error) {
	l, err := read(body, kind, keep)
	if err != nil {
		return nil, 0, err
	}
	if l.removed == 0 {
		return body, 0, nil
	}
	if p := l.page; p.found && p.offset == 0 && p.count <= l.items {
		l.edits = append(l.edits, edit{p.countFrom, p.countTo, fmt.Sprint(l.items - l.removed)})
	}
	return apply(l.text, l.edits), l.removed, nil
}

// Secrets returns body without the members of any of its objects that bear one of the names, at any depth.
func Secrets(body []byte, names []string) ([]byte, error) {
	if len(names) == 0 {
		return body, nil
	}
	s := scanner{text: string(body)}
	c := cutter{names: names}
	err := s.whole(func() error { return c.value(&s) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("removing secrets from an answer: %w", err)
	case len(c.edits) == 0:
		return body, nil
	default:
		return apply(s.text, c.edits), nil
	}
}
