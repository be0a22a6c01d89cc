package policy

import (
	"slices"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
)

// Decide judges one request. pick is the team the caller asked to act as (X-Gateway-Team), "" for any: then the first of
// its teams that allows the call is chosen. now is compared with the ends of grants.
func (p *Policy) Decide(c *identity.Caller, pick string, r Request, now time.Time) Decision {
	if c == nil {
		return Decision{Weight: 1, Reason: "Nobody is known behind this request."}
	}
	m := p.member(c)
	op := p.own(r.Op)
	teams, granted := m.acting(pick)
	switch {
	case op == nil:
		return Decision{Weight: 1, Reason: "The operation is not in the catalogue this policy was compiled for."}
	case op.Refused != "":
		return Decision{Weight: 1, Rule: ruleRefused, Reason: op.Refused}
	case pick != "" && len(teams) == 0:
		return p.foreignTeam(c, m, pick)
	case op.Local:
		return Decision{Allow: true, Weight: 1, Team: only(teams), Rule: ruleLocal}
	}
	q, ok := p.query(r, now.Unix())
	if !ok {
		return Decision{Weight: 1, Reason: "The catalogue does not say what the operation does."}
	}
	v := m.judge(p, op, &q, granted)
	var d Decision
	if v.allows() {
		d = Decision{Allow: true, Team: v.allow.team.name, Weight: v.allow.team.weight, Rule: v.allow.rule}
	} else {
		d = p.refusal(refused{caller: c, membership: m, op: op, query: &q, teams: teams, verdict: v})
	}
	if p.shadows {
		d.Shadow = m.shadow(&q, granted, v)
	}
	return d
}

// Rules that stand in no file.
const (
	ruleLocal   = "built in: the gateway answers this to every caller"
	ruleRefused = "built in: never forwarded"
	ruleToken   = "token: what it was limited to"
)

func only(teams []*team) string {
	if len(teams) == 1 {
		return teams[0].name
	}
	return ""
}

// verdict is what the rules say, before it is put into words. It allows when allow is set and nothing else is.
type verdict struct {
	deny    *grant // a deny that holds
	allow   *grant // a grant that covers the call
	beyond  bool   // the caller's token is limited to less
	suspect bool   // deny holds only because a fact is unknown
}

func (v verdict) allows() bool { return v.allow != nil && v.deny == nil && !v.beyond }

// judge asks the denies of all the caller's teams, then the allows of those it acts as.
func (m *membership) judge(p *Policy, op *catalog.Operation, q *query, granted *book) verdict {
	var v verdict
	v.deny, v.suspect = m.rules.deny.holds(q)
	v.allow = granted.allow.find(q)
	v.beyond = !m.within(q)
	if op.List != catalog.NotAList && (v.allow == nil || v.beyond) {
		if g := m.opens(p, op, q, granted); g != nil {
			v.allow, v.beyond = g, false
		}
	}
	return v
}

// within reports whether the caller's token is not limited to less than q. A token limited to projects reaches those and
// their branches, and nothing of an organization or the account.
func (m *membership) within(q *query) bool {
	if m.ops != nil && !m.ops.has(q.bit) {
		return false
	}
	if len(m.projects) == 0 {
		return true
	}
	switch q.kind {
	case catalog.Project, catalog.Snippet, catalog.Branch:
		t := &q.target
		return (t.Project != "" && q.kind != catalog.Branch && slices.Contains(m.projects, t.Project)) ||
			(t.Parent != "" && slices.Contains(m.projects, t.Parent))
	default:
		return false
	}
}

// shadow returns what the shadow rules would change: a shadow deny takes back what is allowed, a shadow grant gives what
// no grant gives. What a deny in force refuses stays refused.
func (m *membership) shadow(q *query, granted *book, v verdict) Shadow {
	if v.deny != nil || (v.beyond && v.allow != nil) {
		return Shadow{}
	}
	if g, _ := m.rules.tighter.holds(q); g != nil {
		if v.allows() {
			return Shadow{Rule: g.rule, Allow: false}
		}
		return Shadow{}
	}
	if v.allow != nil || !m.within(q) {
		return Shadow{}
	}
	if g := granted.trial.find(q); g != nil {
		return Shadow{Rule: g.rule, Allow: true}
	}
	return Shadow{}
}
