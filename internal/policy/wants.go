package policy

import (
	"slices"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
)

// Wants says which facts, unknown in a request's target, could change its decision. The zero value: look nothing up, the
// decision is the same whatever they are.
type Wants struct {
	// Project asks for Target.Project: the project of a snippet, the own project of a branch, or, for the list of an
	// organization's projects, one of Candidates that is in the organization (left empty where none is).
	Project bool
	// Parent asks for Target.Parent, empty for a project that is no branch.
	Parent bool
	// Organization asks for Target.Organization: the one the project is in, or the one the body names.
	Organization bool

	// Where to look: the projects that may be the parent or the project, and the organizations they may be in. Other
	// answers do not change the decision. Sorted, without repeats.
	Candidates    []string
	Organizations []string
	// Any says that a grant for every target covers a call about a branch or snippet: who wants to know its project for
	// another reason, such as a quota, may look beyond Candidates.
	Any bool
}

// None reports whether nothing needs looking up.
func (w Wants) None() bool { return !w.Project && !w.Parent && !w.Organization }

// Wants returns which unknown facts of r could change what Decide or Reveals says. It asks for nothing where no grant of the caller
// could match, so that nobody's call causes a look-up that cannot help it.
func (p *Policy) Wants(c *identity.Caller, pick string, r Request, now time.Time) Wants {
	op := p.own(r.Op)
	if c == nil || op == nil || op.Local || op.Refused != "" {
		return Wants{}
	}
	q, ok := p.query(r, now.Unix())
	if !ok {
		return Wants{}
	}
	m := p.member(c)
	_, granted := m.acting(pick)
	if op.List == catalog.ListOrgProjects {
		return m.wantsMember(p, op, &q, granted)
	}
	w, possible := m.wants(&q, granted)
	if op.List == catalog.ListBranches {
		for _, item := range p.items[op.List] {
			iq := query{bit: item.Index, effect: effectBit(item.Effect), kind: catalog.Project, target: r.Target, now: q.now}
			items, _ := m.wants(&iq, granted)
			w.merge(items)
		}
	}
	if possible && len(op.SecretBody) > 0 {
		for _, stand := range p.standsForSecrets(op) {
			sq := secretsQuery(stand, r.Target, q.now)
			secrets, _ := m.wants(&sq, granted)
			w.merge(secrets)
		}
	}
	w.tidy()
	return w
}

// wants returns the facts that could change how q is judged. possible is false where it is refused whatever they are.
func (m *membership) wants(q *query, granted *book) (w Wants, possible bool) {
	inside := m.within(q)
	if (!inside && !m.maybeWithin(q)) || m.knownDenied(q) {
		return Wants{}, false
	}
	if granted.allow.find(q) != nil {
		w.Any = q.kind == catalog.Branch || q.kind == catalog.Snippet
	} else {
		w.add(&granted.allow, q)
		w.add(&granted.trial, q)
		if w.None() {
			return Wants{}, false
		}
	}
	if !inside {
		w.project(q, false)
		w.Candidates = append(w.Candidates, m.projects...)
	}
	w.add(&m.rules.deny, q)
	w.add(&m.rules.tighter, q)
	return w, true
}

// maybeWithin reports whether an unknown fact could bring q within what the caller's token was limited to.
func (m *membership) maybeWithin(q *query) bool {
	u := q.unknown()
	return (m.ops == nil || m.ops.has(q.bit)) && (u.project || u.parent)
}

// add asks for the facts by which one of the rules could come to cover q.
func (w *Wants) add(r *rules, q *query) {
	r.possible(q, func(g *grant, byOrg bool) bool {
		if byOrg {
			w.Organization = true
			w.Organizations = append(w.Organizations, g.orgs.names...)
			return true
		}
		w.project(q, g.deny)
		w.Candidates = append(w.Candidates, g.projects.names...)
		return true
	})
}

// project asks which project it is, or whose branch.
func (w *Wants) project(q *query, ownRef bool) {
	switch q.kind {
	case catalog.Snippet:
		w.Project = w.Project || q.target.Project == ""
		w.Parent = true
	case catalog.Branch:
		w.Project = w.Project || (ownRef && q.target.Project == "")
		w.Parent = w.Parent || q.target.Parent == ""
	default:
		w.Parent = true
	}
}

// wantsMember asks for a project of the organization that the caller may read, where nothing else opens its list.
func (m *membership) wantsMember(p *Policy, op *catalog.Operation, q *query, granted *book) Wants {
	if v := m.judge(p, op, q, granted); v.deny != nil || v.allows() || q.target.Project != "" {
		return Wants{}
	}
	var w Wants
	for _, item := range p.items[op.List] {
		iq := p.itemQuery(item, op.List, q.target, q.now)
		if m.ops != nil && !m.ops.has(iq.bit) {
			continue
		}
		for _, g := range granted.allow.byProject.about(&iq) {
			if g.covers(&iq) {
				w.Candidates = append(w.Candidates, g.projects.names...)
			}
		}
	}
	if len(m.projects) > 0 {
		w.Candidates = slices.DeleteFunc(w.Candidates, func(ref string) bool { return !slices.Contains(m.projects, ref) })
	}
	w.Project = len(w.Candidates) > 0
	w.tidy()
	return w
}

func (w *Wants) merge(other Wants) {
	w.Project = w.Project || other.Project
	w.Parent = w.Parent || other.Parent
	w.Organization = w.Organization || other.Organization
	w.Candidates = append(w.Candidates, other.Candidates...)
	w.Organizations = append(w.Organizations, other.Organizations...)
}

func (w *Wants) tidy() {
	slices.Sort(w.Candidates)
	w.Candidates = slices.Compact(w.Candidates)
	slices.Sort(w.Organizations)
	w.Organizations = slices.Compact(w.Organizations)
}
