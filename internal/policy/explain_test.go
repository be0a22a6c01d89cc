package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

const explained = `
contact: "#platform"
teams:
- name: a
  members: [{group: eng}]
  allow:
  - {projects: [` + prod + `], scopes: [projects:read]}
  - {projects: [` + prod + `], scopes: [projects:write], effects: [destructive]}
  - {projects: [` + prod + `], scopes: [projects:write], until: 2026-01-01T00:00Z}
  - {projects: [` + shop + `], scopes: [projects:write]}
  - {projects: [` + shop + `], scopes: [rest:read]}
  - {projects: [` + prod + `], scopes: [projects:write], shadow: true}
- name: b
  members: [{group: eng}]
  deny:
  - {projects: ["*"], operations: [v1-update-a-project]}
`

// An explanation has every rule that has something to say, in the order of the file, and nothing else.
func TestExplain(t *testing.T) {
	p := load(t, explained)
	e := p.Explain(of("eng"), "", policy.Request{Op: operations(t)("v1-update-a-project"), Target: project(prod)}, today)
	var got []string
	for _, s := range e.Steps {
		got = append(got, s.Rule+": "+s.Says)
	}
	want := []string{
		"policy.yaml:7 teams[0].allow[0]: is about the target, but not about the operation",
		"policy.yaml:8 teams[0].allow[1]: covers the operation there, but only what is destructive",
		"policy.yaml:9 teams[0].allow[2]: covered the call until it ended at 2026-01-01T00:00Z",
		"policy.yaml:10 teams[0].allow[3]: is about the operation, but not about the target",
		"policy.yaml:12 teams[0].allow[5]: covers the call",
		"policy.yaml:16 teams[1].deny[0]: covers the call",
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e.Decision.Allow || e.Effect != "write" || !slices.Equal(e.Teams, []string{"a", "b"}) || !slices.Equal(e.Needs, []string{"projects:write", "project_admin_write"}) {
		t.Errorf("%+v", e)
	}
	text := e.String()
	for _, part := range []string{"decision  deny", "rule      policy.yaml:16 teams[1].deny[0]", "needs     projects:write or project_admin_write", "teams     a, b", "(shadow allow) covers the call", "Ask #platform."} {
		if !strings.Contains(text, part) {
			t.Errorf("lacks %q:\n%s", part, text)
		}
	}
}

// The rule that opens a list is about its items; that it is not about the list itself would read as a refusal.
func TestExplainAnOpenedList(t *testing.T) {
	p := load(t, explained)
	e := p.Explain(of("eng"), "", policy.Request{Op: operations(t)("v1-list-all-projects"), Target: policy.Target{Resolved: true}}, today)
	if rule := "policy.yaml:7 teams[0].allow[0]"; !e.Decision.Allow || !slices.Contains(e.Steps, policy.Step{Rule: rule, Says: "opens the list, which shows only what the caller may read"}) {
		t.Errorf("%+v, want one step of %s that opens the list", e, rule)
	}
}

func TestExplainNobody(t *testing.T) {
	p := load(t, explained)
	if e := p.Explain(nil, "", policy.Request{}, today); e.Decision.Allow || e.Decision.Reason == "" || len(e.Steps) != 0 {
		t.Errorf("%+v", e)
	}
}

// Access lists all that a caller may do, and nothing that has ended.
func TestAccess(t *testing.T) {
	p := load(t, explained)
	a := p.Access(of("eng"), today)
	if len(a.Teams) != 2 || a.Policy != p.Version() || a.Limits != nil || a.Admin {
		t.Fatalf("%+v", a)
	}
	team := a.Teams[0]
	if team.Name != "a" || team.Contact != "#platform" || team.Weight != 1 || !team.Acting || len(team.Allow) != 5 || len(a.Teams[1].Deny) != 1 {
		t.Fatalf("%+v", team)
	}
	read := team.Allow[0]
	if !slices.Contains(read.Operations, "v1-get-project") || slices.Contains(read.Operations, "v1-list-all-projects") || slices.Contains(read.Operations, "v1-update-a-project") {
		t.Errorf("operations %q", read.Operations)
	}
	if last := team.Allow[4]; !last.Shadow {
		t.Errorf("%+v is no shadow", last)
	}
	if before := p.Access(of("eng"), today.AddDate(-1, 0, 0)).Teams[0].Allow; len(before) != 6 || before[2].Until == nil || !before[2].Until.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("before the end: %+v", before)
	}
	text, err := json.Marshal(a)
	if err != nil || !strings.Contains(string(text), `"effects":["destructive"]`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAccessOfALimitedToken(t *testing.T) {
	p := load(t, explained)
	a := p.Access(limited(identity.Restriction{Team: "b"}), today)
	if a.Limits == nil || len(a.Teams) != 2 || a.Teams[0].Acting || len(a.Teams[0].Allow) != 0 || !a.Teams[1].Acting {
		t.Errorf("%+v", a)
	}
	if none := p.Access(of("nobody"), today); len(none.Teams) != 0 || none.Teams == nil {
		t.Errorf("%+v", none)
	}
	if none := p.Access(nil, today); len(none.Teams) != 0 || none.Admin {
		t.Errorf("%+v", none)
	}
}
