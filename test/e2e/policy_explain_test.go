package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// explained is the part of /-/api/explain's answer that a call's own answer and "gateway explain" also tell.
type explained struct {
	Allow   bool
	Team    string
	Rule    string
	Reason  string
	Missing []string
}

// explainByCommand runs "gateway explain" and reads what it prints.
func explainByCommand(g *harness.Gateway, args ...string) explained {
	stdout, stderr, err := g.Run(append([]string{"explain"}, args...)...)
	e := explained{Reason: stderr}
	for line := range strings.Lines(stdout) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch value = strings.TrimSpace(value); name {
		case "decision":
			e.Allow, e.Reason = value == "allow" && err == nil, ""
		case "team":
			e.Team = value
		case "rule":
			e.Rule = value
		case "reason":
			e.Reason = value
		case "missing":
			e.Missing = strings.Split(value, ", ")
		}
	}
	return e
}

// The answer to a call, its audit record, /-/api/explain and "gateway explain" say the same, for every way to be refused.
func TestEveryRefusalIsExplainedTheSameEverywhere(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	requests := map[string]explained{}
	for _, test := range []struct {
		name, group, team, method, path string
		facts                           []string // what only a running gateway finds out
		names                           []string // what the refusal names; none: the call is allowed
		rule                            bool     // a rule decided
	}{
		{"allowed", "payments-eng", "", "GET", "/v1/projects/" + sandbox.Payments, nil, nil, true},
		{"allowed, a branch", "payments-eng", "", "GET", "/v1/projects/" + sandbox.PaymentsStaging, []string{"--parent", sandbox.Payments}, nil, true},
		{"allowed, an organization's", "whole-organization", "", "GET", "/v1/projects/" + sandbox.Billing, []string{"--organization", sandbox.Globex}, nil, true},
		{"allowed, a list", "payments-eng", "", "GET", "/v1/projects", nil, nil, true},
		{"no grant is about the target", "field-eng", "", "GET", "/v1/projects/" + sandbox.Payments, nil,
			[]string{"v1-get-project", sandbox.Payments, "field", "project:" + sandbox.Payments}, false},
		{"no grant is about the operation", "readers", "", "DELETE", "/v1/projects/" + sandbox.Payments, nil,
			[]string{"v1-delete-a-project", sandbox.Payments, "readers", "projects:write"}, false},
		{"a grant about the operation, but not what it does", "readers", "", "GET", "/v1/projects/" + sandbox.Payments + "/billing/addons", nil,
			[]string{"v1-list-project-addons", sandbox.Payments, "readers", "infra_add_ons_read"}, false},
		{"a deny", "readers", "", "GET", "/v1/projects/" + sandbox.Payments + "/api-keys", nil,
			[]string{"v1-get-project-api-keys", sandbox.Payments, "readers", "operation:v1-get-project-api-keys"}, true},
		{"another organization", "payments-eng", "", "GET", "/v1/organizations/" + sandbox.Globex, nil,
			[]string{"v1-get-an-organization", sandbox.Globex, "payments", "organization:" + sandbox.Globex}, false},
		{"the account", "payments-eng", "", "GET", "/v1/projects/available-regions?organization_slug=acme", nil,
			[]string{"v1-get-available-regions", "payments", "account"}, false},
		{"a stranger", "nobody", "", "GET", "/v1/projects/" + sandbox.Payments, nil,
			[]string{"v1-get-project", sandbox.Payments, "projects:read"}, false},
		{"a team of others", "payments-eng", "field", "GET", "/v1/projects/" + sandbox.FieldApp, nil, []string{"field", "payments", "team:field"}, false},
	} {
		token := member(g, test.group)
		ask := url.Values{"method": {test.method}, "path": {test.path}}
		args := append([]string{"--as", "group:" + test.group}, test.facts...)
		var headers []string
		if test.team != "" {
			ask.Set("team", test.team)
			args, headers = append(args, "--team", test.team), []string{"X-Gateway-Team", test.team}
		}
		byCommand := explainByCommand(g, append(args, test.method, test.path)...)
		var byAPI explained
		if a := g.Get(token, "/-/api/explain?"+ask.Encode()); a.StatusCode != http.StatusOK || json.Unmarshal([]byte(a.Text), &byAPI) != nil {
			t.Errorf("%s: /-/api/explain: %d %s", test.name, a.StatusCode, a.Text)
			continue
		}
		if byCommand.Allow != byAPI.Allow || byCommand.Rule != byAPI.Rule || byCommand.Reason != byAPI.Reason || byCommand.Team != byAPI.Team || !slices.Equal(byCommand.Missing, byAPI.Missing) {
			t.Errorf("%s: the command says %+v\nthe API %+v", test.name, byCommand, byAPI)
		}
		if (byAPI.Rule != "") != test.rule || test.rule && !strings.HasPrefix(byAPI.Rule, "policy.yaml:") {
			t.Errorf("%s: rule %q", test.name, byAPI.Rule)
		}

		a := g.Do(token, test.method, test.path, "", headers...)
		requests[a.Header.Get("X-Request-Id")] = byAPI
		if test.names == nil {
			if a.StatusCode != http.StatusOK || !byAPI.Allow {
				t.Errorf("%s: %d %s, explained as %+v", test.name, a.StatusCode, a.Text, byAPI)
			}
			continue
		}
		p := a.Problem(t)
		if a.StatusCode != http.StatusForbidden || p.Code != "denied" || byAPI.Allow || p.Message != byAPI.Reason || !slices.Equal(p.Missing, byAPI.Missing) {
			t.Errorf("%s: %d %s\nexplained as %+v", test.name, a.StatusCode, a.Text, byAPI)
		}
		for _, name := range test.names {
			if !strings.Contains(p.Message+" "+strings.Join(p.Missing, " "), name) {
				t.Errorf("%s: %q, missing %q: does not name %s", test.name, p.Message, p.Missing, name)
			}
		}
	}
	for id, want := range requests {
		record := g.Audit(id)[0]
		if record.Decision.Allow != want.Allow || record.Decision.Rule != want.Rule || record.Decision.Reason != want.Reason || record.Team != want.Team {
			t.Errorf("the audit log says %+v for team %q\nthe API %+v", record.Decision, record.Team, want)
		}
	}
}

func TestAccessListsAllThatACallerMayDo(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	var access struct {
		Teams []struct {
			Name  string
			Allow []struct {
				Rule       string
				Projects   []string
				Operations []string
			}
			Deny []struct{ Rule string }
		}
	}
	a := g.Get(member(g, "readers"), "/-/api/access")
	if err := json.Unmarshal([]byte(a.Text), &access); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.Text)
	}
	if len(access.Teams) != 1 || access.Teams[0].Name != "readers" || len(access.Teams[0].Allow) != 1 || len(access.Teams[0].Deny) != 1 {
		t.Fatalf("access %+v", access)
	}
	grant := access.Teams[0].Allow[0]
	if !slices.Equal(grant.Projects, []string{sandbox.Payments}) || !slices.Contains(grant.Operations, "v1-get-project") || slices.Contains(grant.Operations, "v1-delete-a-project") {
		t.Errorf("grant %+v", grant)
	}
	if strings.Contains(a.Text, sandbox.FieldApp) {
		t.Error("it shows what other teams may do")
	}
}

func TestReplayOfALiveLog(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	ada := member(g, "payments-eng")
	for range 3 {
		g.Get(ada, "/v1/projects/"+sandbox.Payments+"/functions")
	}
	last := g.Get(ada, "/v1/projects/"+sandbox.Payments).Header.Get("X-Request-Id")
	g.Audit(last)
	g.Write("new.yaml", strings.Replace(grants, "deny:\n      - {projects: [\"*\"], scopes: [\"secrets:read\"]}", "deny:\n      - {projects: [\"*\"], scopes: [\"secrets:write\"]}", 1))
	if stdout, stderr, err := g.Run("explain", "--audit", g.Path("state/audit"), "--policy", g.Path("new.yaml")); err != nil || !strings.Contains(stdout, "4 calls judged") || !strings.Contains(stdout, ": 0 would") {
		t.Errorf("a change that concerns nobody: %v\n%s%s", err, stdout, stderr)
	}
	g.Write("new.yaml", strings.Replace(grants, `branches: true, scopes: ["*"], permissions: ["*"]}`, `branches: true, scopes: ["projects:*"]}`, 1))
	stdout, stderr, err := g.Run("explain", "--audit", g.Path("state/audit"), "--policy", g.Path("new.yaml"))
	if err == nil || !strings.Contains(stdout, "3 would be decided otherwise") || !strings.Contains(stdout, "v1-list-all-functions") || !strings.Contains(stdout, "edge_functions:read") {
		t.Errorf("a tightening: %v\n%s%s", err, stdout, stderr)
	}
}

func TestAShadowRuleIsRecordedAndNotEnforced(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: `teams:
  - name: payments
    members: [{group: payments-eng}]
    allow:
      - {projects: [` + sandbox.Payments + `], scopes: ["projects:read"]}
      - {projects: [` + sandbox.Ledger + `], scopes: ["projects:read"], shadow: true}
    deny:
      - {projects: [` + sandbox.Payments + `], branches: false, operations: [v1-get-project], shadow: true}
`})
	ada := member(g, "payments-eng")
	for project, want := range map[string]struct {
		status       int
		rule, metric string
	}{
		sandbox.Payments: {http.StatusOK, "policy.yaml:8 teams[0].deny[0]", "shadow_deny"},
		sandbox.Ledger:   {http.StatusForbidden, "policy.yaml:6 teams[0].allow[1]", "shadow_allow"},
	} {
		a := g.Get(ada, "/v1/projects/"+project)
		record := g.Audit(a.Header.Get("X-Request-Id"))[0]
		if a.StatusCode != want.status || record.Decision.Shadow != want.rule || record.Decision.Allow != (want.status == http.StatusOK) {
			t.Errorf("%s: %d, recorded as %+v, want %d and %s", project, a.StatusCode, record.Decision, want.status, want.rule)
		}
		if _, metrics := operator(t, g, "/metrics"); !strings.Contains(metrics, `gateway_policy_decisions_total{decision="`+want.metric+`"} 1`) {
			t.Errorf("%s: no %s in gateway_policy_decisions_total", project, want.metric)
		}
	}
	if got := refs(t, g.Get(ada, "/v1/projects")); !slices.Equal(got, []string{sandbox.Payments}) {
		t.Errorf("the list shows %v: shadow rules hide nothing and show nothing", got)
	}
}
