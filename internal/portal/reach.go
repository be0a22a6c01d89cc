package portal

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/policy"
)

// reachTime is how long a page looks up what rights may depend on, such as the organization that a project is in. The
// names that the page shows come from lists that mostly say it, so nobody need be asked.
const reachTime = 2 * time.Second

// reach is what the visitor may do with one project or organization.
type reach struct {
	named
	Kind       string           // project or organization
	May        map[string]int   // how many operations, by effect: read, write, destructive
	AtLeast    bool             // not all that the rights depend on could be found out now
	Operations []operationReach // all there are about such a thing, by effect
}

// operationReach is whether one of them may be used.
type operationReach struct {
	ID, Effect, Method, Path string
	Allow                    bool
}

// effects are the words of catalog.Effect in the order people are told them.
var effects = [...]string{catalog.Read.String(), catalog.Write.String(), catalog.Destructive.String()}

// Text says how much of each kind there is: "49 of 60 read, all 31 write".
func (r reach) Text() string {
	all, allowed := map[string]int{}, len(r.Allowed())
	for _, op := range r.Operations {
		all[op.Effect]++
	}
	var parts []string
	for _, effect := range effects {
		switch n := r.May[effect]; n {
		case 0:
		case all[effect]:
			parts = append(parts, fmt.Sprintf("all %d %s", n, effect))
		default:
			parts = append(parts, fmt.Sprintf("%d of %d %s", n, all[effect], effect))
		}
	}
	switch {
	case allowed == 0 && r.AtLeast:
		return "not known at the moment"
	case allowed == 0:
		return "nothing"
	case allowed == len(r.Operations):
		return "everything"
	case r.AtLeast:
		return "at least " + strings.Join(parts, ", ")
	default:
		return strings.Join(parts, ", ")
	}
}

// Allowed and Refused are the operations of either kind.
func (r reach) Allowed() []operationReach { return r.which(true) }

// Refused are those that may not be used.
func (r reach) Refused() []operationReach { return r.which(false) }

func (r reach) which(allow bool) (some []operationReach) {
	for _, op := range r.Operations {
		if op.Allow == allow {
			some = append(some, op)
		}
	}
	return some
}

// surveyor finds out what one visitor may do with things, within one time for all of them.
type surveyor struct {
	portal *Portal
	visit  *visit
	ctx    context.Context
	done   context.CancelFunc
}

func (p *Portal) survey(v *visit) *surveyor {
	ctx, done := context.WithTimeout(v.r.Context(), reachTime)
	return &surveyor{p, v, ctx, done}
}

// all returns the reach of every project and organization the visitor sees by name, and of those that grants name.
func (s *surveyor) all(known names, access policy.Access) (organizations, projects []reach) {
	for _, one := range withGranted(known.Organizations(), access, func(g policy.Grant) []string { return g.Organizations }) {
		organizations = append(organizations, s.of(catalog.Organization, one))
	}
	for _, one := range withGranted(known.Projects(), access, func(g policy.Grant) []string { return g.Projects }) {
		projects = append(projects, s.of(catalog.Project, one))
	}
	return organizations, projects
}

// withGranted adds to what is seen by name, up to a number, what grants name.
func withGranted(seen []named, access policy.Access, of func(policy.Grant) []string) []named {
	list := slices.Clone(seen)
	for _, team := range access.Teams {
		for _, grant := range team.Allow {
			for _, id := range of(grant) {
				if id != "*" && !slices.ContainsFunc(list, func(n named) bool { return n.ID == id }) {
					list = append(list, named{ID: id})
				}
			}
		}
	}
	return list[:min(len(list), maxNamed)]
}

// of asks the policy about each operation there is for such a thing.
func (s *surveyor) of(kind catalog.Kind, one named) reach {
	v := s.visit
	r := reach{named: one, Kind: kindOf(kind), May: map[string]int{}}
	facts := map[string]policy.Target{} // by what was wanted: operations have that in common
	for _, op := range s.portal.config.Catalog.Operations() {
		if op.Target != kind || op.Refused != "" {
			continue
		}
		target, sure := s.factsFor(op, catalog.Target{Kind: kind, ID: one.ID}, facts)
		r.AtLeast = r.AtLeast || !sure
		request := policy.Request{Op: op, Target: target}
		about := operationReach{op.ID, op.Effect.String(), op.Method, op.Path, v.rules.Decide(v.caller, "", request, v.now).Allow}
		if about.Allow {
			r.May[about.Effect]++
		}
		r.Operations = append(r.Operations, about)
	}
	slices.SortStableFunc(r.Operations, func(a, b operationReach) int {
		return cmp.Compare(slices.Index(effects[:], a.Effect), slices.Index(effects[:], b.Effect))
	})
	return r
}

// factsFor is what the policy must know of a target to decide about an operation, and whether that could be found out.
func (s *surveyor) factsFor(op *catalog.Operation, about catalog.Target, facts map[string]policy.Target) (target policy.Target, sure bool) {
	v, resolve := s.visit, s.portal.config.Resolve
	target = targetOf(about)
	wants := v.rules.Wants(v.caller, "", policy.Request{Op: op, Target: target}, v.now)
	if wants.None() {
		return target, true
	}
	key := fmt.Sprint(wants)
	if found, known := facts[key]; known {
		return found, true
	}
	if resolve == nil || s.ctx.Err() != nil {
		return target, false
	}
	found, err := resolve(s.ctx, v.caller, "", &catalog.Call{Op: op, Target: about})
	if err != nil {
		s.done() // upstream is in trouble, and asking it more would only wait
		return target, false
	}
	facts[key] = found
	return found, true
}

// asked is the reach of the one thing that the address names, nil where it names none. Whether there is such a thing makes no
// difference to the answer.
func (s *surveyor) asked(known names) *reach {
	for _, kind := range []catalog.Kind{catalog.Project, catalog.Organization} {
		id := s.visit.r.URL.Query().Get(kind.String())
		call, err := s.portal.config.Catalog.Parse(http.MethodGet, "/v1/"+kind.String()+"s/"+id)
		if err == nil && id != "" && call.Target.ID == id {
			found := s.of(kind, named{id, known.Scope(kind.String() + ":" + id)})
			return &found
		}
	}
	return nil
}
