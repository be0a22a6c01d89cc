package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// The properties hold for any policy, so they are tried on so many random ones, from a fixed seed each.
const (
	tries    = 200
	tryEvery = 10 // where a try asks for every operation
)

// randomGrant writes a grant that loads.
func randomGrant(r *rand.Rand) string {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	var parts []string
	targets := []string{
		"projects: [" + pick(prod, staging, shop) + "]",
		"projects: [" + prod + ", " + shop + "]",
		`projects: ["*"]`,
		"organizations: [" + pick("acme", "umbrella") + "]",
		`organizations: ["*"], account: true`,
		"projects: [" + prod + "], organizations: [acme]",
	}
	parts = append(parts, pick(targets...))
	if r.IntN(2) == 0 {
		parts = append(parts, "branches: "+pick("true", "false"))
	}
	rights := []string{
		`scopes: ["*"]`, `scopes: [projects:read, organizations:read]`, `scopes: ["*:read"]`, `scopes: [database:read, "environment:*"]`,
		`permissions: ["*_read"]`, `permissions: [project_admin_read, project_admin_write, organization_admin_read]`,
		`scopes: [projects:read, organizations:read], permissions: [branching_development_read, snippets_read]`,
	}
	parts = append(parts, pick(rights...))
	if r.IntN(3) == 0 {
		parts = append(parts, "effects: [read"+pick("", ", write", ", destructive")+"]")
	}
	if r.IntN(4) == 0 {
		parts = append(parts, "until: "+pick("2026-01-01T00:00Z", "2027-01-01T00:00Z"))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// randomPolicy writes a policy of one team with allows and denies, leaving out lines that contradict.
func randomPolicy(t *testing.T, allows, denies []string) (*policy.Policy, bool) {
	t.Helper()
	p, err := policy.Load("policy.yaml", []byte(grants(strings.Join(allows, "\n"), strings.Join(denies, "\n"))), table(t))
	if err != nil && !strings.Contains(err.Error(), "contradicts") {
		t.Fatal(err)
	}
	return p, err == nil
}

// everyRequest yields a request for each operation on each target of the tests.
func everyRequest(t *testing.T) []policy.Request {
	var all []policy.Request
	for _, op := range table(t).Operations() {
		for _, target := range []policy.Target{
			project(prod), project(shop), inOrg(prod, "acme"), inOrg(shop, "umbrella"), branchOf(staging, prod), {Project: prod}, {},
			{Project: staging, Parent: prod, Organization: "acme", Branch: true, Resolved: true}, org("acme"), org("umbrella"),
		} {
			all = append(all, policy.Request{Op: op, Target: target})
			if op.ReadOnlyIf != "" {
				all = append(all, policy.Request{Op: op, Effect: catalog.Read, Target: target})
			}
		}
	}
	return all
}

// No sequence of grants allows a call that no single one of them allows.
func TestPropertyOneGrantCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	requests, caller := everyRequest(t), of("eng")
	for range tryEvery {
		var allows []string
		var singles []*policy.Policy
		for range 4 {
			line := randomGrant(r)
			p, ok := randomPolicy(t, []string{line}, nil)
			if !ok {
				continue
			}
			allows, singles = append(allows, line), append(singles, p)
		}
		together, _ := randomPolicy(t, allows, nil)
		for _, request := range requests {
			alone := false
			for _, p := range singles {
				alone = alone || p.Decide(caller, "", request, today).Allow
			}
			if got := together.Decide(caller, "", request, today).Allow; got != alone {
				t.Fatalf("%s on %+v: together %v, alone %v\n%s", request.Op.ID, request.Target, got, alone, strings.Join(allows, "\n"))
			}
		}
	}
}

// Adding a deny never allows more, shows more or reveals more.
func TestPropertyDenyNeverAllowsMore(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	requests, caller := everyRequest(t), of("eng")
	for range tryEvery {
		allows, denies := []string{randomGrant(r), randomGrant(r)}, []string{randomGrant(r)}
		before, ok1 := randomPolicy(t, allows, nil)
		after, ok2 := randomPolicy(t, allows, denies)
		if !ok1 || !ok2 {
			continue
		}
		for _, request := range requests {
			if after.Decide(caller, "", request, today).Allow && !before.Decide(caller, "", request, today).Allow {
				t.Fatalf("%s on %+v is allowed by a deny\n%s\n%s", request.Op.ID, request.Target, allows, denies)
			}
			if after.Reveals(caller, "", request, today) && !before.Reveals(caller, "", request, today) {
				t.Fatalf("%s on %+v is revealed by a deny\n%s\n%s", request.Op.ID, request.Target, allows, denies)
			}
		}
		for _, item := range items() {
			if after.Visible(caller, "", item.list, item.target, today) && !before.Visible(caller, "", item.list, item.target, today) {
				t.Fatalf("%v of %v is shown by a deny\n%s\n%s", item.target, item.list, allows, denies)
			}
		}
	}
}

type item struct {
	list   catalog.List
	target policy.Target
	reads  []string // the operations that read it, of which one must be allowed
}

func items() []item {
	var all []item
	for _, target := range []policy.Target{project(prod), inOrg(prod, "acme"), inOrg(shop, "umbrella"), project(shop), branchOf(staging, prod)} {
		all = append(all,
			item{catalog.ListProjects, target, []string{"v1-get-project"}},
			item{catalog.ListOrgProjects, target, []string{"v1-get-project"}},
			item{catalog.ListSnippets, target, []string{"v1-get-a-snippet"}})
	}
	for _, slug := range []string{"acme", "umbrella"} {
		all = append(all, item{catalog.ListOrganizations, org(slug), []string{"v1-get-an-organization"}})
	}
	return append(all, item{catalog.ListBranches, branchOf(staging, prod), []string{"v1-get-a-branch", "v1-get-a-branch-config"}})
}

// A list never shows what a direct read would be refused, and is never refused where it could show something.
func TestPropertyListsShowWhatMayBeRead(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	op := operations(t)
	lists := map[catalog.List]string{
		catalog.ListProjects: "v1-list-all-projects", catalog.ListOrganizations: "v1-list-all-organizations",
		catalog.ListSnippets: "v1-list-all-snippets", catalog.ListBranches: "v1-list-all-branches",
	}
	callers := []*identity.Caller{
		of("eng"), limited(identity.Restriction{Projects: []string{prod}}), limited(identity.Restriction{Scopes: []string{"projects:read", "database:read"}}),
	}
	for range tries {
		allows, denies := []string{randomGrant(r), randomGrant(r)}, []string{randomGrant(r)}
		p, ok := randomPolicy(t, allows, denies)
		if !ok {
			continue
		}
		for i, caller := range callers {
			for _, item := range items() {
				visible := p.Visible(caller, "", item.list, item.target, today)
				readable := false
				for _, id := range item.reads {
					target := item.target
					if id == "v1-get-a-branch" {
						target = project(target.Parent)
					}
					readable = readable || p.Decide(caller, "", policy.Request{Op: op(id), Target: target}, today).Allow
				}
				where := fmt.Sprintf("caller %d, %v %+v\n%s\n%s", i, item.list, item.target, strings.Join(allows, "\n"), denies)
				if visible && !readable {
					t.Fatalf("shown but not readable: %s", where)
				}
				list := lists[item.list]
				if !visible || list == "" {
					continue
				}
				target := policy.Target{Resolved: true}
				if item.list == catalog.ListBranches {
					target.Project = prod
				}
				if d := p.Decide(caller, "", policy.Request{Op: op(list), Target: target}, today); !d.Allow && !strings.Contains(d.Reason, "denied") {
					t.Fatalf("a list with something to show is refused (%s): %s", d.Reason, where)
				}
			}
		}
	}
}

// Where Wants asks for nothing, no fact changes the decision.
func TestPropertyWantsMissesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	caller := of("eng")
	facts := []policy.Target{
		{Resolved: true}, {Organization: "acme", Resolved: true}, {Organization: "umbrella", Resolved: true},
		{Parent: prod, Branch: true, Resolved: true}, {Parent: shop, Organization: "acme", Branch: true, Resolved: true},
	}
	for range tryEvery {
		p, ok := randomPolicy(t, []string{randomGrant(r), randomGrant(r)}, []string{randomGrant(r)})
		if !ok {
			continue
		}
		for _, op := range table(t).Operations() {
			if op.Target != catalog.Project || op.List != catalog.NotAList || len(op.BodyTarget) > 0 {
				continue
			}
			request := policy.Request{Op: op, Target: policy.Target{Project: staging}}
			if !p.Wants(caller, "", request, today).None() {
				continue
			}
			now := p.Decide(caller, "", request, today).Allow
			for _, fact := range facts {
				fact.Project = staging
				if got := p.Decide(caller, "", policy.Request{Op: op, Target: fact}, today).Allow; got != now {
					t.Fatalf("%s: %v, but %v with %+v", op.ID, now, got, fact)
				}
			}
		}
	}
}
