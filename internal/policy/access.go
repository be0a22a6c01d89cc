package policy

import (
	"slices"
	"time"

	"corp.example/gateway/internal/identity"
)

// Access is everything a caller may do, for people and for /-/api/access.
type Access struct {
	Policy string       `json:"policy"` // version of the policy
	Admin  bool         `json:"admin"`
	Teams  []TeamAccess `json:"teams"`
	// Limits is what the caller's token was limited to, on top of what its teams may do; nil for no limit.
	Limits *identity.Restriction `json:"limits,omitempty"`
}

// TeamAccess is what one team may do.
type TeamAccess struct {
	Name    string  `json:"name"`
	Contact string  `json:"contact,omitempty"` // whom to ask for more
	Weight  int     `json:"weight"`
	Acting  bool    `json:"acting"` // false where the token is limited to another team: then only its denies hold
	Allow   []Grant `json:"allow,omitempty"`
	Deny    []Grant `json:"deny,omitempty"`
}

// Grant is one rule as written, with its sets expanded and the operations it comes to.
type Grant struct {
	Rule          string     `json:"rule"`
	Projects      []string   `json:"projects,omitempty"`
	Organizations []string   `json:"organizations,omitempty"`
	Account       bool       `json:"account,omitempty"`
	Branches      bool       `json:"branches,omitempty"`
	Scopes        []string   `json:"scopes,omitempty"`
	Permissions   []string   `json:"permissions,omitempty"`
	Effects       []string   `json:"effects,omitempty"`
	Until         *time.Time `json:"until,omitempty"`
	Shadow        bool       `json:"shadow,omitempty"` // tried only, not in force
	Operations    []string   `json:"operations"`       // all it covers, by id, for a call that the catalogue lists
}

// Access returns everything the caller may do. Grants that have ended by now are left out.
func (p *Policy) Access(c *identity.Caller, now time.Time) Access {
	a := Access{Policy: p.version, Teams: []TeamAccess{}}
	if c == nil {
		return a
	}
	m := p.member(c)
	a.Admin = p.Admin(c)
	if m.limited {
		limits := c.Limits
		a.Limits = &limits
	}
	for _, t := range m.teams {
		ta := TeamAccess{Name: t.name, Contact: p.contactOf(t), Weight: t.weight, Acting: slices.Contains(m.usable, t)}
		if ta.Acting {
			ta.Allow = append(p.shown(&t.allow, false, now), p.shown(&t.trial, true, now)...)
		}
		ta.Deny = append(p.shown(&t.deny, false, now), p.shown(&t.tighter, true, now)...)
		a.Teams = append(a.Teams, ta)
	}
	return a
}

func (p *Policy) shown(r *rules, shadow bool, now time.Time) []Grant {
	var grants []Grant
	for _, g := range r.all {
		if g.until != 0 && now.Unix() >= g.until {
			continue
		}
		shown := Grant{
			Rule: g.rule, Account: g.account, Branches: g.branches && !(g.projects.empty() && g.orgs.empty()), Shadow: shadow,
			Projects: g.projects.shown(), Organizations: g.orgs.shown(),
			Scopes: g.said.Scopes, Permissions: g.said.Permissions, Operations: []string{},
		}
		for _, e := range g.said.Effects {
			shown.Effects = append(shown.Effects, e.String())
		}
		if g.until != 0 {
			end := time.Unix(g.until, 0).UTC()
			shown.Until = &end
		}
		v := vocabulary{ops: p.ops}
		for _, op := range p.ops {
			if whole, readOnly := v.reachesOp(g, op); whole || readOnly {
				shown.Operations = append(shown.Operations, op.ID)
			}
		}
		grants = append(grants, shown)
	}
	return grants
}

func (s scopeList) shown() []string {
	if s.all {
		return []string{"*"}
	}
	return slices.Clone(s.names)
}
