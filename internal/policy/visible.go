package policy

import (
	"slices"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
)

// itemOperations returns, for each shape of list, the operations that read one of its items.
func itemOperations(cat *catalog.Catalog) map[catalog.List][]*catalog.Operation {
	byList := map[catalog.List][]string{
		catalog.ListProjects:      {"v1-get-project"},
		catalog.ListOrganizations: {"v1-get-an-organization"},
		catalog.ListOrgProjects:   {"v1-get-project"},
		catalog.ListSnippets:      {"v1-get-a-snippet"},
		catalog.ListBranches:      {"v1-get-a-branch", "v1-get-a-branch-config"},
	}
	items := make(map[catalog.List][]*catalog.Operation, len(byList))
	for list, ids := range byList {
		for _, id := range ids {
			if op := cat.Lookup(id); op != nil {
				items[list] = append(items[list], op)
			}
		}
	}
	return items
}

// itemQuery turns the question "may this item be read" into the judged form of op. A branch is read by its name under
// its parent, or by its own id.
func (p *Policy) itemQuery(op *catalog.Operation, list catalog.List, t Target, now int64) query {
	if list == catalog.ListBranches && op.Target == catalog.Project {
		t = Target{Project: t.Parent, Organization: t.Organization, Resolved: t.Resolved}
	}
	return query{bit: op.Index, effect: effectBit(op.Effect), kind: op.Target, target: t, now: now}
}

// Visible reports whether the caller may see one item of a list: one of the operations that read such an item is allowed,
// and no deny holds for any of them. t says which item it is: for a branch its own project and its parent, for a snippet
// its project, for a project its ref and organization, for an organization its slug.
func (p *Policy) Visible(c *identity.Caller, pick string, list catalog.List, t Target, now time.Time) bool {
	if c == nil {
		return false
	}
	m := p.member(c)
	_, granted := m.acting(pick)
	visible := false
	for _, op := range p.items[list] {
		q := p.itemQuery(op, list, t, now.Unix())
		if deny, _ := m.rules.deny.holds(&q); deny != nil {
			return false
		}
		visible = visible || (m.within(&q) && granted.allow.find(&q) != nil)
	}
	return visible
}

// opens returns the grant that opens a list: one by which the caller may read some item that the list can show. Whether
// any such item exists is not asked; a list may turn out empty.
func (m *membership) opens(p *Policy, op *catalog.Operation, asked *query, granted *book) *grant {
	var opened *grant
	for _, item := range p.items[op.List] {
		q := p.itemQuery(item, op.List, asked.target, asked.now)
		if m.ops == nil || m.ops.has(q.bit) {
			opened = earlier(opened, m.openedBy(&granted.allow, op.List, &q, asked))
		}
	}
	return opened
}

func (m *membership) openedBy(allow *rules, list catalog.List, q, asked *query) *grant {
	switch list {
	case catalog.ListBranches:
		q.target = asked.target
		if q.kind == catalog.Branch {
			q.target = someBranchOf(asked.target)
		}
		return m.undenied(allow.find(q), q)
	case catalog.ListOrgProjects:
		if asked.target.Organization == "" {
			return nil
		}
		return m.undenied(allow.findProject(q), q)
	case catalog.ListSnippets:
		if asked.target.Project != "" {
			return m.undenied(allow.find(q), q)
		}
	}
	for _, g := range allow.all {
		if g.covers(q) && m.reachesSome(g, q) {
			return g
		}
	}
	return nil
}

// someBranchOf is what is known of the branches that a project's list will show.
func someBranchOf(project Target) Target {
	return Target{Parent: project.Project, Organization: project.Organization}
}

// undenied drops a grant where a deny is known to hold for everything it would open, or the token reaches none of it.
func (m *membership) undenied(g *grant, q *query) *grant {
	if g == nil || m.knownDenied(q) {
		return nil
	}
	if len(m.projects) > 0 && q.target.Project != "" && !m.within(q) {
		return nil
	}
	return g
}

// knownDenied reports whether a deny holds by what is known, leaving what is not to the judging of each item.
func (m *membership) knownDenied(q *query) bool {
	if q.kind == catalog.Project || q.kind == catalog.Snippet {
		return m.rules.deny.findProject(q) != nil
	}
	return m.rules.deny.find(q) != nil
}

// reachesSome reports whether there may be an item that the grant shows: a target it names that no deny is known to hold
// for and that the token reaches.
func (m *membership) reachesSome(g *grant, q *query) bool {
	if q.kind == catalog.Organization {
		if len(m.projects) > 0 {
			return false
		}
		return g.orgs.all && first(m.rules.deny.anyOrg.about(q), q, false) == nil || slices.ContainsFunc(g.orgs.names, func(slug string) bool {
			named := *q
			named.target = Target{Organization: slug}
			return !m.knownDenied(&named)
		})
	}
	open := func(t Target) bool {
		named := *q
		named.target = t
		return !m.knownDenied(&named)
	}
	// A project may be hidden by a deny that leaves its branches.
	openProject := func(ref string, branches bool) bool {
		return open(Target{Project: ref}) || (branches && open(Target{Parent: ref}))
	}
	if len(m.projects) > 0 && (g.projects.all || !g.orgs.empty()) {
		return slices.ContainsFunc(m.projects, func(ref string) bool { return openProject(ref, true) })
	}
	if (g.projects.all || g.orgs.all) && open(Target{}) {
		return true
	}
	// A named project that a token is not limited to may be a branch of one that it is.
	return slices.ContainsFunc(g.projects.names, func(ref string) bool { return openProject(ref, g.branches) }) ||
		slices.ContainsFunc(g.orgs.names, func(slug string) bool { return open(Target{Organization: slug}) })
}
