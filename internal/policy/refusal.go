package policy

import (
	"fmt"
	"slices"
	"strings"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
)

// refused is everything that is known about a call that is not allowed.
type refused struct {
	caller     *identity.Caller
	membership *membership
	op         *catalog.Operation
	query      *query
	teams      []*team // those judged
	verdict    verdict
}

// refusal puts a refused call into words: the operation, the target, the team, what is missing and whom to ask.
func (p *Policy) refusal(r refused) Decision {
	d := Decision{Weight: 1, Team: only(r.teams)}
	switch {
	case r.verdict.deny != nil:
		d.Rule, d.Missing = r.verdict.deny.rule, []string{"operation:" + r.op.ID}
		d.Reason = r.denied()
	case r.verdict.beyond && r.verdict.allow != nil:
		d.Rule, d.Team = ruleToken, r.verdict.allow.team.name
		d.Missing = r.beyondToken()
		d.Reason = fmt.Sprintf("Team %s may %s, but this token was limited to less. Use a token without that limit.", r.verdict.allow.team.name, r.act())
		return d
	case len(r.teams) == 0:
		d.Missing = append(r.missingRights(), r.missingTarget()...)
		d.Reason = r.stranger()
	default:
		d.Missing, d.Reason = r.uncovered()
	}
	if contact := p.contactOf(r.teams...); contact != "" {
		d.Reason += " Ask " + strings.TrimRight(contact, ".") + "."
	}
	return d
}

// foreignTeam refuses a team that is not the caller's, in the same words whether or not it exists.
func (p *Policy) foreignTeam(c *identity.Caller, m *membership, pick string) Decision {
	reason := fmt.Sprintf("X-Gateway-Team names %q, which is none of your teams.", shorten(pick))
	switch {
	case c.Limits.Team != "":
		reason = fmt.Sprintf("X-Gateway-Team names %q, but this token is limited to team %q.", shorten(pick), c.Limits.Team)
	case len(m.usable) > 0:
		reason += " Yours: " + strings.Join(teamNames(m.usable), ", ") + "."
	}
	return Decision{Weight: 1, Reason: reason, Missing: []string{"team:" + shorten(pick)}}
}

// shorten bounds what of a header is said back.
func shorten(text string) string {
	const most = 64 // no team's name is longer
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// contactOf returns whom to ask: the first of the teams that says so, else the policy.
func (p *Policy) contactOf(teams ...*team) string {
	for _, t := range teams {
		if t.contact != "" {
			return t.contact
		}
	}
	return p.contact
}

// subject begins a sentence about the judged teams: "Team payments may not", "None of your teams (a, b) may".
func (r refused) subject() string {
	if len(r.teams) == 1 {
		return "Team " + r.teams[0].name + " may not"
	}
	return "None of your teams (" + strings.Join(teamNames(r.teams), ", ") + ") may"
}

// act names the operation, its effect and its target: "do v1-get-project (read) on project abc…".
func (r refused) act() string {
	return fmt.Sprintf("do %s (%s)%s", r.op.ID, r.query.effect, r.on())
}

func (r refused) on() string {
	t := r.query.target
	switch {
	case r.query.kind == catalog.Organization && t.Organization != "":
		return " on organization " + t.Organization
	case r.query.kind == catalog.Branch && t.Parent != "":
		return " on a branch of project " + t.Parent
	case r.query.kind == catalog.Branch:
		return " on this branch"
	case r.query.kind == catalog.Snippet && t.Project == "":
		return " on this snippet"
	case r.query.kind != catalog.Account && t.Project != "":
		return " on project " + t.Project
	default:
		return ""
	}
}

func (e effects) String() string {
	for _, known := range []catalog.Effect{catalog.Read, catalog.Write, catalog.Destructive} {
		if e == effectBit(known) {
			return known.String()
		}
	}
	return "several effects"
}

func (r refused) denied() string {
	g := r.verdict.deny
	reason := fmt.Sprintf("Team %s is denied to %s by %s.", g.team.name, r.act(), g.rule)
	if r.verdict.suspect {
		reason += " The rule names other targets, but it is not known that this one is not among them."
	}
	return reason
}

func (r refused) stranger() string {
	if limit := r.caller.Limits.Team; limit != "" {
		return fmt.Sprintf("This token is limited to team %q, to which its owner does not belong, so it may not %s.", limit, r.act())
	}
	return fmt.Sprintf("You belong to no team of this gateway, so you may not %s.", r.act())
}

// missingRights lists what would cover the operation: its scope and its permission sets, each enough by itself.
func (r refused) missingRights() []string {
	needs := r.op.Needs(r.needsEffect())
	var missing []string
	if needs.Scope != "" {
		missing = append(missing, needs.Scope)
	}
	for _, set := range needs.Permissions {
		missing = append(missing, strings.Join(set, "+"))
	}
	if len(missing) == 0 {
		missing = append(missing, "operation:"+r.op.ID)
	}
	return missing
}

func (r refused) needsEffect() catalog.Effect {
	if r.query.effect == effectBit(catalog.Read) {
		return catalog.Read
	}
	return r.op.Effect
}

// missingTarget names the target a grant would have to name.
func (r refused) missingTarget() []string {
	t := r.query.target
	switch r.query.kind {
	case catalog.Account:
		return []string{"account"}
	case catalog.Organization:
		return []string{"organization" + colon(t.Organization)}
	case catalog.Branch:
		return []string{"branches" + colon(t.Parent)}
	default:
		return []string{"project" + colon(t.Project)}
	}
}

// colon puts a name behind the kind of target it is of, nothing where the name is unknown.
func colon(name string) string {
	if name == "" {
		return ""
	}
	return ":" + name
}

func (r refused) beyondToken() []string {
	m := r.membership
	if m.ops != nil && !m.ops.has(r.query.bit) {
		return r.missingRights()
	}
	return r.missingTarget()
}

// uncovered finds how near the judged teams' grants come to the call, and says what lacks.
func (r refused) uncovered() (missing []string, reason string) {
	near := r.nearest()
	reason = r.subject() + " " + r.act()
	rights := r.missingRights()
	switch {
	case near.ended != nil:
		return append(rights, r.missingTarget()...), fmt.Sprintf("%s: its grant %s ended at %s.", reason, near.ended.rule, near.ended.ends())
	case near.effect != nil:
		return []string{"effect:" + r.query.effect.String()}, fmt.Sprintf("%s: its grant %s is only about what is %s.", reason, near.effect.rule, near.effect.said.effectText())
	case near.elsewhere != nil:
		return r.missingTarget(), fmt.Sprintf("%s: the operation is granted, but not there.", reason)
	case near.target:
		return rights, fmt.Sprintf("%s: it needs %s there.", reason, alternatives(rights))
	default:
		return append(rights, r.missingTarget()...), fmt.Sprintf("%s: no grant is about that target, and it needs %s there.", reason, alternatives(rights))
	}
}

func alternatives(rights []string) string {
	words := make([]string, len(rights))
	for i, right := range rights {
		words[i] = strings.ReplaceAll(right, "+", " and ")
	}
	return strings.Join(words, " or ")
}

// nearness is the best that the judged teams' grants have for a call none of them covers.
type nearness struct {
	ended     *grant // covered it until it ended
	effect    *grant // covers the operation there, but not this effect
	elsewhere *grant // covers the operation, on other targets
	target    bool   // some grant is about the target
}

func (r refused) nearest() nearness {
	var n nearness
	for _, t := range r.teams {
		for _, g := range t.allow.all {
			timeless, anyEffect := *r.query, *r.query
			timeless.now, anyEffect.effect, anyEffect.now = minTime, g.effects, minTime
			here := g.about(r.query)
			n.target = n.target || here
			switch {
			case here && n.ended == nil && g.covers(&timeless):
				n.ended = g
			case here && n.effect == nil && g.covers(&anyEffect):
				n.effect = g
			case !here && n.elsewhere == nil && g.covers(r.query):
				n.elsewhere = g
			}
		}
	}
	return n
}

// minTime is before the end of any grant.
const minTime = -1 << 62

// about reports whether the grant's targets include q's.
func (g *grant) about(q *query) bool {
	t := &q.target
	byOrg := g.orgs.all || (t.Organization != "" && slices.Contains(g.orgs.names, t.Organization))
	byParent := g.branches && t.Parent != "" && slices.Contains(g.projects.names, t.Parent)
	switch q.kind {
	case catalog.Account:
		return g.account
	case catalog.Organization:
		return byOrg
	case catalog.Branch:
		return byParent || (g.branches && (g.projects.all || byOrg))
	default:
		return g.projects.all || byOrg || byParent || slices.Contains(g.projects.names, t.Project)
	}
}
