package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/identity"
)

// Explanation is a decision with the way that led to it.
type Explanation struct {
	Decision Decision
	Effect   string   // what the call does: read, write or destructive
	Needs    []string // the scope and the permission sets, each enough by itself
	Teams    []string // all of the caller's
	Judged   []string // those it acts as here
	Steps    []Step   // every rule of theirs that concerns the operation or the target, in the order of the file
}

// Step is what one rule had to say.
type Step struct {
	Rule  string
	Deny  bool
	Trial bool // marked shadow: not in force
	Says  string
}

// Explain judges like Decide and tells what each rule had to say.
func (p *Policy) Explain(c *identity.Caller, pick string, r Request, now time.Time) Explanation {
	e := Explanation{Decision: p.Decide(c, pick, r, now)}
	q, ok := p.query(r, now.Unix())
	if c == nil || !ok {
		return e
	}
	m := p.member(c)
	teams, _ := m.acting(pick)
	e.Teams, e.Judged, e.Effect = teamNames(m.teams), teamNames(teams), q.effect.String()
	e.Needs = refused{op: p.own(r.Op), query: &q}.missingRights()
	for _, t := range m.teams {
		if slices.Contains(teams, t) {
			e.steps(&t.allow, &q, false)
			e.steps(&t.trial, &q, true)
		}
		e.steps(&t.deny, &q, false)
		e.steps(&t.tighter, &q, true)
	}
	return e
}

func (e *Explanation) steps(r *rules, q *query, trial bool) {
	timeless, anyEffect := *q, *q
	timeless.now, anyEffect.now = minTime, minTime
	for _, g := range r.all {
		anyEffect.effect = g.effects
		here, does := g.about(q), g.covers(&anyEffect)
		says := ""
		switch {
		case e.Decision.Allow && g.rule == e.Decision.Rule && !(here && g.covers(q)):
			says = "opens the list, which shows only what the caller may read"
		case here && g.covers(q):
			says = "covers the call"
		case here && g.covers(&timeless):
			says = "covered the call until it ended at " + g.ends()
		case here && does:
			says = "covers the operation there, but only what is " + g.said.effectText()
		case here:
			says = "is about the target, but not about the operation"
		case does:
			says = "is about the operation, but not about the target"
		default:
			continue
		}
		e.Steps = append(e.Steps, Step{Rule: g.rule, Deny: g.deny, Trial: trial, Says: says})
	}
}

// String is the explanation for a terminal: the decision first, then the rules.
func (e Explanation) String() string {
	var b strings.Builder
	d := e.Decision
	answer := "deny"
	if d.Allow {
		answer = "allow"
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s%s\n", name, value)
		}
	}
	line("decision", answer)
	line("team", d.Team)
	line("rule", d.Rule)
	line("reason", d.Reason)
	line("missing", strings.Join(d.Missing, ", "))
	line("effect", e.Effect)
	line("needs", strings.Join(e.Needs, " or "))
	line("teams", strings.Join(e.Teams, ", "))
	if d.Shadow.Changes() {
		line("shadow", fmt.Sprintf("%s would decide otherwise", d.Shadow.Rule))
	}
	for _, s := range e.Steps {
		kind := "allow"
		if s.Deny {
			kind = "deny"
		}
		if s.Trial {
			kind = "shadow " + kind
		}
		fmt.Fprintf(&b, "  %s (%s) %s\n", s.Rule, kind, s.Says)
	}
	return b.String()
}
