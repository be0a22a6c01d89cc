package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

func TestABranchIsReachedThroughItsParentsGrantOnly(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	byName := "/v1/projects/" + sandbox.Payments + "/branches/staging"
	ownRef := "/v1/projects/" + sandbox.PaymentsStaging + "/functions"
	for _, test := range []struct {
		name, group, path string
		status            int
	}{
		// The first to ask about a branch is who has it looked for.
		{"an organization's grant beside a project's, by id", "both", "/v1/branches/" + developID, 200},
		{"by id", "payments-eng", "/v1/branches/" + stagingID, 200},
		{"by ref", "payments-eng", "/v1/branches/" + sandbox.PaymentsStaging, 200},
		{"by name under its parent", "payments-eng", byName, 200},
		{"its own project", "payments-eng", ownRef, 200},
		{"another team's, by id", "field-eng", "/v1/branches/" + stagingID, 403},
		{"another team's, by ref", "field-eng", "/v1/branches/" + sandbox.PaymentsStaging, 403},
		{"another team's, by name", "field-eng", byName, 403},
		{"another team's own project", "field-eng", ownRef, 403},
		{"the parent's grant without branches, by id", "no-branches", "/v1/branches/" + stagingID, 403},
		{"the parent's grant without branches, its own project", "no-branches", ownRef, 403},
		{"an organization's grant, by id", "whole-organization", "/v1/branches/" + developID, 200},
		{"an organization's grant, its own project", "whole-organization", "/v1/projects/" + developRef, 200},
		{"an organization's grant does not cover another's", "whole-organization", "/v1/branches/" + stagingID, 403},
		{"a deny on the parent holds for its branches, by id", "guarded", "/v1/branches/" + stagingID, 403},
		{"a deny on the parent holds for its branches, own project", "guarded", ownRef, 403},
		{"one that does not exist", "payments-eng", "/v1/branches/00000000-0000-4000-8000-000000000000", 403},
	} {
		for round := range 2 {
			a := g.Get(member(g, test.group), test.path)
			if a.StatusCode != test.status {
				t.Errorf("%s, round %d: %d %s, want %d", test.name, round, a.StatusCode, a.Text, test.status)
			}
		}
	}
	// A write, and its record: a branch's own project is what the line is about.
	a := g.Do(member(g, "payments-eng"), "POST", "/v1/projects/"+sandbox.PaymentsStaging+"/secrets", `[{"name":"KEY","value":"v"}]`)
	if a.StatusCode != http.StatusCreated {
		t.Errorf("a write to a branch's project: %d %s", a.StatusCode, a.Text)
	}
	if a := g.Do(member(g, "no-branches"), "DELETE", "/v1/branches/"+stagingID, ""); a.StatusCode != http.StatusForbidden {
		t.Errorf("deleting the branch without its parent's branches: %d", a.StatusCode)
	}
	for _, r := range g.Upstream.Requests() {
		if r.Method == "DELETE" {
			t.Error("upstream saw a DELETE that was refused")
		}
	}
}

func TestASnippetBelongsToItsProject(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	for _, snippet := range sandbox.Seed().Snippets {
		for _, test := range []struct {
			group    string
			projects []string // whose snippets it may read
		}{
			{"both", []string{sandbox.Payments, sandbox.Telemetry, sandbox.Billing}},
			{"whole-organization", []string{sandbox.Telemetry, sandbox.Billing}},
			{"guarded", []string{sandbox.Ledger, sandbox.Storefront}},
			{"payments-eng", []string{sandbox.Payments, sandbox.Ledger}},
			{"field-eng", []string{sandbox.FieldApp, sandbox.Telemetry}},
		} {
			want := http.StatusForbidden
			if slices.Contains(test.projects, snippet.Project) {
				want = http.StatusOK
			}
			for round := range 2 {
				if a := g.Get(member(g, test.group), "/v1/snippets/"+snippet.ID); a.StatusCode != want {
					t.Errorf("%s reads %q, round %d: %d %s, want %d", test.group, snippet.Name, round, a.StatusCode, a.Text, want)
				}
			}
		}
	}
	for group, want := range map[string][]string{
		"whole-organization": {"Devices by firmware", "Invoices overdue"},
		"both":               {"Devices by firmware", "Invoices overdue", "Open refunds", "Payments per day"},
		"guarded":            {"Abandoned baskets", "Unbalanced entries"},
	} {
		if got := items(t, g.Get(member(g, group), "/v1/snippets"), "name"); !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v", group, got, want)
		}
	}
}

func TestWhoMaySeeAllSnippetsCausesNoLookUps(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	grace := member(g, "platform-eng")
	if got := items(t, g.Get(grace, "/v1/snippets"), "name"); len(got) != 6 {
		t.Errorf("sees %v, want all six", got)
	}
	if a := g.Get(grace, "/v1/snippets/"+sandbox.Seed().Snippets[0].ID); a.StatusCode != http.StatusOK {
		t.Errorf("reads one: %d %s", a.StatusCode, a.Text)
	}
	if n := len(g.Upstream.Requests()); n != 2 {
		t.Errorf("upstream was asked %d times, want twice: a grant for every project needs no look-up", n)
	}
}

func TestANewProjectBelongsToTheOrganizationItsBodyNames(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	ada := member(g, "payments-eng")
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"its own organization", `{"name":"n","db_pass":"p","organization_slug":"acme"}`, 201},
		{"by the older name", `{"name":"n","db_pass":"p","organization_id":"acme"}`, 201},
		{"by both, alike", `{"name":"n","db_pass":"p","organization_id":"acme","organization_slug":"acme"}`, 201},
		{"another organization", `{"name":"n","db_pass":"p","organization_slug":"globex-industries"}`, 403},
		{"another by the older name", `{"name":"n","db_pass":"p","organization_id":"globex-industries"}`, 403},
		{"two that contradict", `{"name":"n","db_pass":"p","organization_slug":"acme","organization_id":"globex-industries"}`, 400},
		{"none", `{"name":"n","db_pass":"p"}`, 400},
		{"none, empty", `{"organization_slug":""}`, 400},
		{"a number", `{"organization_slug":7}`, 400},
		{"null", `{"organization_slug":null}`, 400},
		{"twice", `{"organization_slug":"acme","organization_slug":"globex-industries"}`, 400},
		{"twice, once by an escape", `{"organization_slug":"acme","organization\u005fslug":"globex-industries"}`, 400},
		{"something behind it", `{"organization_slug":"acme"} {"organization_slug":"globex-industries"}`, 400},
		{"no object", `["acme"]`, 400},
		{"nothing", ``, 400},
		{"too large to decide", `{"pad":"` + strings.Repeat("x", 1<<20) + `","organization_slug":"acme"}`, 413},
	} {
		before := len(g.Upstream.Requests())
		a := g.Do(ada, "POST", "/v1/projects", test.body)
		if a.StatusCode != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, a.StatusCode, a.Text, test.status)
		}
		if asked := len(g.Upstream.Requests()) - before; asked != 0 && test.status != 201 {
			t.Errorf("%s: upstream was asked", test.name)
		}
		if test.status == 403 && !slices.Contains(a.Problem(t).Missing, "organization:globex-industries") {
			t.Errorf("%s: missing %v", test.name, a.Problem(t).Missing)
		}
	}
}

func TestAnOrganizationsGrantCoversItsProjectsAndNoOthers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	admin := member(g, "whole-organization")
	for path, status := range map[string]int{
		"/v1/projects/" + sandbox.Billing:                           200,
		"/v1/projects/" + sandbox.Telemetry + "/functions":          200,
		"/v1/projects/" + sandbox.Payments:                          403,
		"/v1/organizations/" + sandbox.Globex + "/members":          200,
		"/v1/organizations/" + sandbox.Acme + "/members":            403,
		"/v1/projects/zzzzzzzzzzzzzzzzzzzz":                         403, // nobody knows whose it is
		"/v1/projects/" + sandbox.Payments + "/branches/staging":    403,
		"/v1/projects/" + sandbox.FieldApp + "/branches/develop":    200,
		"/v1/projects/" + developRef + "/health?services=auth":      200,
		"/v1/projects/" + sandbox.PaymentsStaging + "/api-keys":     403,
		"/v1/projects/" + sandbox.Billing + "/config/disk":          200,
		"/v1/projects/" + sandbox.Billing + "/api-keys?reveal=true": 200,
	} {
		if a := g.Get(admin, path); a.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", path, a.StatusCode, a.Text, status)
		}
	}
	made := g.Do(admin, "POST", "/v1/projects", `{"name":"new","db_pass":"p","organization_slug":"globex-industries"}`)
	if made.StatusCode != http.StatusCreated {
		t.Fatalf("creating a project: %d %s", made.StatusCode, made.Text)
	}
	_, ref, _ := strings.Cut(made.Text, `"ref":"`)
	if len(ref) < 20 {
		t.Fatalf("no ref in %s", made.Text)
	}
	if a := g.Get(admin, "/v1/projects/"+ref[:20]); a.StatusCode != http.StatusOK {
		t.Errorf("the new project at once: %d %s", a.StatusCode, a.Text)
	}
	if a := g.Get(member(g, "payments-eng"), "/v1/projects/"+ref[:20]); a.StatusCode != http.StatusForbidden {
		t.Errorf("the new project to another team: %d", a.StatusCode)
	}
}

func TestAQueryThatOnlyReadsIsARead(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	path := "/v1/projects/" + sandbox.Payments + "/database/query"
	for _, test := range []struct {
		name, body       string
		reader, engineer int
	}{
		{"read-only", `{"query":"select 1","read_only":true}`, 201, 201},
		{"the field first, with spaces", `{ "read_only" : true , "query" : "select 1" }`, 201, 201},
		{"not said", `{"query":"select 1"}`, 403, 201},
		{"said to write", `{"query":"select 1","read_only":false}`, 403, 201},
		{"a text that looks like it", `{"query":"select 1","read_only":"true"}`, 403, 0},
		{"another case", `{"query":"select 1","Read_Only":true}`, 403, 201},
		{"deeper down", `{"query":"select 1","parameters":[{"read_only":true}]}`, 403, 201},
		{"twice", `{"query":"drop table t","read_only":true,"read_only":false}`, 400, 400},
		{"twice, once by an escape", `{"query":"drop table t","read_only":true,"read\u005fonly":false}`, 400, 400},
		{"data behind it", `{"read_only":true}{"query":"drop table t"}`, 400, 400},
		{"cut off", `{"read_only":true`, 400, 400},
		{"no JSON", `read_only=true`, 400, 400},
		{"too large to decide is judged as a write", `{"read_only":true,"query":"select '` + strings.Repeat("x", 1<<20) + `'"}`, 403, 201},
	} {
		for group, want := range map[string]int{"readers": test.reader, "payments-eng": test.engineer} {
			if want == 0 {
				continue // upstream's business
			}
			before := len(g.Upstream.Requests())
			a := g.Do(member(g, group), "POST", path, test.body)
			if a.StatusCode != want {
				t.Errorf("%s by %s: %d %.200s, want %d", test.name, group, a.StatusCode, a.Text, want)
			}
			if asked := len(g.Upstream.Requests()) != before; asked != (want == 201) {
				t.Errorf("%s by %s: upstream asked: %v", test.name, group, asked)
			}
		}
	}
}

// Nobody's call makes the gateway ask upstream about targets that no grant of theirs could reach.
func TestNothingIsLookedUpForWhomNoGrantCouldHelp(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	snippet := "/v1/snippets/" + sandbox.Seed().Snippets[0].ID
	for _, test := range []struct {
		name, group, path string
	}{
		{"a stranger's branch", "nobody", "/v1/branches/" + stagingID},
		{"a stranger's snippet", "nobody", snippet},
		{"a stranger's list", "nobody", "/v1/projects"},
		{"a stranger's project", "nobody", "/v1/projects/" + sandbox.Payments},
		{"a grant without branches", "no-branches", "/v1/branches/" + stagingID},
		{"a grant without branches, own project", "no-branches", "/v1/projects/" + sandbox.PaymentsStaging},
		{"a reader's secrets", "readers", "/v1/projects/" + sandbox.Payments + "/secrets"},
		{"a grant on one project", "no-branches", "/v1/projects/" + sandbox.Ledger},
	} {
		if a := g.Get(member(g, test.group), test.path); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d %s", test.name, a.StatusCode, a.Text)
		}
		for _, r := range g.Upstream.Requests() {
			t.Errorf("%s: upstream was asked %s %s", test.name, r.Method, r.Target)
		}
		g.Upstream.Recorder().Reset()
	}
	// What is looked up is kept: a second call costs its own request alone.
	ada := member(g, "payments-eng")
	g.Get(ada, "/v1/branches/"+stagingID)
	g.Upstream.Recorder().Reset()
	g.Get(ada, "/v1/branches/"+stagingID)
	if n := len(g.Upstream.Requests()); n != 1 {
		t.Errorf("a known branch cost %d requests, want 1", n)
	}
}

func TestAListUnderAnotherStatusIsNarrowedToo(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/projects", "/v1/organizations/" + sandbox.Acme + "/projects"} {
		g := harness.Start(t, harness.Options{Front: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					w = &transforming{ResponseWriter: w}
				}
				next.ServeHTTP(w, r)
			})
		}})
		a := g.Get(g.JWT("ada"), path)
		if a.StatusCode != http.StatusNonAuthoritativeInfo || !strings.Contains(a.Text, sandbox.Payments) || strings.Contains(a.Text, sandbox.Storefront) {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.Text)
		}
	}
}

// transforming says 203 instead of 200, as a proxy that changed something does.
type transforming struct{ http.ResponseWriter }

func (w *transforming) WriteHeader(status int) {
	if status == http.StatusOK {
		status = http.StatusNonAuthoritativeInfo
	}
	w.ResponseWriter.WriteHeader(status)
}
