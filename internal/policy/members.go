package policy

import (
	"encoding/json"
	"slices"
	"strconv"

	"corp.example/gateway/internal/identity"
)

// memberIndex finds the teams of a caller without asking every team.
type memberIndex struct {
	groups map[string][]membershipRule
	emails map[string][]membershipRule
	claims map[string][]claimRule // by issuer
}

// membershipRule makes whoever has the group or address it is indexed under a member of team.
type membershipRule struct {
	issuer string // "": any
	team   *team
}

// claimRule makes a caller whose token has all the claims a member of team.
type claimRule struct {
	claims []claimPattern
	team   *team
}

// claimPattern is one claim and the values it may have.
type claimPattern struct {
	name   string
	values []glob
}

// membership is what a policy worked out from a caller. It is kept in Caller.Memo.
type membership struct {
	policy   *Policy
	teams    []*team // all of the caller's, in the order of the file
	usable   []*team // those it may act as: all, or the one its token is limited to
	rules    *book   // of teams: the denies in it hold whatever team is picked
	granted  *book   // of usable
	ops      bits    // what its token is limited to, nil for no limit
	projects []string
	limited  bool // its token is limited in any way
}

// member returns the caller's membership, remembered on the caller.
func (p *Policy) member(c *identity.Caller) *membership {
	if known, ok := c.Memo.Load().(*membership); ok && known.policy == p {
		return known
	}
	m := p.workOut(c)
	c.Memo.Store(m)
	return m
}

func (p *Policy) workOut(c *identity.Caller) *membership {
	m := &membership{policy: p}
	in := make(map[*team]bool)
	grantedBy := func(rules []membershipRule) {
		for _, r := range rules {
			if r.issuer == "" || r.issuer == c.Issuer {
				in[r.team] = true
			}
		}
	}
	for _, group := range c.Groups {
		grantedBy(p.members.groups[group]) // no member is the empty group
	}
	if c.Email != "" {
		grantedBy(p.members.emails[foldASCII(c.Email)])
	}
	if c.Issuer != "" {
		for _, r := range p.members.claims[c.Issuer] {
			if r.matches(c.Claims) {
				in[r.team] = true
			}
		}
	}
	for _, name := range c.Teams {
		if t := p.byName[name]; t != nil {
			in[t] = true
		}
	}
	for t := range in {
		m.teams = append(m.teams, t)
	}
	slices.SortFunc(m.teams, func(a, b *team) int { return a.index - b.index })
	p.limit(m, c.Limits)
	m.rules, m.granted = p.shelf.book(m.teams), p.shelf.book(m.usable)
	return m
}

// limit applies what a minted token gives up. Limits that name nothing known leave nothing.
func (p *Policy) limit(m *membership, l identity.Restriction) {
	m.usable, m.projects = m.teams, l.Projects
	m.limited = l.Team != "" || len(l.Scopes) > 0 || len(l.Projects) > 0
	if l.Team != "" {
		i := slices.IndexFunc(m.teams, func(t *team) bool { return t.name == l.Team })
		if i < 0 {
			m.usable = nil
		} else {
			m.usable = m.teams[i : i+1]
		}
	}
	if len(l.Scopes) > 0 {
		m.ops = newVocabulary(p.catalog).columns(what{scopes: l.Scopes, permissions: l.Scopes})
	}
}

// acting returns the teams the caller may act as for this call, the picked one or all it may use, and their rules.
func (m *membership) acting(pick string) ([]*team, *book) {
	if pick == "" {
		return m.usable, m.granted
	}
	for i, t := range m.usable {
		if t.name == pick {
			return m.usable[i : i+1], &t.book
		}
	}
	return nil, &book{}
}

func (r claimRule) matches(claims map[string]any) bool {
	for _, want := range r.claims {
		value, present := claims[want.name]
		if !present || !want.matches(value) {
			return false
		}
	}
	return true
}

// matches compares the claim's value, or any element of a list of values. Objects match nothing.
func (p claimPattern) matches(value any) bool {
	switch value := value.(type) {
	case []any:
		return slices.ContainsFunc(value, p.matchesOne)
	case []string:
		return slices.ContainsFunc(value, p.matchesText)
	default:
		return p.matchesOne(value)
	}
}

func (p claimPattern) matchesOne(value any) bool {
	switch value := value.(type) {
	case string:
		return p.matchesText(value)
	case bool:
		return p.matchesText(strconv.FormatBool(value))
	case json.Number:
		return p.matchesText(value.String())
	case float64:
		return p.matchesText(strconv.FormatFloat(value, 'f', -1, 64))
	default:
		return false
	}
}

// matchesText compares one text; a claim that is there but empty is as if it were not.
func (p claimPattern) matchesText(text string) bool {
	return text != "" && slices.ContainsFunc(p.values, func(g glob) bool { return g.matches(text) })
}

// Member reports whether the caller belongs to any team.
func (p *Policy) Member(c *identity.Caller) bool { return c != nil && len(p.member(c).teams) > 0 }

// Teams returns the names of the teams the caller may act as, in the order of the file.
func (p *Policy) Teams(c *identity.Caller) []string {
	if c == nil {
		return nil
	}
	return teamNames(p.member(c).usable)
}

// Admin reports whether the caller may administer the gateway: see everybody's audit, tokens and quota. A minted token
// that is limited in any way never may.
func (p *Policy) Admin(c *identity.Caller) bool {
	if c == nil {
		return false
	}
	m := p.member(c)
	return !m.limited && slices.ContainsFunc(m.teams, func(t *team) bool { return t.admin })
}

func teamNames(teams []*team) []string {
	names := make([]string, len(teams))
	for i, t := range teams {
		names[i] = t.name
	}
	return names
}
