package proxy

import (
	"net/http"
	"slices"
	"testing"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/inventory"
	"corp.example/gateway/internal/policy"
)

const (
	main    = "abcdefghijklmnopqrst"
	preview = "bcdefghijklmnopqrstu" // main's branch
	other   = "cdefghijklmnopqrstuv"
)

func TestAWriteMakesOldWhatItShowsInAndNothingElse(t *testing.T) {
	operations, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{inventory: inventory.New(nil)}
	branches := operations.Lookup("v1-list-all-branches")
	p.inventory.Learn(branches, catalog.Target{Kind: catalog.Project, ID: main},
		[]byte(`[{"id":"11111111-1111-4111-8111-111111111111","project_ref":"`+preview+`","parent_project_ref":"`+main+`"}]`))
	branch := policy.Target{Kind: catalog.Branch, Project: preview, Parent: main, Branch: true}

	for name, test := range map[string]struct {
		method, path string
		target       policy.Target // as far as it was resolved; zero: what the path says
		old, kept    []string      // paths of reads
	}{
		"a write within a project": {"POST", "/v1/projects/" + main + "/secrets", policy.Target{},
			[]string{"/v1/projects/" + main + "/secrets", "/v1/projects/" + main + "/functions", "/v1/projects/" + main, "/v1/branches/11111111-1111-4111-8111-111111111111"},
			[]string{"/v1/projects/" + other + "/secrets", "/v1/projects", "/v1/organizations"}},
		"a project's new name": {"PATCH", "/v1/projects/" + main, policy.Target{},
			[]string{"/v1/projects/" + main, "/v1/projects", "/v1/organizations/acme/projects"},
			[]string{"/v1/projects/" + other}},
		"a new project": {"POST", "/v1/projects", policy.Target{Kind: catalog.Organization, Organization: "acme"},
			[]string{"/v1/projects", "/v1/organizations/acme/projects"},
			[]string{"/v1/projects/" + other}},
		"a branch's own project is paused": {"POST", "/v1/projects/" + preview + "/pause", policy.Target{},
			[]string{"/v1/projects/" + preview, "/v1/projects/" + main + "/branches"},
			[]string{"/v1/projects/" + other}},
		"a branch is deleted": {"DELETE", "/v1/branches/11111111-1111-4111-8111-111111111111", branch,
			[]string{"/v1/projects/" + main + "/branches", "/v1/projects/" + preview, "/v1/branches/11111111-1111-4111-8111-111111111111"},
			[]string{"/v1/projects/" + other + "/branches"}},
		"a branch of which nothing is known": {"DELETE", "/v1/branches/22222222-2222-4222-8222-222222222222", policy.Target{Kind: catalog.Branch},
			[]string{"/v1/branches/22222222-2222-4222-8222-222222222222", "/v1/projects"}, nil},
		"a new organization": {"POST", "/v1/organizations", policy.Target{}, []string{"/v1/organizations"}, []string{"/v1/projects/" + main}},
	} {
		t.Run(name, func(t *testing.T) {
			parse := func(method, path string) catalog.Call {
				call, err := operations.Parse(method, path)
				if err != nil {
					t.Fatal(err)
				}
				return call
			}
			call := parse(test.method, test.path)
			if test.target == (policy.Target{}) {
				test.target = namedTarget(call.Target)
			}
			written := p.writeScopes(call, test.target)
			isOld := func(path string) bool {
				read := parse(http.MethodGet, path)
				target := namedTarget(read.Target)
				if read.Target.Kind == catalog.Branch {
					target = branch
				}
				scopes := append(readScopes(read, target), cache.PathScope(path)) // the latter is every entry's without being told
				return slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(written, scope) })
			}
			for _, path := range test.old {
				if !isOld(path) {
					t.Errorf("GET %s is still served: %v are touched", path, written)
				}
			}
			for _, path := range test.kept {
				if isOld(path) {
					t.Errorf("GET %s is asked again for nothing: %v are touched", path, written)
				}
			}
		})
	}
}
