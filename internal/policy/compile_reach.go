package policy

import (
	"fmt"
	"slices"
	"strings"

	"corp.example/gateway/internal/catalog"
)

// kinds are the kinds of operation that a grant's targets reach.
func (g *grant) reachesKind(kind catalog.Kind) bool {
	switch kind {
	case catalog.Account:
		return g.account
	case catalog.Organization:
		return !g.orgs.empty()
	case catalog.Branch:
		return g.branches && !(g.orgs.empty() && g.projects.empty())
	default:
		return !g.orgs.empty() || !g.projects.empty()
	}
}

// reaches reports whether some call exists that the grant covers.
func (v *vocabulary) reaches(g *grant) bool {
	return slices.ContainsFunc(v.ops, func(op *catalog.Operation) bool {
		whole, readOnly := v.reachesOp(g, op)
		return whole || readOnly
	})
}

// reachesOp reports whether the grant covers op, and the form of it that only reads, on some target.
func (v *vocabulary) reachesOp(g *grant, op *catalog.Operation) (whole, readOnly bool) {
	if !g.reachesKind(op.Target) {
		return false, false
	}
	whole = g.ops.has(op.Index) && g.effects&effectBit(op.Effect) != 0
	readOnly = g.ops.has(len(v.ops)+op.Index) && g.effects&effectBit(catalog.Read) != 0
	return whole, readOnly
}

// whyNothing explains a grant that reaches nothing by the operation that comes nearest.
func (v *vocabulary) whyNothing(g *grant, w what) string {
	var elsewhere *catalog.Operation
	for _, op := range v.ops {
		if !g.ops.has(op.Index) && !g.ops.has(len(v.ops)+op.Index) {
			continue
		}
		if g.reachesKind(op.Target) {
			return fmt.Sprintf("%s is %s, and the grant is only about %s", op.ID, op.Effect, g.said.effectText())
		}
		if elsewhere == nil {
			elsewhere = op
		}
	}
	if elsewhere != nil {
		return fmt.Sprintf("%s is about %s%s", elsewhere.ID, kindText(elsewhere.Target), remedy(elsewhere))
	}
	held := expand(w.permissions, v.perms)
	for _, op := range v.ops {
		for _, set := range op.Needs(op.Effect).Permissions {
			if len(set) > 1 && slices.ContainsFunc(set, func(p string) bool { return held[p] }) {
				return fmt.Sprintf("%s needs %s together", op.ID, strings.Join(set, " and "))
			}
		}
	}
	return "no operation needs what it names"
}

func kindText(kind catalog.Kind) string {
	switch kind {
	case catalog.Account:
		return "no project or organization"
	case catalog.Organization:
		return "an organization"
	case catalog.Branch:
		return "a branch"
	case catalog.Snippet:
		return "a snippet of a project"
	default:
		return "a project"
	}
}

func remedy(op *catalog.Operation) string {
	switch kind := op.Target; {
	case op.List != catalog.NotAList:
		return ", and open anyway to whoever may read one of its items"
	case kind == catalog.Account:
		return ": add account: true"
	case kind == catalog.Organization:
		return ": add organizations"
	case kind == catalog.Branch:
		return ": add branches: true"
	default:
		return ": add projects or organizations"
	}
}

func (d *grantDoc) effectText() string {
	words := make([]string, len(d.Effects))
	for i, e := range d.Effects {
		words[i] = e.String()
	}
	return strings.Join(words, ", ")
}

// contradictions faults the allow grants that a deny of the same team takes back whole.
func (c *compiler) contradictions(t *team) {
	for _, list := range []*rules{&t.allow, &t.trial} {
		for _, allow := range list.all {
			for _, deny := range t.deny.all {
				if c.words.takesBack(deny, allow) {
					c.fault(allow.path, "this grant contradicts %s, which takes all of it back: remove one", deny.rule)
				}
			}
		}
	}
}

// takesBack reports whether deny covers every call that allow covers, as long as allow lasts.
func (v *vocabulary) takesBack(deny, allow *grant) bool {
	if deny.until != 0 && (allow.until == 0 || allow.until > deny.until) {
		return false
	}
	for _, op := range v.ops {
		whole, readOnly := v.reachesOp(allow, op)
		if !whole && !readOnly {
			continue
		}
		deniesWhole := deny.ops.has(op.Index) && deny.effects&effectBit(op.Effect) != 0
		deniesRead := deny.ops.has(len(v.ops)+op.Index) && deny.effects&effectBit(catalog.Read) != 0
		if (whole && !deniesWhole) || (readOnly && !deniesRead) || !deny.spans(allow, op.Target) {
			return false
		}
	}
	return true
}

// spans reports whether deny's targets include all of allow's for operations of a kind.
func (deny *grant) spans(allow *grant, kind catalog.Kind) bool {
	orgs := allow.orgs.empty() || deny.orgs.includes(allow.orgs)
	switch kind {
	case catalog.Account:
		return deny.account
	case catalog.Organization:
		return orgs
	case catalog.Branch:
		if !deny.branches {
			return false
		}
	case catalog.Project, catalog.Snippet:
		// The branches an allow adds to its projects are not among a deny's without branches.
		if allow.branches && !deny.branches && !deny.projects.all && !deny.orgs.all {
			return false
		}
	}
	if deny.projects.all || deny.orgs.all {
		return true
	}
	return orgs && (allow.projects.empty() || deny.projects.includes(allow.projects))
}

// includes reports whether every target of other is one of s.
func (s scopeList) includes(other scopeList) bool {
	if s.all || other.all {
		return s.all
	}
	return !slices.ContainsFunc(other.names, func(name string) bool { return !slices.Contains(s.names, name) })
}
