package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/test/harness"
)

// grants is the policy of these tests: payments and field must not see each other, and every other team tries one part
// of the language.
const grants = `
contact: "#platform"
teams:
  - name: payments
    members: [{group: payments-eng}]
    allow:
      - {projects: [` + sandbox.Payments + `, ` + sandbox.Ledger + `], branches: true, scopes: ["*"], permissions: ["*"]}
      - {organizations: [` + sandbox.Acme + `], operations: [v1-get-an-organization, v1-create-a-project]}
  - name: field
    members: [{group: field-eng}]
    allow:
      - {projects: [` + sandbox.FieldApp + `, ` + sandbox.Telemetry + `], branches: true, scopes: ["*"], permissions: ["*"]}
      - {organizations: [` + sandbox.Globex + `], operations: [v1-get-an-organization, v1-create-a-project]}
  - name: no-branches
    members: [{group: no-branches}]
    allow:
      - {projects: [` + sandbox.Payments + `], scopes: ["*"], permissions: ["*"]}
  - name: whole-organization
    members: [{group: whole-organization}]
    allow:
      - {organizations: [` + sandbox.Globex + `], branches: true, scopes: ["*"], permissions: ["*"]}
  - name: both
    members: [{group: both}]
    allow:
      - {projects: [` + sandbox.Payments + `], branches: true, scopes: ["*"]}
      - {organizations: [` + sandbox.Globex + `], branches: true, scopes: ["*"]}
  - name: readers
    members: [{group: readers}]
    allow:
      - {projects: [` + sandbox.Payments + `], branches: true, scopes: ["*:read"], effects: [read]}
    deny:
      - {projects: ["*"], scopes: ["secrets:read"]}
  - name: guarded
    members: [{group: guarded}]
    allow:
      - {organizations: [` + sandbox.Acme + `], branches: true, scopes: ["*"]}
    deny:
      - {projects: [` + sandbox.Payments + `], scopes: ["*"]}
  - name: platform
    admin: true
    members: [{group: platform-eng}]
    allow:
      - {projects: ["*"], organizations: ["*"], branches: true, account: true, scopes: ["*"], permissions: ["*"]}
`

// The branches of the stand-in that these tests speak of.
const (
	stagingID  = "3f9a2c1e-7b64-4d0e-9a51-6c8e2f10b7d3" // of Payments
	developID  = "e1746fb2-3d8a-4c95-a07e-58b2c9d4f613" // of FieldApp
	developRef = "hjtqwxmznrkdvpbfyglc"
)

// member is a bearer token of somebody in the groups.
func member(g *harness.Gateway, groups ...string) string {
	return g.JWT("linus", idp.Claim("groups", groups))
}

// items lists one field of every item of a list, sorted, whatever form the list has.
func items(t *testing.T, a harness.Answer, field string) []string {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(a.Text), &list); err != nil {
		var object struct{ Projects, Data []map[string]any }
		if err := json.Unmarshal([]byte(a.Text), &object); err != nil {
			t.Fatalf("answer %d is no list: %v: %s", a.StatusCode, err, a.Text)
		}
		list = append(object.Projects, object.Data...)
	}
	values := []string{}
	for _, item := range list {
		value, _ := item[field].(string)
		values = append(values, value)
	}
	slices.Sort(values)
	return values
}

func sorted(values ...string) []string {
	if values == nil {
		return []string{}
	}
	slices.Sort(values)
	return values
}

func TestTwoTeamsNeverSeeEachOtherInAnyList(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	ada, bob := member(g, "payments-eng"), member(g, "field-eng")
	for _, test := range []struct {
		path, field string
		ada, bob    []string // nil: refused
	}{
		{"/v1/projects", "ref", sorted(sandbox.Payments, sandbox.Ledger), sorted(sandbox.FieldApp, sandbox.Telemetry)},
		{"/v1/organizations", "slug", sorted(sandbox.Acme), sorted(sandbox.Globex)},
		{"/v1/organizations/" + sandbox.Acme + "/projects", "ref", sorted(sandbox.Payments, sandbox.Ledger, sandbox.PaymentsStaging, sandbox.PaymentsRefundFlow), nil},
		{"/v1/organizations/" + sandbox.Globex + "/projects", "ref", nil, sorted(sandbox.FieldApp, sandbox.Telemetry, developRef)},
		{"/v2/organizations/" + sandbox.Acme + "/projects", "id", sorted(sandbox.Payments, sandbox.Ledger), nil},
		{"/v2/organizations/" + sandbox.Globex + "/projects", "id", nil, sorted(sandbox.FieldApp, sandbox.Telemetry)},
		{"/v1/snippets", "name", sorted("Payments per day", "Open refunds", "Unbalanced entries"), sorted("Devices by firmware")},
		{"/v1/projects/" + sandbox.Payments + "/branches", "project_ref", sorted(sandbox.Payments, sandbox.PaymentsStaging, sandbox.PaymentsRefundFlow), nil},
		{"/v1/projects/" + sandbox.FieldApp + "/branches", "project_ref", nil, sorted(sandbox.FieldApp, developRef)},
	} {
		for round := range 3 { // the first of all is a miss; both orders of asking come after it
			for who, want := range map[string][]string{ada: test.ada, bob: test.bob} {
				a := g.Get(who, test.path)
				if want == nil {
					if a.StatusCode != http.StatusForbidden {
						t.Errorf("%s: the other team got %d: %s", test.path, a.StatusCode, a.Text)
					}
					continue
				}
				if a.StatusCode != http.StatusOK {
					t.Errorf("%s: %d %s", test.path, a.StatusCode, a.Text)
					continue
				}
				if got := items(t, a, test.field); !slices.Equal(got, want) {
					t.Errorf("%s, round %d: shows %v, want %v", test.path, round, got, want)
				}
				if round > 0 && !isHit(a) {
					t.Errorf("%s, round %d: Cache-Status %q, want a hit", test.path, round, a.Header.Get("Cache-Status"))
				}
			}
		}
	}
}

// What a list shows is what a direct GET gives: neither more nor less, for every team and every project there is.
func TestAListShowsExactlyWhatADirectReadGives(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	all := map[string][]string{sandbox.Acme: {sandbox.PaymentsStaging, sandbox.PaymentsRefundFlow, "pxwkzrvdhqnfmtbjylgc"}, sandbox.Globex: {developRef}}
	for _, project := range sandbox.Seed().Projects {
		all[project.Organization] = append(all[project.Organization], project.Ref)
	}
	for _, group := range []string{"payments-eng", "field-eng", "no-branches", "whole-organization", "both", "readers", "guarded", "platform-eng"} {
		token := member(g, group)
		for slug, refs := range all {
			var readable []string
			for _, ref := range refs {
				switch a := g.Get(token, "/v1/projects/"+ref); a.StatusCode {
				case http.StatusOK:
					readable = append(readable, ref)
				case http.StatusForbidden:
				default:
					t.Fatalf("%s reads %s: %d %s", group, ref, a.StatusCode, a.Text)
				}
			}
			a := g.Get(token, "/v1/organizations/"+slug+"/projects")
			if a.StatusCode == http.StatusForbidden && len(readable) == 0 {
				continue
			}
			if got := items(t, a, "ref"); !slices.Equal(got, sorted(readable...)) {
				t.Errorf("%s sees %v of %s, but may read %v", group, got, slug, sorted(readable...))
			}
		}
	}
}

func TestAListThatCannotBeReadIsRefusedAndNeverPassedThrough(t *testing.T) {
	t.Parallel()
	var spoilt sync.Map // path → body
	g := harness.Start(t, harness.Options{Policy: grants, Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, found := spoilt.LoadAndDelete(r.URL.Path); found {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(body.(string)))
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	ada := member(g, "payments-eng")
	secret := `"ref":"` + sandbox.FieldApp + `","secret":"hunter2"`
	for name, body := range map[string]string{
		"no JSON":                  `<html>hunter2</html>`,
		"cut off":                  `[{` + secret + `}`,
		"a field that says twice":  `[{` + secret + `,"ref":"` + sandbox.Payments + `"}]`,
		"another form":             `{"result":[{` + secret + `}]}`,
		"an item without identity": `[{"name":"hunter2"}]`,
		"text behind the end":      `[]{` + secret + `}`,
		"nothing at all":           ``,
	} {
		for _, path := range []string{"/v1/projects", "/v1/organizations", "/v1/organizations/" + sandbox.Acme + "/projects", "/v1/snippets", "/v1/projects/" + sandbox.Payments + "/branches"} {
			spoilt.Store(path, body)
			a := g.Get(ada, path, "Cache-Control", "no-cache")
			if p := a.Problem(t); a.StatusCode != http.StatusBadGateway || p.Code != "upstream_failed" || strings.Contains(a.Text, "hunter2") {
				t.Errorf("%s at %s: %d %s", name, path, a.StatusCode, a.Text)
			}
			if _, left := spoilt.Load(path); left {
				t.Errorf("%s at %s: upstream was not asked", name, path)
			}
			if a := g.Get(ada, path); a.StatusCode != http.StatusOK {
				t.Errorf("%s at %s was kept: the next to ask got %d %s", name, path, a.StatusCode, a.Text)
			}
		}
	}
	if strings.Contains(g.Log(), "hunter2") {
		t.Error("the log quotes an answer that nobody may see")
	}
}

func TestSecretFieldsAreForWhoMayReadSecrets(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	for _, test := range []struct {
		path    string
		secrets []string
	}{
		{"/v1/branches/" + stagingID, []string{"db_pass", "jwt_secret"}},
		{"/v1/branches/" + sandbox.PaymentsStaging, []string{"db_pass", "jwt_secret"}},
		{"/v1/projects/" + sandbox.Payments + "/postgrest", []string{"jwt_secret"}},
		{"/v1/projects/" + sandbox.PaymentsStaging + "/postgrest", []string{"jwt_secret"}},
	} {
		for round := range 2 {
			for group, shown := range map[string]bool{"payments-eng": true, "readers": false, "platform-eng": true} {
				a := g.Get(member(g, group), test.path)
				if a.StatusCode != http.StatusOK {
					t.Errorf("%s reads %s: %d %s", group, test.path, a.StatusCode, a.Text)
				}
				for _, secret := range test.secrets {
					if got := strings.Contains(a.Text, `"`+secret+`"`); got != shown {
						t.Errorf("%s, round %d: %s shows %s: %v, want %v", group, round, test.path, secret, got, shown)
					}
				}
				if !json.Valid([]byte(a.Text)) {
					t.Errorf("%s: %s", test.path, a.Text)
				}
			}
		}
	}
}

func TestDenyBeatsAllowWhateverTeamAllows(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	path := "/v1/projects/" + sandbox.Payments + "/api-keys"
	for _, test := range []struct {
		groups []string
		team   string // X-Gateway-Team
		status int
	}{
		{[]string{"payments-eng"}, "", 200},
		{[]string{"readers"}, "", 403},
		{[]string{"payments-eng", "readers"}, "", 403},
		{[]string{"payments-eng", "readers"}, "payments", 403}, // picking another team leaves the deny in force
		{[]string{"payments-eng", "field-eng"}, "payments", 200},
		{[]string{"payments-eng", "field-eng"}, "field", 403}, // picking a team leaves only its grants
		{[]string{"payments-eng"}, "field", 403},              // nobody picks a team they are not in
		{[]string{"payments-eng"}, "nobody", 403},
	} {
		var headers []string
		if test.team != "" {
			headers = []string{"X-Gateway-Team", test.team}
		}
		if a := g.Get(member(g, test.groups...), path, headers...); a.StatusCode != test.status {
			t.Errorf("%v as %q: %d %s, want %d", test.groups, test.team, a.StatusCode, a.Text, test.status)
		}
	}
	// The same in a list: what the other team may see is not in it.
	both := member(g, "payments-eng", "field-eng")
	if got, want := refs(t, g.Get(both, "/v1/projects")), sorted(sandbox.Payments, sandbox.Ledger, sandbox.FieldApp, sandbox.Telemetry); !slices.Equal(got, want) {
		t.Errorf("both teams see %v, want %v", got, want)
	}
	if got, want := refs(t, g.Get(both, "/v1/projects", "X-Gateway-Team", "field")), sorted(sandbox.FieldApp, sandbox.Telemetry); !slices.Equal(got, want) {
		t.Errorf("as field: %v, want %v", got, want)
	}
	for _, r := range g.Upstream.Requests() {
		if r.Header.Get("X-Gateway-Team") != "" {
			t.Error("upstream saw X-Gateway-Team")
		}
	}
}

func TestAMintedTokenHasNoMoreThanItWasLimitedTo(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	mint := func(args ...string) string {
		t.Helper()
		stdout, stderr, err := g.Run(append([]string{"token", "create", "--subject", "robot", "--name", "test"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	payments, ledger := "/v1/projects/"+sandbox.Payments, "/v1/projects/"+sandbox.Ledger
	oneProject := mint("--team", "payments", "--project", sandbox.Payments)
	oneScope := mint("--team", "payments", "--scope", "projects:read")
	otherTeam := mint("--team", "field")
	for _, test := range []struct {
		name, token, path string
		status            int
	}{
		{"its project", oneProject, payments, 200},
		{"its project's branch", oneProject, "/v1/projects/" + sandbox.PaymentsStaging, 200},
		{"another project of its team", oneProject, ledger, 403},
		{"an organization of its team", oneProject, "/v1/organizations/" + sandbox.Acme, 403},
		{"its scope", oneScope, ledger, 200},
		{"another scope of its team", oneScope, payments + "/functions", 403},
		{"another team's project", otherTeam, payments, 403},
	} {
		if a := g.Get(test.token, test.path); a.StatusCode != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, a.StatusCode, a.Text, test.status)
		} else if test.status == 403 && len(a.Problem(t).Missing) == 0 {
			t.Errorf("%s: %s does not say what is missing", test.name, a.Text)
		}
	}
	if got := refs(t, g.Get(oneProject, "/v1/projects")); !slices.Equal(got, []string{sandbox.Payments}) {
		t.Errorf("a token for one project lists %v", got)
	}
	if got := items(t, g.Get(oneProject, "/v1/snippets"), "name"); !slices.Equal(got, sorted("Payments per day", "Open refunds")) {
		t.Errorf("a token for one project lists the snippets %v", got)
	}

	// A token made in the portal's API for one of several teams.
	owner := member(g, "payments-eng", "field-eng")
	made := g.Do(owner, "POST", "/-/api/tokens", `{"name":"laptop","expires_in":"1h","team":"field"}`)
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(made.Text), &token); err != nil || token.Token == "" {
		t.Fatalf("minting: %d %s", made.StatusCode, made.Text)
	}
	if a := g.Get(token.Token, payments); a.StatusCode != http.StatusForbidden {
		t.Errorf("limited to field, it reads payments: %d", a.StatusCode)
	}
	if a := g.Get(token.Token, "/v1/projects/"+sandbox.FieldApp); a.StatusCode != http.StatusOK {
		t.Errorf("limited to field, it does not read field's: %d %s", a.StatusCode, a.Text)
	}
}
