package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
)

// maxWeight bounds a team's share: with more, a team of weight 1 would wait longer than any deadline.
const maxWeight = 100

var (
	// A team's name is a metric label, a header value and part of a page's address.
	teamName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	setName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	// Upstream's own patterns of the two path parameters.
	projectRef       = regexp.MustCompile(`^[a-z]{20}$`)
	organizationSlug = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// compiler turns a document into a Policy and collects every fault on the way.
type compiler struct {
	source  *strictyaml.Source
	catalog *catalog.Catalog
	doc     *document
	words   *vocabulary
	faults  strictyaml.Faults
	grants  int // so far
	// covered keeps what words cover: most teams have the same few.
	covered map[string]bits
	// setFaults keeps a fault inside a named set from being told once for every use.
	setFaults map[string]bool
}

// adopt takes over the faults of the decoder.
func (c *compiler) adopt(err error) {
	var faults strictyaml.Faults
	switch {
	case errors.As(err, &faults):
		c.faults = append(c.faults, faults...)
	case err != nil:
		c.faults = append(c.faults, strictyaml.Fault{File: c.source.File(), Message: err.Error()})
	}
}

func (c *compiler) fault(path []any, format string, args ...any) {
	c.faults = append(c.faults, c.source.Fault(fmt.Sprintf(format, args...), path...))
}

// at returns a new path below path.
func at(path []any, more ...any) []any {
	return append(append(make([]any, 0, len(path)+len(more)), path...), more...)
}

func (c *compiler) policy(file string) *Policy {
	c.words = newVocabulary(c.catalog)
	c.setFaults = make(map[string]bool)
	c.covered = make(map[string]bits)
	p := &Policy{
		file:    file,
		contact: c.doc.Contact,
		catalog: c.catalog,
		ops:     c.words.ops,
		byName:  make(map[string]*team),
		members: memberIndex{groups: map[string][]membershipRule{}, emails: map[string][]membershipRule{}, claims: map[string][]claimRule{}},
		items:   itemOperations(c.catalog),
		secrets: secretOperations(c.catalog),
	}
	for name := range c.doc.Sets {
		if !setName.MatchString(name) {
			c.fault([]any{"sets", name}, "a set's name is letters, digits, - and _")
		}
	}
	for i := range c.doc.Teams {
		c.team(p, i)
	}
	slices.Sort(p.ends)
	return p
}

func (c *compiler) team(p *Policy, i int) {
	doc := &c.doc.Teams[i]
	path := []any{"teams", i}
	t := &team{index: i, name: doc.Name, contact: doc.Contact, weight: 1, admin: doc.Admin}
	switch {
	case doc.Name == "":
		c.fault(at(path, "name"), "a team needs a name")
	case !teamName.MatchString(doc.Name):
		c.fault(at(path, "name"), "%q is no team name: write up to 63 letters, digits, dots, - and _", doc.Name)
	case p.byName[doc.Name] != nil:
		c.fault(at(path, "name"), "team %q stands twice, first at line %d: put its members and grants together", doc.Name, c.source.Line("teams", p.byName[doc.Name].index))
	}
	if doc.Weight != nil {
		t.weight = *doc.Weight
		if t.weight < 1 || t.weight > maxWeight {
			c.fault(at(path, "weight"), "the weight is %d: write 1 to %d", t.weight, maxWeight)
		}
	}
	p.teams = append(p.teams, t)
	if p.byName[doc.Name] == nil {
		p.byName[doc.Name] = t
	}
	for j := range doc.Members {
		c.member(p, t, &doc.Members[j], at(path, "members", j))
	}
	for j := range doc.Allow {
		c.grant(p, t, &doc.Allow[j], false, at(path, "allow", j))
	}
	for j := range doc.Deny {
		c.grant(p, t, &doc.Deny[j], true, at(path, "deny", j))
	}
	c.contradictions(t)
}

// grant compiles one line of an allow or deny list and adds it to its team.
func (c *compiler) grant(p *Policy, t *team, doc *grantDoc, deny bool, path []any) {
	before := len(c.faults)
	c.grants++
	g := &grant{team: t, order: c.grants, path: path, deny: deny, branches: deny, account: doc.Account, effects: allEffects}
	g.rule = ruleName(c.source, path)
	g.said = *doc
	if doc.Branches != nil {
		g.branches = *doc.Branches
	}
	g.projects = c.targets(doc.Projects, projectRef, "project ref (20 lower-case letters)", at(path, "projects"))
	g.orgs = c.targets(doc.Organizations, organizationSlug, "organization slug", at(path, "organizations"))
	w := what{
		deny:        deny,
		scopes:      c.list(doc.Scopes, c.word("scope", c.words.scopes), at(path, "scopes")),
		permissions: c.list(doc.Permissions, c.word("permission", c.words.perms), at(path, "permissions")),
		operations:  c.list(doc.Operations, c.operation, at(path, "operations")),
	}
	g.said.Scopes, g.said.Permissions, g.said.Operations = w.scopes, w.permissions, w.operations
	c.effects(g, doc, path)
	c.until(g, doc, path)
	c.shape(g, doc, path)
	if len(c.faults) > before || slices.Contains(doc.Effects, 0) { // 0: an effect that could not be read, which was said
		return
	}
	if deny && len(w.scopes)+len(w.permissions)+len(w.operations) == 0 {
		w.operations = []string{"*"} // effects alone: everything that has them
	}
	g.ops = c.columns(w)
	if !c.words.reaches(g) {
		c.fault(path, "this grant can match nothing: %s", c.words.whyNothing(g, w))
		return
	}
	t.list(g, doc.Shadow).add(g)
	p.shadows = p.shadows || doc.Shadow
	if g.until != 0 {
		p.ends = append(p.ends, g.until)
	}
}

// columns returns the columns that w covers, whose words are known to be some. Grants of the same words share them.
func (c *compiler) columns(w what) bits {
	end := []string{"|"}
	key := strings.Join(slices.Concat(w.scopes, end, w.permissions, end, w.operations), " ")
	if w.deny {
		key = "deny " + key
	}
	covered, known := c.covered[key]
	if !known {
		covered = c.words.columns(w)
		c.covered[key] = covered
	}
	return covered
}

// list returns the list of the team that g belongs to.
func (t *team) list(g *grant, shadow bool) *rules {
	switch {
	case g.deny && shadow:
		return &t.tighter
	case g.deny:
		return &t.deny
	case shadow:
		return &t.trial
	default:
		return &t.allow
	}
}

// shape faults what a grant lacks or says to no effect.
func (c *compiler) shape(g *grant, doc *grantDoc, path []any) {
	nowhere := doc.Projects == nil && doc.Organizations == nil && !doc.Account
	if nowhere {
		c.fault(path, "this grant has no target: add projects, organizations or account: true")
	}
	if doc.Branches != nil && *doc.Branches && !nowhere && doc.Projects == nil && doc.Organizations == nil {
		c.fault(at(path, "branches"), "branches: true says nothing without projects or organizations")
	}
	nothing := doc.Scopes == nil && doc.Permissions == nil && doc.Operations == nil
	switch {
	case nothing && !g.deny:
		c.fault(path, "this grant allows nothing: add scopes, permissions or operations (effects only narrow them)")
	case nothing && doc.Effects == nil:
		c.fault(path, "this deny names nothing: add scopes, permissions, operations or effects")
	}
}

func (c *compiler) effects(g *grant, doc *grantDoc, path []any) {
	if doc.Effects == nil {
		if c.source.Has(at(path, "effects")...) {
			c.fault(at(path, "effects"), "the key has no value: leave it out for all effects")
		}
		return
	}
	g.effects = 0
	for i, e := range doc.Effects {
		if g.effects&effectBit(e) != 0 {
			c.fault(at(path, "effects", i), "%s stands twice", e)
		}
		g.effects |= effectBit(e)
	}
	if len(doc.Effects) == 0 {
		c.fault(at(path, "effects"), "the list is empty: leave the key out for all effects")
	}
}

func (c *compiler) until(g *grant, doc *grantDoc, path []any) {
	if doc.Until == "" {
		if c.source.Has(at(path, "until")...) {
			c.fault(at(path, "until"), "%s", untilForm)
		}
		return
	}
	end, err := parseTime(doc.Until)
	if err != nil {
		c.fault(at(path, "until"), "%q is no time: %s", doc.Until, untilForm)
		return
	}
	g.until = end.Unix()
}

const untilForm = "write it as 2026-12-31T00:00Z, with its zone"

// parseTime reads a time with its zone. A date alone would leave open where the day ends.
func parseTime(text string) (time.Time, error) {
	if parsed, err := time.Parse("2006-01-02T15:04Z07:00", text); err == nil {
		return parsed, nil
	}
	return time.Parse(time.RFC3339, text)
}

func ruleName(source *strictyaml.Source, path []any) string {
	f := source.Fault("", path...)
	return fmt.Sprintf("%s:%d %s", filepath.Base(f.File), f.Line, f.Key)
}
