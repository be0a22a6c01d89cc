package policy_test

import (
	"errors"
	"strings"
	"testing"

	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/strictyaml"
)

// eng is a policy of one team with one grant on line 4.
func eng(grant string) string {
	return "teams:\n- name: eng\n  allow:\n  - " + grant + "\n"
}

// Each row is a policy and the fault it must be refused for, with its place.
func TestFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "teams:\n- name: eng\n  grants: []\n", `policy.yaml:3: teams[0].grants: unknown key`},
		{"key twice", "teams: []\nteams: []\n", `policy.yaml:2: teams: this key stands twice`},
		{"two documents", "teams: []\n---\nteams: []\n", `more than one document`},
		{"no name", "teams:\n- weight: 1\n", `teams[0].name: a team needs a name`},
		{"bad name", "teams:\n- name: a team\n", `"a team" is no team name`},
		{"name twice", "teams:\n- name: a\n- name: b\n- name: a\n", `policy.yaml:4: teams[2].name: team "a" stands twice, first at line 2`},
		{"weight", "teams:\n- name: a\n  weight: 0\n", `policy.yaml:3: teams[0].weight: the weight is 0: write 1 to 100`},
		{"heavy weight", "teams:\n- name: a\n  weight: 101\n", `write 1 to 100`},

		{"empty group", "teams:\n- name: a\n  members: [{group: \"\"}]\n", `teams[0].members[0].group: the group is empty`},
		{"blank group", "teams:\n- name: a\n  members: [{group: \" \"}]\n", `the group is empty`},
		{"no member at all", "teams:\n- name: a\n  members: [{}]\n", `a member is one of`},
		{"an issuer alone", "teams:\n- name: a\n  members: [{issuer: corp}]\n", `a member is one of`},
		{"two members in one", "teams:\n- name: a\n  members: [{group: x, email: a@b.example}]\n", `a member is one of`},
		{"bad address", "teams:\n- name: a\n  members: [{email: a@evil@corp.example}]\n", `is no e-mail address`},
		{"a name with an address", "teams:\n- name: a\n  members: [{email: \"Ada <ada@corp.example>\"}]\n", `is no e-mail address`},
		{"member twice", "teams:\n- name: a\n  members: [{group: x}, {group: x, issuer: corp}]\n", `"x" is a member of a already`},
		{"claims without an issuer", "teams:\n- name: a\n  members: [{claims: {repository: acme/x}}]\n", `claims need an issuer`},
		{"no claims", "teams:\n- name: a\n  members: [{issuer: github, claims: {}}]\n", `name at least one claim`},
		{"claims that let everybody in", "teams:\n- name: a\n  members: [{issuer: github, claims: {repository: \"*/payments\"}}]\n", `lets in whoever github issues tokens for`},
		{"one of the values lets everybody in", "teams:\n- name: a\n  members: [{issuer: github, claims: {repository: [acme/x, \"**\"]}}]\n", `lets in whoever github issues tokens for`},
		{"empty claim", "teams:\n- name: a\n  members: [{issuer: github, claims: {repository: \"\"}}]\n", `the value is empty`},
		{"empty issuer", "teams:\n- name: a\n  members: [{group: x, issuer: \"\"}]\n", `the issuer is empty`},

		{"unknown scope", eng(`{projects: ["*"], scopes: [databse:read]}`), `policy.yaml:4: teams[0].allow[0].scopes[0]: unknown scope "databse:read", did you mean "database:read"?`},
		{"unknown permission", eng(`{projects: ["*"], permissions: [backups_reed]}`), `unknown permission "backups_reed", did you mean "backups_read"?`},
		{"unknown operation", eng(`{projects: ["*"], operations: [v1-get-projekt]}`), `unknown operation "v1-get-projekt", did you mean "v1-get-project"?`},
		{"permission under scopes", eng(`{projects: ["*"], scopes: [backups_read]}`), `it is a permission`},
		{"scope under permissions", eng(`{projects: ["*"], permissions: ["database:read"]}`), `it is a scope`},
		{"wildcard that matches nothing", eng(`{projects: ["*"], scopes: ["databases:*"]}`), `no scope matches "databases:*"`},
		{"empty word", eng(`{projects: ["*"], scopes: [""]}`), `unknown scope ""`},
		{"unknown effect", eng(`{projects: ["*"], scopes: ["*"], effects: [delete]}`), `"delete" is not an effect`},
		{"no effects", eng(`{projects: ["*"], scopes: ["*"], effects: []}`), `effects: the list is empty`},
		{"effects without a value", eng(`{projects: ["*"], scopes: ["*"], effects: }`), `effects: the key has no value`},
		{"effect twice", eng(`{projects: ["*"], scopes: ["*"], effects: [read, read]}`), `read stands twice`},
		{"scope twice", eng(`{projects: ["*"], scopes: [projects:read, projects:read]}`), `"projects:read" stands twice`},
		{"bad ref", eng(`{projects: [prod], scopes: ["*"]}`), `"prod" is no project ref`},
		{"a wildcard in a ref", eng(`{projects: ["prod*"], scopes: ["*"]}`), `"prod*" is no project ref`},
		{"bad slug", eng(`{organizations: ["acme inc"], scopes: ["*"]}`), `"acme inc" is no organization slug`},
		{"all and one", eng(`{projects: ["*", ` + prod + `], scopes: ["*"]}`), `"*" stands for all`},
		{"empty projects", eng(`{projects: [], scopes: ["*"]}`), `projects: the list is empty`},
		{"no target", eng(`{scopes: ["*"]}`), `this grant has no target`},
		{"nothing allowed", eng(`{projects: ["*"]}`), `this grant allows nothing`},
		{"effects alone allow nothing", eng(`{projects: ["*"], effects: [read]}`), `this grant allows nothing`},
		{"nothing denied", "teams:\n- name: eng\n  deny: [{projects: [\"*\"]}]\n", `this deny names nothing`},
		{"until", eng(`{projects: ["*"], scopes: ["*"], until: tomorrow}`), `"tomorrow" is no time`},
		{"until a date", eng(`{projects: ["*"], scopes: ["*"], until: 2026-12-31}`), `"2026-12-31" is no time`},
		{"until without a zone", eng(`{projects: ["*"], scopes: ["*"], until: "2026-12-31T00:00"}`), `is no time`},
		{"until nothing", eng(`{projects: ["*"], scopes: ["*"], until: }`), `until: write it as`},
		{"branches of the account", eng(`{account: true, scopes: ["*"], branches: true}`), `branches: true says nothing`},

		{"the account has no such operation", eng(`{account: true, operations: [v1-get-project]}`), `this grant can match nothing: v1-get-project is about a project: add projects or organizations`},
		{"a project has no such operation", eng(`{projects: ["*"], operations: [v1-get-available-regions]}`), `add account: true`},
		{"an organization's operation", eng(`{projects: ["*"], operations: [v1-get-an-organization]}`), `add organizations`},
		{"a project is made in an organization", eng(`{projects: ["*"], operations: [v1-create-a-project]}`), `add organizations`},
		{"a list needs no grant", eng(`{projects: ["*"], operations: [v1-list-all-projects]}`), `open anyway to whoever may read one of its items`},
		{"branches", eng(`{projects: ["*"], operations: [v1-merge-a-branch]}`), `add branches: true`},
		{"wrong effect", eng(`{projects: ["*"], scopes: [projects:read], effects: [destructive]}`), `and the grant is only about destructive`},
		{"answered by the gateway", eng(`{account: true, operations: [v1-get-profile]}`), `answered by the gateway itself`},
		{"never forwarded", eng(`{account: true, operations: [v1-revoke-token]}`), `never forwarded`},
		{"contradiction", eng(`{projects: [`+prod+`], scopes: [projects:read]}`) + "  deny:\n  - {projects: [\"*\"], effects: [read]}\n", `policy.yaml:4: teams[0].allow[0]: this grant contradicts policy.yaml:6 teams[0].deny[0]`},

		{"unknown set", "sets: {prods: [" + prod + "]}\n" + eng(`{projects: [$prod], scopes: ["*"]}`), `unknown set "$prod", did you mean "prods"?`},
		{"fault in a set", "sets:\n  rd: [projects:reed]\n" + eng(`{projects: ["*"], scopes: [$rd]}`), `policy.yaml:2: sets.rd[0]: unknown scope "projects:reed", did you mean "projects:read"? (used by teams[0].allow[0].scopes[0])`},
		{"empty set", "sets: {rd: []}\n" + eng(`{projects: ["*"], scopes: [$rd]}`), `sets.rd: the set is empty`},
		{"name of a set", "sets: {\"a b\": [x]}\n", `a set's name is`},

		{"failing test", eng(`{projects: ["*"], scopes: [projects:read]}`) + "tests:\n- {as: {team: eng}, call: GET /v1/projects/" + prod + ", want: deny}\n", `policy.yaml:6: tests[0]: GET /v1/projects/` + prod + ` as team eng: want deny, the policy says allow: by policy.yaml:4 teams[0].allow[0]`},
		{"test of nothing", "tests: [{as: {group: x}, call: GET /v1/nowhere, want: deny}]\n", `is no call`},
		{"test without a method", "tests: [{as: {group: x}, call: /v1/projects, want: deny}]\n", `write a method and a path`},
		{"test without an outcome", "tests: [{as: {group: x}, call: GET /v1/projects}]\n", `write allow or deny`},
		{"test of an unknown team", eng(`{projects: ["*"], scopes: ["*"]}`) + "tests: [{as: {team: ing}, call: GET /v1/projects, want: deny}]\n", `unknown team "ing", did you mean "eng"?`},
		{"test of claims without an issuer", "tests: [{as: {claims: {a: b}}, call: GET /v1/projects, want: deny}]\n", `claims need an issuer`},
		{"test with a contradicting fact", "tests: [{as: {group: x}, call: GET /v1/projects/" + prod + ", project: " + shop + ", want: deny}]\n", `the call itself names`},
		{"test of a form that does not exist", "tests: [{as: {group: x}, call: GET /v1/projects/" + prod + ", read_only: true, want: deny}]\n", `has no read-only form`},
	}
	cat := table(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy.Load("policy.yaml", []byte(tt.text), cat)
			var faults strictyaml.Faults
			if !errors.As(err, &faults) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s\nin\n%s", err, tt.want, tt.text)
			}
		})
	}
}

// What follows from a fault is not said beside it.
func TestAnUnknownEffectIsTheOnlyFault(t *testing.T) {
	_, err := policy.Load("policy.yaml", []byte("teams:\n- {name: eng, allow: [{projects: [\"*\"], scopes: [projects:read], effects: [reads]}]}\n"), table(t))
	var faults strictyaml.Faults
	if !errors.As(err, &faults) || len(faults) != 1 {
		t.Errorf("%v, want one fault", err)
	}
}

// Whoever mends a policy sees everything at once.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := policy.Load("policy.yaml", []byte(`
teams:
- name: a
  colour: red
  members: [{group: ""}]
  allow:
  - {projects: [x], scopes: [nope], effects: [often], until: later}
- name: a
`), table(t))
	var faults strictyaml.Faults
	if !errors.As(err, &faults) || len(faults) != 7 {
		t.Errorf("%d faults, want 7:\n%v", len(faults), err)
	}
}

// A grant that has ended does not keep the file from loading, nor do the tests that say what it allowed: a restart in the
// new year must not find the gateway without a policy.
func TestEndedGrantLoads(t *testing.T) {
	load(t, eng(`{projects: ["*"], scopes: [projects:read], until: 2020-01-01T00:00Z}`)+`
tests:
- {as: {team: eng}, call: GET /v1/projects/`+prod+`, want: allow}
- {as: {team: eng}, call: GET /v1/projects/`+prod+`, want: allow, at: 2019-12-31T23:59Z}
- {as: {team: eng}, call: GET /v1/projects/`+prod+`, want: deny, at: 2020-01-01T00:00Z}
`)
}

func TestSets(t *testing.T) {
	load(t, `
sets:
  production: [`+prod+`, `+shop+`]
  reading: ["*:read"]
teams:
- name: eng
  allow:
  - {projects: [$production, `+staging+`], scopes: [$reading, projects:write]}
tests:
- {as: {team: eng}, call: GET /v1/projects/`+shop+`, want: allow}
- {as: {team: eng}, call: PATCH /v1/projects/`+staging+`, want: allow}
- {as: {team: eng}, call: POST /v1/projects/`+staging+`/secrets, want: deny}
`)
}

func TestEmptyPolicyDeniesAll(t *testing.T) {
	p := load(t, "")
	d := p.Decide(of("eng"), "", policy.Request{Op: operations(t)("v1-get-project"), Target: project(prod)}, today)
	if d.Allow {
		t.Error("an empty policy allows")
	}
}

func TestCheckIssuers(t *testing.T) {
	p := load(t, "teams:\n- name: a\n  members:\n  - {issuer: githb, claims: {repository: acme/x}}\n  - {group: x, issuer: corp}\n")
	err := p.CheckIssuers([]string{"corp", "github"})
	if want := `policy.yaml:4: teams[0].members[0].issuer: unknown issuer "githb", did you mean "github"?`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := p.CheckIssuers([]string{"corp", "githb"}); err != nil {
		t.Error(err)
	}
}

func TestVersion(t *testing.T) {
	a, b := load(t, "teams: []"), load(t, "teams: [] ")
	if a.Version() == b.Version() || len(a.Version()) != 16 || a.Version() != load(t, "teams: []").Version() {
		t.Errorf("versions %q, %q", a.Version(), b.Version())
	}
}

func TestTooLarge(t *testing.T) {
	_, err := policy.Load("policy.yaml", make([]byte, policy.MaxFileBytes+1), table(t))
	if err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("got %v", err)
	}
}
