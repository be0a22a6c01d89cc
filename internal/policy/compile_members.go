package policy

import (
	"maps"
	"net/mail"
	"slices"
	"strings"

	"corp.example/gateway/internal/strictyaml"
)

// namedIssuer is an issuer that a member names, and where: a fault that lacks its message. The file itself is not kept.
type namedIssuer struct {
	issuer string
	place  strictyaml.Fault
}

// member compiles one line of a team's members: a group, an address or claims.
func (c *compiler) member(p *Policy, t *team, doc *memberDoc, path []any) {
	forms := 0
	for _, key := range []string{"group", "email", "claims"} {
		if c.source.Has(at(path, key)...) {
			forms++
		}
	}
	if forms != 1 {
		c.fault(path, "a member is one of {group: …}, {email: …} and {issuer: …, claims: {…}}, the first two with an issuer if you like")
		return
	}
	if doc.Issuer != "" {
		p.named = append(p.named, namedIssuer{doc.Issuer, c.source.Fault("", at(path, "issuer")...)})
	} else if c.source.Has(at(path, "issuer")...) {
		c.fault(at(path, "issuer"), "the issuer is empty: name one or remove the key")
	}
	rule := membershipRule{issuer: doc.Issuer, team: t}
	switch {
	case c.source.Has(at(path, "group")...):
		if strings.TrimSpace(doc.Group) == "" {
			c.fault(at(path, "group"), "the group is empty")
			return
		}
		c.join(p.members.groups, doc.Group, rule, path)
	case c.source.Has(at(path, "email")...):
		if !plainAddress(doc.Email) {
			c.fault(at(path, "email"), "%q is no e-mail address", doc.Email)
			return
		}
		c.join(p.members.emails, foldASCII(doc.Email), rule, path)
	default:
		c.claimsMember(p, t, doc, path)
	}
}

// join indexes a membership rule, unless the team already has it.
func (c *compiler) join(in map[string][]membershipRule, key string, rule membershipRule, path []any) {
	for _, other := range in[key] {
		if other.team == rule.team && (other.issuer == rule.issuer || other.issuer == "") {
			c.fault(path, "%q is a member of %s already", key, rule.team.name)
			return
		}
	}
	in[key] = append(in[key], rule)
}

// plainAddress reports whether text is an address and nothing more: no name, no comment, one @, no space.
func plainAddress(text string) bool {
	parsed, err := mail.ParseAddress(text)
	return err == nil && parsed.Address == text && strings.Count(text, "@") == 1 && !strings.ContainsAny(text, " \t\"<>")
}

func (c *compiler) claimsMember(p *Policy, t *team, doc *memberDoc, path []any) {
	if doc.Issuer == "" {
		c.fault(path, "claims need an issuer: what another issuer says under the same name is another matter")
		return
	}
	if len(doc.Claims) == 0 {
		c.fault(at(path, "claims"), "name at least one claim")
		return
	}
	rule := claimRule{team: t}
	pinned := false
	for _, name := range slices.Sorted(maps.Keys(doc.Claims)) {
		values := doc.Claims[name]
		if len(values) == 0 {
			c.fault(at(path, "claims", name), "name at least one value")
		}
		pattern := claimPattern{name: name}
		allPinned := true
		for _, value := range values {
			if value == "" {
				c.fault(at(path, "claims", name), "the value is empty")
			}
			pattern.values = append(pattern.values, glob(value))
			allPinned = allPinned && !glob(value).wild()
		}
		pinned = pinned || allPinned
		rule.claims = append(rule.claims, pattern)
	}
	if !pinned {
		c.fault(at(path, "claims"), "every claim begins with a wildcard, which lets in whoever %s issues tokens for: give one claim a value, or a pattern that begins with one", doc.Issuer)
		return
	}
	p.members.claims[doc.Issuer] = append(p.members.claims[doc.Issuer], rule)
}
