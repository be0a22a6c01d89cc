package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// runTests runs the policy's own tests. A failing one is a fault like any other.
func (c *compiler) runTests(p *Policy) {
	for i := range c.doc.Tests {
		c.runTest(p, &c.doc.Tests[i], []any{"tests", i})
	}
}

func (c *compiler) runTest(p *Policy, doc *testDoc, path []any) {
	before := len(c.faults)
	caller := c.testCaller(p, &doc.As, at(path, "as"))
	request := c.testRequest(doc, path)
	now := time.Time{} // before any grant ends: a file that loaded yesterday loads today
	if doc.At != "" {
		parsed, err := parseTime(doc.At)
		if err != nil {
			c.fault(at(path, "at"), "%q is no time: %s", doc.At, untilForm)
		}
		now = parsed
	}
	if doc.Want != "allow" && doc.Want != "deny" {
		c.fault(at(path, "want"), "%q: write allow or deny", doc.Want)
	}
	if len(c.faults) > before {
		return
	}
	d := p.Decide(caller, doc.Team, request, now)
	if d.Allow == (doc.Want == "allow") {
		return
	}
	got, because := "deny", d.Reason
	if d.Allow {
		got, because = "allow", "by "+d.Rule
	}
	c.fault(path, "%s as %s: want %s, the policy says %s: %s", doc.Call, callerText(&doc.As), doc.Want, got, because)
}

// testCaller makes the caller a test describes.
func (c *compiler) testCaller(p *Policy, doc *asDoc, path []any) *identity.Caller {
	if doc.Claims != nil && doc.Issuer == "" {
		c.fault(path, "claims need an issuer")
	}
	caller := &identity.Caller{Kind: identity.Person, Issuer: doc.Issuer, Subject: "test", Email: doc.Email, Groups: doc.Group}
	if doc.Team != "" {
		if p.byName[doc.Team] == nil {
			c.fault(at(path, "team"), "unknown team %q%s", doc.Team, didYouMean(doc.Team, p.TeamNames()))
		}
		caller.Kind, caller.Teams = identity.Token, []string{doc.Team}
	}
	if len(doc.Claims) > 0 {
		caller.Kind, caller.Claims = identity.Workload, make(map[string]any, len(doc.Claims))
		for name, values := range doc.Claims {
			list := make([]any, len(values))
			for i, value := range values {
				list[i] = value
			}
			caller.Claims[name] = list
		}
	}
	return caller
}

// testRequest makes the request a test describes: its call, and the facts it gives.
func (c *compiler) testRequest(doc *testDoc, path []any) Request {
	method, uri, found := strings.Cut(doc.Call, " ")
	if !found {
		c.fault(at(path, "call"), "%q: write a method and a path, such as GET /v1/projects", doc.Call)
		return Request{}
	}
	call, err := c.catalog.Parse(method, strings.TrimSpace(uri))
	if err != nil {
		c.fault(at(path, "call"), "%q is no call: %s", doc.Call, problem.From(err).Message)
		return Request{}
	}
	r := Request{Op: call.Op, Effect: call.Op.Effect, Target: Named(call.Op, call.Target)}
	if doc.ReadOnly {
		if call.Op.ReadOnlyIf == "" {
			c.fault(at(path, "read_only"), "%s has no read-only form", call.Op.ID)
		}
		r.Effect = catalog.Read
	}
	for _, fact := range []struct {
		key, value string
		into       *string
	}{
		{"project", doc.Project, &r.Target.Project},
		{"parent", doc.Parent, &r.Target.Parent},
		{"organization", doc.Organization, &r.Target.Organization},
	} {
		if fact.value == "" {
			continue
		}
		if *fact.into != "" && *fact.into != fact.value {
			c.fault(at(path, fact.key), "the call itself names %s", *fact.into)
		}
		*fact.into = fact.value
	}
	r.Target.Branch = r.Target.Parent != ""
	r.Target.Resolved = true
	return r
}

// Named returns what a call's own path says of its target, before anything is looked up.
func Named(op *catalog.Operation, t catalog.Target) Target {
	named := Target{Kind: op.Target}
	switch t.Kind {
	case catalog.Project:
		named.Project = t.ID
	case catalog.Organization:
		named.Organization = t.ID
	case catalog.Branch:
		if projectRef.MatchString(t.ID) {
			named.Project = t.ID // the newer form names the branch's own project; the older one is an id
		}
		named.Branch = true
	}
	return named
}

func callerText(doc *asDoc) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("group", strings.Join(doc.Group, ", "))
	add("email", doc.Email)
	add("team", doc.Team)
	add("issuer", doc.Issuer)
	for _, name := range slices.Sorted(maps.Keys(doc.Claims)) {
		add(name, strings.Join(doc.Claims[name], ", "))
	}
	if len(parts) == 0 {
		return "a stranger"
	}
	return strings.Join(parts, ", ")
}
