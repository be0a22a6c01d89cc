package policy_test

import (
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// grants is a policy of one team, eng, with the given allow and deny lines.
func grants(allow, deny string) string {
	text := "teams:\n- name: eng\n  members: [{group: eng}]\n"
	return text + list("allow", allow) + list("deny", deny)
}

func list(key, lines string) string {
	if lines == "" {
		return ""
	}
	text := "  " + key + ":\n"
	for line := range strings.Lines(lines) {
		text += "  - " + strings.TrimSpace(line) + "\n"
	}
	return text
}

const (
	allow = true
	deny  = false
)

// Each row is one rule of the language: a grant, a call, and what must come of it.
func TestLanguage(t *testing.T) {
	tests := []struct {
		rule   string
		allow  string
		deny   string
		op     string
		target policy.Target
		want   bool
	}{
		{"nothing is allowed that no grant allows", `{projects: [` + shop + `], scopes: ["*"]}`, ``, "v1-get-project", project(prod), deny},
		{"a scope covers its operations", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, "v1-get-project", project(prod), allow},
		{"and no others", `{projects: [` + prod + `], scopes: [projects:read]}`, ``, "v1-update-a-project", project(prod), deny},
		{"a scope may have a wildcard", `{projects: [` + prod + `], scopes: ["database:*"]}`, ``, "v1-apply-a-migration", project(prod), allow},
		{"before the colon too", `{projects: [` + prod + `], scopes: ["*:read"]}`, ``, "v1-list-all-secrets", project(prod), allow},
		{"a permission covers its operations", `{projects: [` + prod + `], permissions: [backups_read]}`, ``, "v1-list-all-backups", project(prod), allow},
		{"a permission may have a wildcard", `{projects: [` + prod + `], permissions: ["infra_*_read"]}`, ``, "v1-get-database-disk", project(prod), allow},
		{"an operation without a scope is not covered by all scopes", `{projects: [` + prod + `], scopes: ["*"]}`, ``, "v1-get-database-disk", project(prod), deny},
		{"a set of permissions is granted whole", `{projects: [` + prod + `], permissions: [auth_config_write, project_admin_write]}`, ``, "v1-update-auth-service-config", project(prod), allow},
		{"half a set is nothing", `{projects: [` + prod + `], permissions: [auth_config_write]}`, ``, "v1-update-auth-service-config", project(prod), deny},
		{"two grants do not add up to a set", "{projects: [" + prod + "], permissions: [auth_config_write]}\n{projects: [" + prod + "], permissions: [project_admin_write]}", ``, "v1-update-auth-service-config", project(prod), deny},
		{"nor a target and a right", "{projects: [" + prod + "], scopes: [projects:read]}\n{projects: [" + shop + "], scopes: [projects:write]}", ``, "v1-update-a-project", project(prod), deny},
		{"one of several sets is enough", `{projects: [` + prod + `], permissions: [branching_development_read]}`, ``, "v1-list-all-branches", project(prod), allow},
		{"an operation may be named", `{projects: ["*"], operations: [v1-get-services-health]}`, ``, "v1-get-services-health", project(prod), allow},
		{"effects narrow a grant", `{projects: [` + prod + `], scopes: ["*"], effects: [read, write]}`, ``, "v1-delete-a-project", project(prod), deny},
		{"to what they name", `{projects: [` + prod + `], scopes: ["*"], effects: [destructive]}`, ``, "v1-delete-a-project", project(prod), allow},

		{"an organization's grant covers its projects", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-get-project", inOrg(prod, "acme"), allow},
		{"and no others", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-get-project", inOrg(prod, "umbrella"), deny},
		{"and none whose organization is unknown", `{organizations: [acme], scopes: [projects:read]}`, ``, "v1-get-project", project(prod), deny},
		{"an organization's grant covers the organization", `{organizations: [acme], scopes: [organizations:read]}`, ``, "v1-get-an-organization", org("acme"), allow},
		{"a project's grant does not cover its organization", `{projects: ["*"], scopes: ["projects:read", "organizations:read"]}`, ``, "v1-get-an-organization", org("acme"), deny},
		{"all organizations", `{organizations: ["*"], scopes: [organizations:read]}`, ``, "v1-get-an-organization", org("acme"), allow},
		{"all organizations have all projects", `{organizations: ["*"], scopes: [projects:read]}`, ``, "v1-get-project", project(prod), allow},
		{"an organization nobody named is none", `{organizations: ["*"], scopes: ["*"]}`, ``, "v1-create-a-project", org(""), deny},
		{"a project nobody named is none", `{projects: ["*"], scopes: ["*"]}`, ``, "v1-get-project", policy.Target{}, deny},
		{"a project is made in an organization", `{organizations: [acme], scopes: [projects:write]}`, ``, "v1-create-a-project", org("acme"), allow},
		{"not in another", `{organizations: [acme], scopes: [projects:write]}`, ``, "v1-create-a-project", org("umbrella"), deny},
		{"and by no grant on projects or the account", `{projects: ["*"], account: true, scopes: ["*"]}`, ``, "v1-create-a-project", org("acme"), deny},

		{"the account is granted by its name", `{account: true, operations: [v1-get-available-regions]}`, ``, "v1-get-available-regions", policy.Target{}, allow},
		{"and by no other target", `{projects: ["*"], organizations: ["*"], scopes: ["*"]}`, ``, "v1-get-available-regions", policy.Target{}, deny},
		{"the account is no project", `{account: true, scopes: ["*"]}`, ``, "v1-get-project", project(prod), deny},

		{"a branch's own project needs branches: true on its parent", `{projects: [` + prod + `], scopes: ["*"]}`, ``, "v1-get-project", branchOf(staging, prod), deny},
		{"with it, it is covered", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, ``, "v1-get-project", branchOf(staging, prod), allow},
		{"named itself, it is a project like any other", `{projects: [` + staging + `], scopes: ["*"]}`, ``, "v1-get-project", branchOf(staging, prod), allow},
		{"operations on branches need branches: true", `{projects: [` + prod + `], scopes: ["*"]}`, ``, "v1-get-a-branch-config", branchOf(staging, prod), deny},
		{"with it, they are covered", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, ``, "v1-merge-a-branch", branchOf(staging, prod), allow},
		{"of that parent only", `{projects: [` + shop + `], scopes: ["*"], branches: true}`, ``, "v1-merge-a-branch", branchOf(staging, prod), deny},
		{"the branch's own project does not give a say in its parent", `{projects: [` + staging + `], scopes: ["*"], branches: true}`, ``, "v1-merge-a-branch", branchOf(staging, prod), deny},
		{"nor does a parent that is unknown", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, ``, "v1-merge-a-branch", project(staging), deny},
		{"all projects have no branches either", `{projects: ["*"], scopes: ["*"]}`, ``, "v1-merge-a-branch", branchOf(staging, prod), deny},
		{"unless it says so", `{projects: ["*"], scopes: ["*"], branches: true}`, ``, "v1-merge-a-branch", policy.Target{}, allow},

		{"a snippet belongs to its project", `{projects: [` + prod + `], scopes: [database:read]}`, ``, "v1-get-a-snippet", project(prod), allow},
		{"and to no other", `{projects: [` + shop + `], scopes: [database:read]}`, ``, "v1-get-a-snippet", project(prod), deny},
		{"a snippet whose project is unknown is in all projects", `{projects: ["*"], scopes: [database:read]}`, ``, "v1-get-a-snippet", policy.Target{}, allow},

		{"deny beats allow", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], operations: [v1-delete-a-project]}`, "v1-delete-a-project", project(prod), deny},
		{"and leaves the rest", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], operations: [v1-delete-a-project]}`, "v1-update-a-project", project(prod), allow},
		{"a deny may name effects alone", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], effects: [destructive]}`, "v1-pause-a-project", project(prod), deny},
		{"a deny of one permission of a set is enough", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], permissions: [auth_config_write]}`, "v1-update-auth-service-config", project(prod), deny},
		{"though an allow of the same words holds half of it", "{projects: [" + prod + "], scopes: [\"*\"]}\n{projects: [" + shop + "], permissions: [auth_config_write, backups_read]}", `{projects: [` + prod + `], permissions: [auth_config_write, backups_read]}`, "v1-update-auth-service-config", project(prod), deny},
		{"a deny of one permission of several sets is enough", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, `{projects: ["*"], permissions: [branching_production_delete]}`, "v1-delete-a-branch", branchOf(staging, prod), deny},
		{"a deny covers branches by itself", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, `{projects: [` + prod + `], effects: [destructive]}`, "v1-reset-a-branch", branchOf(staging, prod), deny},
		{"unless it says that it does not", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, `{projects: [` + prod + `], effects: [destructive], branches: false}`, "v1-reset-a-branch", branchOf(staging, prod), allow},
		{"a deny that names a branch's project covers operations on it", `{projects: [` + prod + `], scopes: ["*"], branches: true}`, `{projects: [` + staging + `], effects: [destructive]}`, "v1-reset-a-branch", branchOf(staging, prod), deny},
		{"a deny on an organization covers its projects", `{projects: [` + prod + `], scopes: ["*"]}`, `{organizations: [acme], effects: [write]}`, "v1-update-a-project", inOrg(prod, "acme"), deny},
		{"and not those of another", `{projects: [` + prod + `], scopes: ["*"]}`, `{organizations: [acme], effects: [write]}`, "v1-update-a-project", inOrg(prod, "umbrella"), allow},
		{"a deny holds where the organization is unknown", `{projects: [` + prod + `], scopes: ["*"]}`, `{organizations: [acme], effects: [write]}`, "v1-update-a-project", project(prod), deny},
		{"a deny holds where it is unknown whose branch it is", `{projects: ["*"], scopes: ["*"]}`, `{projects: [` + prod + `], effects: [write]}`, "v1-update-a-project", policy.Target{Project: shop}, deny},
		{"and not where it is known to be none's", `{projects: ["*"], scopes: ["*"]}`, `{projects: [` + prod + `], effects: [write]}`, "v1-update-a-project", project(shop), allow},

		{"a grant holds until it ends", `{projects: [` + prod + `], scopes: ["*"], until: 2026-12-31T00:00Z}`, ``, "v1-get-project", project(prod), allow},
		{"and not after", `{projects: [` + prod + `], scopes: ["*"], until: 2026-06-01T12:00Z}`, ``, "v1-get-project", project(prod), deny},
		{"a zone counts", `{projects: [` + prod + `], scopes: ["*"], until: "2026-06-01T14:00+02:00"}`, ``, "v1-get-project", project(prod), deny},
		{"a deny ends too", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], effects: [read], until: 2026-05-01T00:00:00Z}`, "v1-get-project", project(prod), allow},
		{"a shadow grant allows nothing", `{projects: [` + prod + `], scopes: ["*"], shadow: true}`, ``, "v1-get-project", project(prod), deny},
		{"a shadow deny denies nothing", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], effects: [write], shadow: true}`, "v1-update-a-project", project(prod), allow},

		{"the gateway's own answer needs no grant", `{projects: [` + prod + `], scopes: ["*"]}`, ``, "v1-get-profile", policy.Target{}, allow},
		{"what is never forwarded no grant opens", `{account: true, scopes: ["*"], permissions: ["*"], operations: ["*"]}`, ``, "v1-exchange-oauth-token", policy.Target{}, deny},
	}
	op := operations(t)
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			d := p.Decide(of("eng"), "", policy.Request{Op: op(tt.op), Target: tt.target}, today)
			if d.Allow != tt.want {
				t.Errorf("%s: Allow = %v, want %v (%s)\nallow %s\ndeny  %s", tt.op, d.Allow, tt.want, d.Reason, tt.allow, tt.deny)
			}
			if !d.Allow && d.Reason == "" {
				t.Error("refused without a reason")
			}
		})
	}
}

// A query that says it only reads needs the rights of a reader, and is refused by what refuses readers.
func TestReadOnlyQuery(t *testing.T) {
	query := operations(t)("v1-run-a-query")
	tests := []struct {
		name        string
		allow, deny string
		reads       bool // the read-only form is allowed
		writes      bool // the other is
	}{
		{"a reader reads", `{projects: [` + prod + `], scopes: [database:read]}`, ``, true, false},
		{"a reader by permission reads", `{projects: [` + prod + `], permissions: [database_read]}`, ``, true, false},
		{"a writer does both", `{projects: [` + prod + `], scopes: [database:write]}`, ``, true, true},
		{"a writer by permission does both", `{projects: [` + prod + `], permissions: [database_write, database_read]}`, ``, true, true},
		{"a writer held to writing writes", `{projects: [` + prod + `], scopes: [database:write], effects: [write, destructive]}`, ``, false, true},
		{"whoever is named does both", `{projects: [` + prod + `], operations: [v1-run-a-query]}`, ``, true, true},
		{"who is held to reading reads", `{projects: [` + prod + `], operations: [v1-run-a-query], effects: [read]}`, ``, true, false},
		{"a deny of writing leaves reading", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], scopes: [database:write]}`, true, false},
		{"a deny of reading leaves nothing but writing", `{projects: [` + prod + `], scopes: ["*"]}`, `{projects: ["*"], scopes: [database:read]}`, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, grants(tt.allow, tt.deny))
			reads := p.Decide(of("eng"), "", policy.Request{Op: query, Effect: catalog.Read, Target: project(prod)}, today)
			writes := p.Decide(of("eng"), "", policy.Request{Op: query, Target: project(prod)}, today)
			if reads.Allow != tt.reads || writes.Allow != tt.writes {
				t.Errorf("reads %v, writes %v, want %v, %v\n%s\n%s", reads.Allow, writes.Allow, tt.reads, tt.writes, reads.Reason, writes.Reason)
			}
		})
	}
}

// A request that claims to be milder than its operation is judged by the operation.
func TestEffectCannotBeTalkedDown(t *testing.T) {
	p := load(t, grants(`{projects: [`+prod+`], scopes: ["*"], effects: [read]}`, ``))
	r := policy.Request{Op: operations(t)("v1-delete-a-project"), Effect: catalog.Read, Target: project(prod)}
	if d := p.Decide(of("eng"), "", r, today); d.Allow {
		t.Error("deleting a project passed as a read")
	}
}

func TestZeroValuesDeny(t *testing.T) {
	p := load(t, grants(`{projects: ["*"], organizations: ["*"], account: true, branches: true, scopes: ["*"], permissions: ["*"], operations: ["*"]}`, ``))
	op := operations(t)("v1-get-project")
	if (policy.Decision{}).Allow {
		t.Error("the zero decision allows")
	}
	if p.Decide(nil, "", policy.Request{Op: op, Target: project(prod)}, today).Allow {
		t.Error("nobody is allowed")
	}
	if p.Decide(of("eng"), "", policy.Request{Target: project(prod)}, today).Allow {
		t.Error("no operation is allowed")
	}
	if p.Decide(&identity.Caller{}, "", policy.Request{Op: op, Target: project(prod)}, today).Allow {
		t.Error("the zero caller is allowed")
	}
	foreign := *op
	foreign.ID = "x-foreign"
	if p.Decide(of("eng"), "", policy.Request{Op: &foreign, Target: project(prod)}, today).Allow {
		t.Error("an operation of another catalogue is allowed by its index")
	}
	if len(p.Teams(nil)) != 0 || p.Member(nil) || p.Admin(nil) || p.Visible(nil, "", catalog.ListProjects, project(prod), today) {
		t.Error("nobody belongs somewhere")
	}
}

const twoTeams = `
teams:
- name: a
  weight: 3
  members: [{group: eng}, {group: only-a}]
  allow:
  - {projects: [` + prod + `], scopes: ["projects:*"]}
  deny:
  - {projects: ["*"], operations: [v1-pause-a-project]}
- name: b
  members: [{group: eng}]
  allow:
  - {projects: [` + prod + `, ` + shop + `], scopes: ["*"]}
`

func TestTeams(t *testing.T) {
	p := load(t, twoTeams)
	op := operations(t)
	tests := []struct {
		name   string
		caller *identity.Caller
		pick   string
		op     string
		ref    string
		team   string // "" for a refusal
	}{
		{"the first team that allows is chosen", of("eng"), "", "v1-get-project", prod, "a"},
		{"the next where the first does not", of("eng"), "", "v1-get-project", shop, "b"},
		{"the picked one is chosen", of("eng"), "b", "v1-get-project", prod, "b"},
		{"the picked one alone is asked", of("eng"), "a", "v1-get-project", shop, ""},
		{"a team that is not the caller's", of("only-a"), "b", "v1-get-project", prod, ""},
		{"a team that does not exist", of("eng"), "c", "v1-get-project", prod, ""},
		{"names are not prefixes", of("eng"), "a ", "v1-get-project", prod, ""},
		{"a deny of one team holds for the other", of("eng"), "", "v1-pause-a-project", shop, ""},
		{"and cannot be evaded by picking", of("eng"), "b", "v1-pause-a-project", shop, ""},
		{"nor by a token limited to the other", limited(identity.Restriction{Team: "b"}), "", "v1-pause-a-project", shop, ""},
		{"a token limited to a team", limited(identity.Restriction{Team: "b"}), "", "v1-get-project", prod, "b"},
		{"cannot pick another", limited(identity.Restriction{Team: "b"}), "a", "v1-get-project", prod, ""},
		{"a token limited to a team its owner left", limited(identity.Restriction{Team: "c"}), "", "v1-get-project", prod, ""},
		{"a token made for a team", &identity.Caller{Kind: identity.Token, Teams: []string{"b"}}, "", "v1-get-project", shop, "b"},
		{"a token made for a team that is gone", &identity.Caller{Kind: identity.Token, Teams: []string{"gone"}}, "", "v1-get-project", shop, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := p.Decide(tt.caller, tt.pick, policy.Request{Op: op(tt.op), Target: project(tt.ref)}, today)
			if d.Allow != (tt.team != "") || (d.Allow && d.Team != tt.team) {
				t.Errorf("Allow %v as %q, want %q (%s)", d.Allow, d.Team, tt.team, d.Reason)
			}
			if d.Allow && d.Weight != p.Weight(d.Team) || d.Weight < 1 {
				t.Errorf("weight %d", d.Weight)
			}
		})
	}
}

// What a minted token gave up stays given up.
func TestTokenLimits(t *testing.T) {
	p := load(t, grants("{projects: ["+prod+", "+shop+"], scopes: [\"*\"], branches: true}\n{organizations: [acme], account: true, scopes: [\"*\"]}", ``))
	op := operations(t)
	tests := []struct {
		name   string
		limits identity.Restriction
		op     string
		target policy.Target
		want   bool
	}{
		{"no limits", identity.Restriction{}, "v1-update-a-project", project(prod), allow},
		{"a scope it keeps", identity.Restriction{Scopes: []string{"projects:read"}}, "v1-get-project", project(prod), allow},
		{"a scope it gave up", identity.Restriction{Scopes: []string{"projects:read"}}, "v1-update-a-project", project(prod), deny},
		{"a wildcard", identity.Restriction{Scopes: []string{"*:read"}}, "v1-list-all-backups", project(prod), allow},
		{"a permission it keeps", identity.Restriction{Scopes: []string{"backups_read"}}, "v1-list-all-backups", project(prod), allow},
		{"a scope that no longer exists", identity.Restriction{Scopes: []string{"gone:read"}}, "v1-get-project", project(prod), deny},
		{"a project it keeps", identity.Restriction{Projects: []string{prod}}, "v1-get-project", project(prod), allow},
		{"its branches", identity.Restriction{Projects: []string{prod}}, "v1-get-a-branch-config", branchOf(staging, prod), allow},
		{"a branch's own project", identity.Restriction{Projects: []string{staging}}, "v1-get-project", branchOf(staging, prod), allow},
		{"but no say over the branch", identity.Restriction{Projects: []string{staging}}, "v1-merge-a-branch", branchOf(staging, prod), deny},
		{"a project it gave up", identity.Restriction{Projects: []string{prod}}, "v1-get-project", project(shop), deny},
		{"a project is no organization", identity.Restriction{Projects: []string{prod}}, "v1-get-an-organization", org("acme"), deny},
		{"a project is not the account", identity.Restriction{Projects: []string{prod}}, "v1-get-available-regions", policy.Target{}, deny},
		{"its list stays open", identity.Restriction{Projects: []string{prod}}, "v1-list-all-projects", policy.Target{}, allow},
		{"a token never has more than its owner", identity.Restriction{Projects: []string{staging}, Scopes: []string{"*"}}, "v1-get-project", project(staging), deny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := p.Decide(limited(tt.limits), "", policy.Request{Op: op(tt.op), Target: tt.target}, today)
			if d.Allow != tt.want {
				t.Errorf("Allow = %v, want %v (%s)", d.Allow, tt.want, d.Reason)
			}
		})
	}
	if p.Visible(limited(identity.Restriction{Projects: []string{prod}}), "", catalog.ListProjects, project(shop), today) {
		t.Error("a token sees a project it gave up")
	}
}

func TestShadow(t *testing.T) {
	p := load(t, grants(
		"{projects: ["+prod+"], scopes: [\"projects:*\"]}\n{projects: ["+shop+"], scopes: [\"projects:*\"], shadow: true}",
		"{projects: [\"*\"], operations: [v1-delete-a-project], shadow: true}\n{projects: [\"*\"], operations: [v1-pause-a-project]}"))
	op := operations(t)
	tests := []struct {
		name   string
		op     string
		ref    string
		allow  bool
		shadow policy.Shadow
	}{
		{"no shadow rule concerns it", "v1-get-project", prod, allow, policy.Shadow{}},
		{"a shadow deny would refuse it", "v1-delete-a-project", prod, allow, policy.Shadow{Rule: "policy.yaml:8 teams[0].deny[0]", Allow: false}},
		{"a shadow grant would allow it", "v1-get-project", shop, deny, policy.Shadow{Rule: "policy.yaml:6 teams[0].allow[1]", Allow: true}},
		{"a shadow deny beats a shadow grant", "v1-delete-a-project", shop, deny, policy.Shadow{}},
		{"a deny in force beats a shadow grant", "v1-pause-a-project", shop, deny, policy.Shadow{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := p.Decide(of("eng"), "", policy.Request{Op: op(tt.op), Target: project(tt.ref)}, today)
			if d.Allow != tt.allow || d.Shadow != tt.shadow {
				t.Errorf("Allow %v, shadow %+v, want %v, %+v", d.Allow, d.Shadow, tt.allow, tt.shadow)
			}
		})
	}
}

// Every refusal names the operation, the target, the team, what is missing and whom to ask.
func TestRefusal(t *testing.T) {
	p := load(t, `
contact: the platform team, #platform
teams:
- name: eng
  contact: eng-leads@corp.example
  members: [{group: eng}]
  allow:
  - {projects: [`+prod+`], scopes: [projects:read, "database:*"], effects: [read]}
  - {projects: [`+shop+`], scopes: [projects:read, projects:write]}
  - {projects: [`+shop+`], scopes: [secrets:read], until: 2026-01-01T00:00Z}
  deny:
  - {projects: ["*"], operations: [v1-delete-a-project]}
- name: lone
  members: [{group: lone}]
`)
	op := operations(t)
	tests := []struct {
		name    string
		caller  *identity.Caller
		pick    string
		op      string
		target  policy.Target
		missing string
		reason  []string
	}{
		{"the right is missing", of("eng"), "", "v1-get-auth-service-config", project(prod), "auth:read auth_config_read", []string{"Team eng", "v1-get-auth-service-config", prod, "auth:read or auth_config_read", "eng-leads@corp.example"}},
		{"the target is missing", of("eng"), "", "v1-get-project", project(staging), "project:" + staging, []string{staging, "not there"}},
		{"both are missing", of("eng"), "", "v1-get-auth-service-config", project(staging), "auth:read auth_config_read project:" + staging, []string{"no grant is about that target"}},
		{"the effect is missing", of("eng"), "", "v1-apply-a-migration", project(prod), "effect:write", []string{"only about what is read", "policy.yaml:8"}},
		{"the grant has ended", of("eng"), "", "v1-list-all-secrets", project(shop), "secrets:read edge_functions_secrets_read project:" + shop, []string{"ended at 2026-01-01T00:00Z", "policy.yaml:10"}},
		{"a deny", of("eng"), "", "v1-delete-a-project", project(shop), "operation:v1-delete-a-project", []string{"denied", "policy.yaml:12"}},
		{"a stranger", of("nobody"), "", "v1-get-project", project(prod), "projects:read project_admin_read project:" + prod, []string{"no team", "the platform team"}},
		{"a foreign team", of("eng"), "lone", "v1-get-project", project(prod), "team:lone", []string{`"lone"`, "Yours: eng"}},
		{"an unknown team", of("eng"), "nix", "v1-get-project", project(prod), "team:nix", []string{`"nix"`, "Yours: eng"}},
		{"several teams", of("eng", "lone"), "", "v1-get-auth-service-config", project(prod), "auth:read auth_config_read", []string{"None of your teams (eng, lone)"}},
		{"a limited token", limited(identity.Restriction{Scopes: []string{"projects:read"}}), "", "v1-list-all-backups", project(prod), "database:read backups_read", []string{"this token was limited"}},
		{"an organization", of("eng"), "", "v1-get-an-organization", org("acme"), "organizations:read organization_admin_read organization:acme", []string{"organization acme"}},
		{"nobody knows whose snippet", of("eng"), "", "v1-get-a-snippet", policy.Target{}, "project", []string{"on this snippet"}},
		{"nobody knows whose branch", of("eng"), "", "v1-get-a-branch-config", policy.Target{}, "environment:read branching_production_read branching_development_read branches", []string{"on this branch"}},
		{"an operation with no rights at all", of("eng"), "", "v1-exchange-oauth-token", policy.Target{}, "", []string{"gateway holds the credential"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := p.Decide(tt.caller, tt.pick, policy.Request{Op: op(tt.op), Target: tt.target}, today)
			if d.Allow {
				t.Fatal("allowed")
			}
			if got := strings.Join(d.Missing, " "); got != tt.missing {
				t.Errorf("missing %s\nwant    %s", got, tt.missing)
			}
			for _, part := range tt.reason {
				if !strings.Contains(d.Reason+" "+d.Rule, part) {
					t.Errorf("reason %q lacks %q", d.Reason, part)
				}
			}
		})
	}
}

// A header's text is said back only in part.
func TestForeignTeamIsShortened(t *testing.T) {
	p := load(t, twoTeams)
	d := p.Decide(of("eng"), strings.Repeat("x", 10_000), policy.Request{Op: operations(t)("v1-get-project"), Target: project(prod)}, today)
	if d.Allow || len(d.Reason) > 300 {
		t.Errorf("%d bytes of reason", len(d.Reason))
	}
}
