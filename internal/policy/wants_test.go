package policy_test

import (
	"reflect"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// Nothing is looked up that cannot change the decision.
func TestWants(t *testing.T) {
	const everyOf = `scopes: ["*"]`
	tests := []struct {
		name   string
		allow  string
		deny   string
		caller *identity.Caller // left out: of("eng")
		op     string
		target policy.Target
		want   policy.Wants
	}{
		{name: "a project granted by name", allow: `{projects: [` + prod + `], scopes: ["*"]}`, op: "v1-get-project", target: policy.Target{Project: prod}},
		{name: "all projects", allow: `{projects: ["*"], scopes: ["*"]}`, op: "v1-get-project", target: policy.Target{Project: prod}},
		{name: "a stranger", allow: `{organizations: [acme], ` + everyOf + `}`, caller: of("nobody"), op: "v1-get-project", target: policy.Target{Project: prod}},
		{name: "no grant for the operation", allow: `{organizations: [acme], scopes: [projects:read]}`, op: "v1-update-a-project", target: policy.Target{Project: prod}},
		{name: "an organization's grant", allow: `{organizations: [acme], ` + everyOf + `}`, op: "v1-get-project", target: policy.Target{Project: prod},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
		{name: "the organization is known", allow: `{organizations: [acme], ` + everyOf + `}`, op: "v1-get-project", target: inOrg(prod, "umbrella")},
		{name: "another project's branches", allow: `{projects: [` + prod + `], branches: true, ` + everyOf + `}`, op: "v1-get-project", target: policy.Target{Project: staging},
			want: policy.Wants{Parent: true, Candidates: []string{prod}}},
		{name: "another project without branches", allow: `{projects: [` + prod + `], ` + everyOf + `}`, op: "v1-get-project", target: policy.Target{Project: staging}},
		{name: "a branch", allow: `{projects: [` + prod + `, ` + shop + `], branches: true, ` + everyOf + `}`, op: "v1-merge-a-branch", target: policy.Target{},
			want: policy.Wants{Parent: true, Candidates: []string{prod, shop}}},
		{name: "a branch of whoever has no branches", allow: `{projects: [` + prod + `], ` + everyOf + `}`, op: "v1-merge-a-branch", target: policy.Target{}},
		{name: "a branch of all", allow: `{projects: ["*"], branches: true, ` + everyOf + `}`, op: "v1-merge-a-branch", target: policy.Target{},
			want: policy.Wants{Any: true}},
		{name: "a snippet", allow: `{projects: [` + prod + `], ` + everyOf + `}`, op: "v1-get-a-snippet", target: policy.Target{},
			want: policy.Wants{Project: true, Parent: true, Candidates: []string{prod}}},
		{name: "a snippet of an organization", allow: `{organizations: [acme], ` + everyOf + `}`, op: "v1-get-a-snippet", target: policy.Target{},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
		{name: "a project to be made", allow: `{organizations: [acme], ` + everyOf + `}`, op: "v1-create-a-project", target: policy.Target{},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
		{name: "a deny on an organization", allow: `{projects: ["*"], ` + everyOf + `}`, deny: `{organizations: [acme], effects: [write]}`, op: "v1-update-a-project", target: policy.Target{Project: prod},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
		{name: "a deny on branches", allow: `{projects: ["*"], ` + everyOf + `}`, deny: `{projects: [` + prod + `], effects: [write]}`, op: "v1-update-a-project", target: policy.Target{Project: staging},
			want: policy.Wants{Parent: true, Candidates: []string{prod}}},
		{name: "a deny that holds anyway", allow: `{organizations: [acme], ` + everyOf + `}`, deny: `{projects: ["*"], effects: [write]}`, op: "v1-update-a-project", target: policy.Target{Project: prod}},
		{name: "a deny of another operation", allow: `{projects: ["*"], ` + everyOf + `}`, deny: `{organizations: [acme], effects: [write]}`, op: "v1-get-project", target: policy.Target{Project: prod}},
		{name: "a deny where nothing is allowed", allow: `{projects: [` + shop + `], ` + everyOf + `}`, deny: `{organizations: [acme], effects: [write]}`, op: "v1-update-a-project", target: policy.Target{Project: prod}},
		{name: "a token that reaches the project by its parent at most", allow: `{projects: ["*"], ` + everyOf + `}`, caller: limited(identity.Restriction{Projects: []string{prod}}), op: "v1-get-project", target: policy.Target{Project: staging},
			want: policy.Wants{Parent: true, Candidates: []string{prod}}},
		{name: "a token without the right", allow: `{organizations: [acme], ` + everyOf + `}`, caller: limited(identity.Restriction{Scopes: []string{"database:read"}}), op: "v1-get-project", target: policy.Target{Project: prod}},
		{name: "an organization's projects, by one of them", allow: `{projects: [` + shop + `, ` + prod + `], ` + everyOf + `}`, op: "v1-get-all-projects-for-organization", target: org("acme"),
			want: policy.Wants{Project: true, Candidates: []string{prod, shop}}},
		{name: "an organization's projects, by the organization", allow: `{organizations: [acme], ` + everyOf + `}`, op: "v1-get-all-projects-for-organization", target: org("acme")},
		{name: "a list of branches, by one of them", allow: `{organizations: [acme], operations: [v1-get-a-branch]}`, op: "v1-list-all-branches", target: policy.Target{Project: prod},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
		{name: "whether secrets may be seen", allow: "{projects: [" + prod + "], scopes: [rest:read]}\n{organizations: [acme], scopes: [secrets:read]}", op: "v1-get-postgrest-service-config", target: policy.Target{Project: prod},
			want: policy.Wants{Organization: true, Organizations: []string{"acme"}}},
	}
	op := operations(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			caller := tt.caller
			if caller == nil {
				caller = of("eng")
			}
			got := p.Wants(caller, "", policy.Request{Op: op(tt.op), Target: tt.target}, today)
			if len(got.Candidates) == 0 {
				got.Candidates = nil
			}
			if len(got.Organizations) == 0 {
				got.Organizations = nil
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Wants = %+v\nwant    %+v", got, tt.want)
			}
		})
	}
}

func TestVisible(t *testing.T) {
	tests := []struct {
		name        string
		allow, deny string
		list        catalog.List
		item        policy.Target
		want        bool
	}{
		{"a project that may be read", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, catalog.ListProjects, project(prod), true},
		{"one that may not", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, catalog.ListProjects, project(shop), false},
		{"another right on it is not enough", `{projects: [` + prod + `], scopes: ["database:*"]}`, ``, catalog.ListProjects, project(prod), false},
		{"one in the organization", `{organizations: [acme], scopes: [projects:read]}`, ``, catalog.ListOrgProjects, inOrg(prod, "acme"), true},
		{"one in another", `{organizations: [acme], scopes: [projects:read]}`, ``, catalog.ListOrgProjects, inOrg(prod, "umbrella"), false},
		{"a denied one", `{projects: ["*"], scopes: [projects:read]}`, `{projects: [` + prod + `], scopes: [projects:read]}`, catalog.ListProjects, project(prod), false},
		{"an organization", `{organizations: [acme], scopes: [organizations:read]}`, ``, catalog.ListOrganizations, org("acme"), true},
		{"another organization", `{organizations: [acme], scopes: [organizations:read]}`, ``, catalog.ListOrganizations, org("umbrella"), false},
		{"an organization by its project", `{projects: [` + prod + `], scopes: ["*"]}`, ``, catalog.ListOrganizations, org("acme"), false},
		{"a snippet", `{projects: [` + prod + `], scopes: [database:read]}`, ``, catalog.ListSnippets, project(prod), true},
		{"a snippet of another project", `{projects: [` + prod + `], scopes: [database:read]}`, ``, catalog.ListSnippets, project(shop), false},
		{"a snippet of nobody knows what", `{projects: [` + prod + `], scopes: [database:read]}`, ``, catalog.ListSnippets, policy.Target{}, false},
		{"a branch, read by its name under its parent", `{projects: [` + prod + `], scopes: [environment:read]}`, ``, catalog.ListBranches, branchOf(staging, prod), true},
		{"a branch, read by its id", `{projects: [` + prod + `], operations: [v1-get-a-branch-config], branches: true}`, ``, catalog.ListBranches, branchOf(staging, prod), true},
		{"a branch of another project", `{projects: [` + shop + `], scopes: [environment:read], branches: true}`, ``, catalog.ListBranches, branchOf(staging, prod), false},
		{"a branch that may not be read by its id", `{projects: [` + prod + `], scopes: [environment:read], branches: true}`, `{projects: [` + staging + `], scopes: [environment:read]}`, catalog.ListBranches, branchOf(staging, prod), false},
		{"an item of no list", `{projects: ["*"], scopes: ["*"]}`, ``, catalog.NotAList, project(prod), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			if got := p.Visible(of("eng"), "", tt.list, tt.item, today); got != tt.want {
				t.Errorf("Visible = %v, want %v", got, tt.want)
			}
		})
	}
}

// A list is open to whoever may read one of its items.
func TestListsAreOpen(t *testing.T) {
	tests := []struct {
		name        string
		allow, deny string
		op          string
		target      policy.Target
		want        bool
	}{
		{"projects, by one", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, "v1-list-all-projects", policy.Target{}, allow},
		{"projects, by an organization", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-list-all-projects", policy.Target{}, allow},
		{"projects, by all", `{projects: ["*"], scopes: [projects:read]}`, ``, "v1-list-all-projects", policy.Target{}, allow},
		{"projects, by no right to read one", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-list-all-projects", policy.Target{}, deny},
		{"projects, by the list itself", `{account: true, operations: [v1-list-all-projects]}`, ``, "v1-list-all-projects", policy.Target{}, allow},
		{"projects, the list denied", `{projects: [` + prod + `], scopes: [projects:read]}`, `{account: true, operations: [v1-list-all-projects]}`, "v1-list-all-projects", policy.Target{}, deny},
		{"projects, every one denied", "{projects: [" + prod + "], scopes: [projects:read]}\n{projects: [" + prod + "], scopes: [rest:read]}", `{projects: ["*"], operations: [v1-get-project]}`, "v1-list-all-projects", policy.Target{}, deny},
		{"projects, some denied", `{projects: [` + prod + `, ` + shop + `], scopes: [projects:read]}`, `{projects: [` + prod + `], operations: [v1-get-project]}`, "v1-list-all-projects", policy.Target{}, allow},
		{"organizations, by one", `{organizations: [acme], scopes: [organizations:read]}`, ``, "v1-list-all-organizations", policy.Target{}, allow},
		{"organizations, by a project", `{projects: ["*"], scopes: ["*"]}`, ``, "v1-list-all-organizations", policy.Target{}, deny},
		{"organizations, every one denied", `{organizations: [acme], scopes: ["*"]}`, `{organizations: ["*"], operations: [v1-get-an-organization]}`, "v1-list-all-organizations", policy.Target{}, deny},
		{"an organization's projects, by the organization", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-get-all-projects-for-organization", org("acme"), allow},
		{"those of another", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-get-all-projects-for-organization", org("umbrella"), deny},
		{"by a project that may not be in it", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, "v1-get-all-projects-for-organization", org("acme"), deny},
		{"by a project that is in it", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, "v1-get-all-projects-for-organization", policy.Target{Organization: "acme", Project: prod}, allow},
		{"the newer form", `{organizations: [acme], scopes: [projects:read]}`, ``, "v2ListOrganizationProjects", org("acme"), allow},
		{"snippets, by a project", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-list-all-snippets", policy.Target{}, allow},
		{"snippets of one project", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-list-all-snippets", project(prod), allow},
		{"snippets of another", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-list-all-snippets", project(shop), deny},
		{"branches", `{projects: [` + prod + `], scopes: [environment:read]}`, ``, "v1-list-all-branches", project(prod), allow},
		{"branches, by one's own id", `{projects: [` + prod + `], operations: [v1-get-a-branch-config], branches: true}`, ``, "v1-list-all-branches", project(prod), allow},
		{"branches of another project", `{projects: [` + shop + `], scopes: [environment:read], branches: true}`, ``, "v1-list-all-branches", project(prod), deny},
		{"an ended grant", `{projects: [` + prod + `], scopes: [projects:read], until: 2026-01-01T00:00Z}`, ``, "v1-list-all-projects", policy.Target{}, deny},
	}
	op := operations(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			d := p.Decide(of("eng"), "", policy.Request{Op: op(tt.op), Target: tt.target}, today)
			if d.Allow != tt.want {
				t.Errorf("Allow = %v, want %v (%s)", d.Allow, tt.want, d.Reason)
			}
		})
	}
}

// Secret fields go to whoever may have the secrets anyway.
func TestReveals(t *testing.T) {
	tests := []struct {
		name        string
		allow, deny string
		op          string
		target      policy.Target
		want        bool
	}{
		{"the right to the answer alone", `{projects: [` + prod + `], scopes: [rest:read]}`, ``, "v1-get-postgrest-service-config", project(prod), false},
		{"with the right to secrets", `{projects: [` + prod + `], scopes: [rest:read, secrets:read]}`, ``, "v1-get-postgrest-service-config", project(prod), true},
		{"with that right by permission", `{projects: [` + prod + `], permissions: [data_api_config_read, api_gateway_keys_read]}`, ``, "v1-get-postgrest-service-config", project(prod), true},
		{"with that right on another project", "{projects: [" + prod + "], scopes: [rest:read]}\n{projects: [" + shop + "], scopes: [secrets:read]}", ``, "v1-get-postgrest-service-config", project(prod), false},
		{"with that right denied", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], scopes: [secrets:read]}`, "v1-get-postgrest-service-config", project(prod), false},
		{"secrets are what it is about", `{projects: [` + prod + `], operations: [v1-get-project-signing-keys, v1-get-project-api-keys]}`, ``, "v1-get-project-api-keys", project(prod), true},
		{"the caller made it", `{projects: [` + prod + `], scopes: [database:write]}`, ``, "v1-create-login-role", project(prod), true},
		{"the database, for who may read it", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-get-pooler-config", project(prod), false},
		{"the database, for who may make a password", `{projects: [` + prod + `], scopes: [database:read, database:write]}`, ``, "v1-get-pooler-config", project(prod), true},
		{"a branch", `{projects: [` + prod + `], scopes: [environment:read], branches: true}`, ``, "v1-get-a-branch-config", branchOf(staging, prod), false},
		{"a branch, with the right to its parent's secrets only", "{projects: [" + prod + "], scopes: [environment:read], branches: true}\n{projects: [" + prod + "], scopes: [secrets:read]}", ``, "v1-get-a-branch-config", branchOf(staging, prod), false},
		{"a branch, with the right to its secrets", `{projects: [` + prod + `], scopes: [environment:read, secrets:read], branches: true}`, ``, "v1-get-a-branch-config", branchOf(staging, prod), true},
		{"an unknown branch, with the right to all", `{projects: ["*"], scopes: ["*"], branches: true}`, ``, "v1-get-a-branch-config", policy.Target{}, true},
	}
	op := operations(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			if got := p.Reveals(of("eng"), "", policy.Request{Op: op(tt.op), Target: tt.target}, today); got != tt.want {
				t.Errorf("Reveals = %v, want %v", got, tt.want)
			}
		})
	}
}

// Two callers share a kept answer only where they see the same of it.
func TestView(t *testing.T) {
	p := load(t, `
teams:
- {name: a, members: [{group: a}], allow: [{projects: ["*"], scopes: ["*"], until: 2026-12-31T00:00Z}]}
- {name: b, members: [{group: b}]}
`)
	same := p.View(of("a"), "", today)
	if other := p.View(of("a", "unknown"), "", today.Add(1)); other != same {
		t.Errorf("%q and %q see the same", same, other)
	}
	token := limited(identity.Restriction{Team: "a"})
	token.Groups = []string{"a"}
	for name, view := range map[string]string{
		"another team":        p.View(of("b"), "", today),
		"one more team":       p.View(of("a", "b"), "", today),
		"a picked team":       p.View(of("a"), "a", today),
		"a limited token":     p.View(token, "", today),
		"after a grant ended": p.View(of("a"), "", today.AddDate(1, 0, 0)),
		"nobody":              p.View(nil, "", today),
	} {
		if view == same {
			t.Errorf("%s has the same view", name)
		}
	}
}
