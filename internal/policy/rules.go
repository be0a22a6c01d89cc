package policy

import (
	"time"

	"corp.example/gateway/internal/catalog"
)

// bits is a set of columns: one for each operation, and a second one for its read-only form.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

func (b bits) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bits) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// effects is a set of catalog.Effects.
type effects uint8

const allEffects = effects(1<<catalog.Read | 1<<catalog.Write | 1<<catalog.Destructive)

func effectBit(e catalog.Effect) effects { return 1 << e }

// grant is one compiled line of an allow or deny list.
type grant struct {
	rule     string // "policy.yaml:14 teams[0].allow[1]"
	order    int    // position in the file, among all grants
	team     *team
	ops      bits
	effects  effects
	branches bool
	account  bool
	projects scopeList // refs it names
	orgs     scopeList // slugs it names
	until    int64     // Unix seconds, 0 for a grant that does not end
	deny     bool

	path []any    // where it stands in the file
	said grantDoc // as written, its sets expanded, for Access
}

// scopeList is the projects or organizations of a grant.
type scopeList struct {
	names []string
	all   bool // "*"
}

func (s scopeList) empty() bool { return !s.all && len(s.names) == 0 }

// covers reports whether the grant covers what q does, its target aside.
func (g *grant) covers(q *query) bool {
	return g.ops.has(q.bit) && g.effects&q.effect != 0 && (g.until == 0 || q.now < g.until)
}

func (g *grant) ends() string { return time.Unix(g.until, 0).UTC().Format("2006-01-02T15:04Z07:00") }

// rules are grants indexed by what they name: those of one list of a team, or of several teams read as one list.
type rules struct {
	all        []*grant // in the order of the file
	account    grantList
	anyProject grantList           // projects: ["*"]
	anyOrg     grantList           // organizations: ["*"]
	projects   map[string][]*grant // by ref
	orgs       map[string][]*grant // by slug
	byProject  grantList           // all that name projects
	byOrg      grantList           // all that name organizations
}

// grantList is a list of grants with the union of their columns, so that a call that none of them is about costs one look.
type grantList struct {
	grants []*grant // in the order of the file
	ops    bits
}

func (l *grantList) add(g *grant) {
	l.grants = append(l.grants, g)
	if l.ops == nil {
		l.ops = make(bits, len(g.ops))
	}
	for i, word := range g.ops {
		l.ops[i] |= word
	}
}

// about returns the grants, none where no grant is about what q does.
func (l *grantList) about(q *query) []*grant {
	if len(l.grants) == 0 || !l.ops.has(q.bit) {
		return nil
	}
	return l.grants
}

func (r *rules) add(g *grant) {
	r.all = append(r.all, g)
	if g.account {
		r.account.add(g)
	}
	if g.projects.all {
		r.anyProject.add(g)
	}
	if g.orgs.all {
		r.anyOrg.add(g)
	}
	if len(g.projects.names) > 0 {
		r.byProject.add(g)
		index(&r.projects, g.projects.names, g)
	}
	if len(g.orgs.names) > 0 {
		r.byOrg.add(g)
		index(&r.orgs, g.orgs.names, g)
	}
}

func index(m *map[string][]*grant, names []string, g *grant) {
	if *m == nil {
		*m = make(map[string][]*grant, len(names))
	}
	for _, name := range names {
		(*m)[name] = append((*m)[name], g)
	}
}

// named returns the grants that name a project or organization, none for an unknown one.
func named(m map[string][]*grant, name string) []*grant {
	if name == "" || len(m) == 0 {
		return nil
	}
	return m[name]
}

// first returns the first of the grants that covers q. With branches, only one that reaches the branches of what it names.
func first(grants []*grant, q *query, branches bool) *grant {
	for _, g := range grants {
		if g.covers(q) && (g.branches || !branches) {
			return g
		}
	}
	return nil
}

// earlier returns the grant that stands first in the file; either may be nil.
func earlier(a, b *grant) *grant {
	if a == nil || (b != nil && b.order < a.order) {
		return b
	}
	return a
}

// find returns the first grant in the file that covers q by what is known of its target, nil where none does.
func (r *rules) find(q *query) *grant {
	if len(r.all) == 0 {
		return nil
	}
	switch q.kind {
	case catalog.Account:
		return first(r.account.about(q), q, false)
	case catalog.Organization:
		if q.target.Organization == "" {
			return nil // an organization nobody named is not one that "*" stands for
		}
		return earlier(first(named(r.orgs, q.target.Organization), q, false), first(r.anyOrg.about(q), q, false))
	case catalog.Project:
		if q.target.Project == "" {
			return nil
		}
		return r.findProject(q)
	case catalog.Snippet:
		return r.findProject(q) // whose project may be unknown: "*" covers it all the same
	case catalog.Branch:
		return r.findBranch(q)
	default:
		return nil
	}
}

// findProject looks for a grant on the project itself, on its parent where that grant has branches, and on the
// organization it is in. Organizations and "*" cover every project in them by nature, a branch's own project included.
func (r *rules) findProject(q *query) *grant {
	t := &q.target
	g := first(named(r.projects, t.Project), q, false)
	g = earlier(g, first(named(r.projects, t.Parent), q, true))
	g = earlier(g, first(named(r.orgs, t.Organization), q, false))
	g = earlier(g, first(r.anyProject.about(q), q, false))
	return earlier(g, first(r.anyOrg.about(q), q, false))
}

// findBranch looks for a grant on the branch's parent or organization that has branches. A grant that names the branch's
// own project is not enough: merging a branch changes its parent. A deny that names it is.
func (r *rules) findBranch(q *query) *grant {
	t := &q.target
	g := first(named(r.projects, t.Parent), q, true)
	for _, own := range named(r.projects, t.Project) {
		if own.deny && own.covers(q) {
			g = earlier(g, own)
		}
	}
	g = earlier(g, first(named(r.orgs, t.Organization), q, true))
	g = earlier(g, first(r.anyProject.about(q), q, true))
	return earlier(g, first(r.anyOrg.about(q), q, true))
}

// unknown is what is not known of a target.
type unknown struct {
	project bool // which project it is, so that any project or parent is possible
	parent  bool // whose branch it is, if it is one
	org     bool // which organization it is in
}

func (q *query) unknown() unknown {
	t := &q.target
	switch q.kind {
	case catalog.Organization:
		return unknown{org: t.Organization == ""}
	case catalog.Project:
		return unknown{parent: t.Parent == "" && !t.Resolved, org: t.Organization == ""}
	case catalog.Snippet:
		return unknown{project: t.Project == "", parent: t.Parent == "" && !t.Resolved, org: t.Organization == ""}
	case catalog.Branch:
		return unknown{project: t.Project == "", parent: t.Parent == "", org: t.Organization == ""}
	default:
		return unknown{}
	}
}

// possible yields the grants that do not cover q by what is known of its target, but would if an unknown fact turned out
// so. byOrg tells whether the organization is that fact, else it is the project or its parent.
func (r *rules) possible(q *query, yield func(g *grant, byOrg bool) bool) {
	if len(r.all) == 0 {
		return
	}
	u := q.unknown()
	branches := q.kind == catalog.Branch
	if u.project || u.parent {
		for _, g := range r.byProject.about(q) {
			// Where only the parent is unknown, a grant without branches has had its say.
			byOwnRef := u.project && (!branches || g.deny)
			if g.covers(q) && (byOwnRef || (u.parent && g.branches)) && !yield(g, false) {
				return
			}
		}
	}
	if u.org {
		for _, g := range r.byOrg.about(q) {
			if g.covers(q) && (g.branches || !branches) && !yield(g, true) {
				return
			}
		}
	}
}

// holds returns a grant that covers q, or one that may for all that is known: what is unknown never keeps a deny from
// holding. suspect tells which of the two it is.
func (r *rules) holds(q *query) (g *grant, suspect bool) {
	if g = r.find(q); g != nil {
		return g, false
	}
	r.possible(q, func(maybe *grant, _ bool) bool { g = maybe; return false })
	return g, g != nil
}
