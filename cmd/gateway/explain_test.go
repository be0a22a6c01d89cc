package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
)

const (
	ours   = "abcdefghijklmnopqrst"
	theirs = "kzwqmvtydhbfrnoxjlpe"
)

// explainDir is a folder with a configuration and the policy that it names.
func explainDir(t *testing.T, policy string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"gateway.yaml": `server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1:8080"}
state: {dir: state}
credentials: [{name: shared, owner: bot, token: {file: pat}}]
policy: {file: policy.yaml}
`,
		"pat":         "sbp_0000000000000000000000000000000000000000",
		"policy.yaml": policy,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func explainRun(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"explain", "--config", filepath.Join(dir, "gateway.yaml")}, args...), func(string) string { return "" }, &out, &out)
	return out.String(), err
}

func TestExplainOneCall(t *testing.T) {
	dir := explainDir(t, `teams:
  - name: payments
    members: [{group: payments-eng}, {email: ada@corp.example}]
    allow:
      - {projects: [`+ours+`], branches: true, scopes: ["projects:read", "database:read", "environment:read"], effects: [read]}
      - {organizations: [acme], operations: [v1-create-a-project]}
`)
	for _, test := range []struct {
		args  []string
		allow bool
		has   string
	}{
		{[]string{"--as", "group:payments-eng", "GET", "/v1/projects/" + ours}, true, "policy.yaml:5 teams[0].allow[0]"},
		{[]string{"--as", "email:ada@corp.example", "get", "/v1/projects/" + ours}, true, "policy.yaml:5 teams[0].allow[0]"},
		{[]string{"--as", "team:payments", "GET", "/v1/projects/" + ours}, true, "payments"},
		{[]string{"--as", "group:payments-eng", "GET", "/v1/projects/" + theirs}, false, "unknown   whose branch it is"},
		{[]string{"--as", "group:payments-eng", "--parent", ours, "GET", "/v1/projects/" + theirs}, true, "teams[0].allow[0]"},
		{[]string{"--as", "group:payments-eng", "--parent", ours, "GET", "/v1/branches/3f9a2c1e-7b64-4d0e-9a51-6c8e2f10b7d3"}, true, "teams[0].allow[0]"},
		{[]string{"--as", "group:payments-eng", "POST", "/v1/projects/" + ours + "/database/query"}, false, "effect"},
		{[]string{"--as", "group:payments-eng", "--read-only", "POST", "/v1/projects/" + ours + "/database/query"}, true, "read"},
		{[]string{"--as", "group:payments-eng", "POST", "/v1/projects"}, false, "unknown   which organization"},
		{[]string{"--as", "group:payments-eng", "--organization", "acme", "POST", "/v1/projects"}, true, "teams[0].allow[1]"},
		{[]string{"--as", "group:strangers", "GET", "/v1/projects/" + ours}, false, "missing"},
	} {
		out, err := explainRun(t, dir, test.args...)
		if (err == nil) != test.allow || !strings.Contains(out, test.has) {
			t.Errorf("explain %q: %v\n%s\nwant allow %v and %q", test.args, err, out, test.allow, test.has)
		}
	}
	for who, want := range map[string]string{"team:payment": "the policy has no such team; it has payments", "issuer:github,repository=acme/payments": "the configuration has no such issuer; it has none"} {
		if out, err := explainRun(t, dir, "--as", who, "GET", "/v1/projects/"+ours); err == nil || !strings.Contains(err.Error(), "--as "+who+": "+want) {
			t.Errorf("explain --as %s: %v\n%s\nwant %q", who, err, out, want)
		}
	}
	if out, err := explainRun(t, dir, "--audit", dir); err == nil || !strings.Contains(err.Error(), "no audit files in "+dir) {
		t.Errorf("a folder without a log: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{}, {"--as", "group:x"}, {"--as", "x", "GET", "/v1/projects"}, {"--as", "group:x", "GET", "/v1/nothing"},
		{"--as", "group:x", "--audit", dir}, {"--audit", dir, "GET", "/v1/projects"}, {"--audit", dir, "--since", "soon"},
		{"--as", "group:x", "--since", "1d", "GET", "/v1/projects"}, {"--audit", dir, "--team", "payments"},
		{"--as", "group:x", "--policy", filepath.Join(dir, "none.yaml"), "GET", "/v1/projects"},
		{"--as", "group:x", "--read-only", "GET", "/v1/projects"},
		{"--as", "group:x", "--project", theirs, "GET", "/v1/projects/" + ours},
	} {
		if out, err := explainRun(t, dir, args...); err == nil {
			t.Errorf("explain %q: no error\n%s", args, out)
		}
	}
}

// recorded makes an audit log of outcomes.
func recorded(t *testing.T, dir string, records ...audit.Record) string {
	t.Helper()
	dir = filepath.Join(dir, "audit")
	log, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		err = errors.Join(err, log.Outcome(t.Context(), &records[i]))
	}
	if err = errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// call is the outcome of one call of the payments team; change makes it another.
func call(operation, project string, allowed bool, change func(*audit.Record)) audit.Record {
	r := audit.Record{
		RequestID: "request-" + operation, Caller: audit.Caller{Kind: "person", Issuer: "corp", Subject: "ada"}, Team: "payments",
		Operation: operation, Target: audit.Target{Kind: "project", Project: project}, Decision: audit.Decision{Allow: allowed},
	}
	if !allowed {
		r.Decision.Reason = "no grant"
	} else {
		r.Upstream.Status = 200
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestReplayTellsWhichDecisionsWouldChange(t *testing.T) {
	const query = "v1-run-a-query"
	for _, test := range []struct {
		name   string
		policy string // the payments team's rules
		record audit.Record
		want   string // a part of the output
		change bool
	}{
		{"as before", `allow: [{projects: [` + ours + `], scopes: ["projects:read"]}]`, call("v1-get-project", ours, true, nil), "1 call judged", false},
		{"a grant is gone", `allow: [{projects: [` + ours + `], scopes: ["rest:read"]}]`, call("v1-get-project", ours, true, nil), "no grant: projects:read", true},
		{"a deny is new", "deny: [{projects: [" + ours + "], branches: false, operations: [v1-get-project]}]\n    allow: [{projects: [" + ours + `], scopes: ["*"]}]`,
			call("v1-get-project", ours, true, nil), "new.yaml:4 teams[0].deny[0]", true},
		{"a grant is new", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("v1-delete-a-project", ours, false, nil), "new.yaml:4 teams[0].allow[0]", true},
		{"the team is gone", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("v1-get-project", ours, true, func(r *audit.Record) { r.Team = "gone" }), "the policy has no such team", true},
		{"a grant that had not ended then", `allow: [{projects: [` + ours + `], scopes: ["*"], until: ` + time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04Z") + `}]`,
			call("v1-get-project", ours, true, nil), "0 would be", false},
		{"a query that wrote", `allow: [{projects: [` + ours + `], scopes: ["database:read"]}]`, call(query, ours, true, func(r *audit.Record) { r.BodySHA256 = strings.Repeat("a", 64) }), "refused by this policy", true},
		{"a query that read", `allow: [{projects: [` + ours + `], scopes: ["database:read"]}]`, call(query, ours, true, nil), "0 would be", false},
		{"a refused query may have been either", `allow: [{projects: [` + ours + `], scopes: ["database:read"]}]`, call(query, ours, false, nil), "whether a refused query only read", false},
		{"no team is recorded", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("v1-get-project", ours, false, func(r *audit.Record) { r.Team = "" }), "the log names no team", false},
		{"perhaps a branch", `allow: [{projects: [` + ours + `], branches: true, scopes: ["*"]}]`, call("v1-get-project", theirs, true, nil), "whose branch", false},
		{"perhaps of the organization", `allow: [{organizations: [acme], scopes: ["*"]}]`, call("v1-get-project", theirs, true, nil), "which organization", false},
		{"of the recorded organization", `allow: [{organizations: [acme], scopes: ["*"]}]`, call("v1-get-project", theirs, true, func(r *audit.Record) { r.Target.Organization = "acme" }), "0 would be", false},
		{"an operation that is gone", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("x-gone", ours, true, nil), "the catalogue has no such operation", false},
		{"a stranger", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("", "", false, func(r *audit.Record) { r.Team = "" }), "holds no calls", false},
		{"a path that does not exist", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("", "", false, func(r *audit.Record) { r.Decision.Reason = "" }), "holds no calls", false},
		{"the gateway's own operations", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("gateway-token-create", "", true, func(r *audit.Record) { r.Team = "" }), "holds no calls", false},
		{"what no policy decides", `allow: [{projects: [` + ours + `], scopes: ["*"]}]`, call("v1-get-profile", "", true, func(r *audit.Record) { r.Team = "" }), "holds no calls", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rules := "teams:\n  - name: payments\n    members: [{group: payments-eng}]\n    " + test.policy + "\n"
			dir := explainDir(t, "teams:\n  - name: payments\n    members: [{group: payments-eng}]\n")
			path := filepath.Join(dir, "new.yaml")
			if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := explainRun(t, dir, "--audit", recorded(t, dir, test.record), "--policy", path)
			if (err != nil) != test.change || !strings.Contains(out, test.want) {
				t.Errorf("error %v, want one: %v\n%s\nwant %q", err, test.change, out, test.want)
			}
		})
	}
}

func TestReplayCountsAndGroups(t *testing.T) {
	dir := explainDir(t, "teams:\n  - name: payments\n    members: [{group: payments-eng}]\n    allow: [{projects: ["+ours+"], scopes: [\"rest:read\"]}]\n")
	log := recorded(t, dir,
		call("v1-get-project", ours, true, nil), call("v1-get-project", ours, true, nil), call("v1-get-project", ours, true, nil),
		call("v1-get-postgrest-service-config", ours, false, nil), call("v1-get-project", ours, false, nil))
	out, err := explainRun(t, dir, "--audit", log, "--since", "1h")
	if err == nil || !strings.Contains(err.Error(), "4 recorded calls") {
		t.Errorf("error %v, want one about 4 calls", err)
	}
	for _, want := range []string{"5 calls judged", "4 would be decided otherwise by ", "       3  payments", "       1  payments", "Allowed then", "Refused then", "request-v1-get-project"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, err := explainRun(t, dir, "--audit", log, "--until", "1h"); err != nil || !strings.Contains(out, "holds no calls") {
		t.Errorf("before the log began: %v\n%s", err, out)
	}
}
