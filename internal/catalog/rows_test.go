package catalog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
)

// rows reads extra rows as the configuration writes them.
func rows(t *testing.T, text string) []catalog.Row {
	t.Helper()
	var file struct {
		Extra []catalog.Row `yaml:"extra"`
	}
	if _, err := strictyaml.Decode("gateway.yaml", []byte("extra:\n"+text), &file); err != nil {
		t.Fatal(err)
	}
	return file.Extra
}

func TestExtraRowAddsAnOperation(t *testing.T) {
	c := load(t, rows(t, `
- {id: x-report, method: POST, path: "/v3/organizations/{slug}/reports/{report}", params: {report: "(?:daily|weekly)-[0-9]{4}"},
   effect: write, scope: "reports:write", permissions: [reports_write, "reports_admin+organization_admin_write"], limit: logs}
- {id: x-tree, method: GET, path: "/test/{id}", effect: read, cache: {ttl: 1m}}
`)...)
	call, err := c.Parse("POST", "/v3/organizations/acme/reports/weekly-2026")
	if err != nil {
		t.Fatal(err)
	}
	if call.Op.ID != "x-report" || call.Target != (catalog.Target{Kind: catalog.Organization, ID: "acme"}) || call.Param("report") != "weekly-2026" {
		t.Errorf("Parse = %s about %v with the report %q", call.Op.ID, call.Target, call.Param("report"))
	}
	if got := call.Op.Class.Name; got != "logs" {
		t.Errorf("limit class %s, want logs", got)
	}
	if got := alternatives(call.Op.Permissions); strings.Join(got, "|") != "reports_admin+organization_admin_write|reports_write" {
		t.Errorf("permissions %q", got)
	}
	for _, path := range []string{"/v3/organizations/acme/reports/monthly-2026", "/v3/organizations/acme/reports/weekly-20266", "/v3/organizations/acme/reports/x-daily-2026"} {
		if _, err := c.Parse("POST", path); err == nil {
			t.Errorf("Parse(POST %s) was accepted: the pattern is of the whole segment", path)
		}
	}
	call, err = c.Parse("GET", "/test/"+uuid)
	if err != nil || call.Target.Kind != catalog.Account || call.Op.Cache.TTL != time.Minute {
		t.Errorf("Parse(GET /test/…) = %v, %v; want it about the account, kept for a minute", call.Target, err)
	}
	if !strings.HasSuffix(c.Version(), "+2") {
		t.Errorf("Version() = %s, want it to count the extra rows", c.Version())
	}
}

func TestExtraRowAdjustsCacheAndLimit(t *testing.T) {
	before := load(t).Lookup("v1-list-all-functions")
	after := load(t, rows(t, `
- {id: v1-list-all-functions, cache: {ttl: 0s}}
- {id: v1-get-project, cache: {ttl: 1s, errors: true}, limit: logs}
`)...)
	if got := after.Lookup("v1-list-all-functions"); got.Cache.TTL != 0 || got.Scope != before.Scope || got.Class.Name != before.Class.Name {
		t.Errorf("the adjusted row is %+v, want only its cache rule changed", got)
	}
	if got := after.Lookup("v1-get-project"); got.Cache != (catalog.Cache{TTL: time.Second, Errors: true}) || got.Class.Name != "logs" {
		t.Errorf("the adjusted row is kept %+v in class %s", got.Cache, got.Class.Name)
	}
}

func TestExtraRowReplacesWhatIsOnlyAssumed(t *testing.T) {
	c := load(t, rows(t, `
- {id: x-notebook, method: GET, path: "/v2/projects/{ref}/notebooks/{id}", params: {id: "[0-9a-f-]{36}"}, effect: read, scope: "database:read", cache: {ttl: 10s}}
- {id: v2RunProjectAdvisors, method: POST, path: "/v2/projects/{ref}/advisors/run", effect: write, scope: "advisors:write"}
`)...)
	call, err := c.Parse("GET", "/v2/projects/"+ref+"/notebooks/"+uuid)
	if err != nil || call.Op.ID != "x-notebook" || call.Op.Assumed {
		t.Errorf("Parse = %v, %v, want the operator's row", call.Op, err)
	}
	if c.Lookup("v2GetNotebook") != nil {
		t.Error("the replaced row is still there")
	}
	if got := c.Lookup("v2RunProjectAdvisors"); got.Scope != "advisors:write" || got.Effect != catalog.Write {
		t.Errorf("the row replaced under its own id is %+v", got)
	}
}

// TestEveryFaultOfExtraRowsIsReportedAtOnce has a row per fault; all are loaded together.
func TestEveryFaultOfExtraRowsIsReportedAtOnce(t *testing.T) {
	faults := []struct{ row, key, says string }{
		{`{id: v1-get-projct, cache: {ttl: 1s}}`, "id", "did you mean v1-get-project?"},
		{`{id: v1-get-project, scope: "a:read"}`, "", "only cache and limit"},
		{`{id: v1-list-all-branches, limit: fast}`, "limit", "write one of context, default"},
		{`{id: v1-get-a-branch, cache: {ttl: 1s}}`, "none", ""},
		{`{id: v1-get-a-branch, cache: {ttl: 2s}}`, "id", "merge the two"},
		{`{id: x-1, method: GET, path: "/v1/projects/{any}", effect: read}`, "path", "is v1-get-project already"},
		{`{id: v1-get-health, method: GET, path: "/v3/a", effect: read}`, "none", ""},
		{`{id: v1-get-health, method: GET, path: "/v3/b", effect: read}`, "id", "has this id already"},
		{`{id: x-2, method: GET, path: "/v3/a", effect: read}`, "path", "is v1-get-health already"},
		{`{method: GET, path: "/v3/c", effect: read}`, "id", "needs an id"},
		{`{id: "x/3", method: GET, path: "/v3/d", effect: read}`, "id", "is no id"},
		{`{id: x-4, method: get, path: "/v3/e", effect: read}`, "method", "is no method"},
		{`{id: x-5, method: GET, path: "/v3/f"}`, "effect", "read, write or destructive"},
		{`{id: x-6, method: GET, path: "v3/g", effect: read}`, "path", "is no path template"},
		{`{id: x-7, method: GET, path: "/v3/../h", effect: read}`, "path", "is no segment"},
		{`{id: x-8, method: GET, path: "/v3//i", effect: read}`, "path", "is no segment"},
		{`{id: x-9, method: GET, path: "/v3/{Ref}", effect: read}`, "path", "is no parameter"},
		{`{id: x-10, method: GET, path: "/v3/j/{ref}/{ref}", effect: read}`, "path", "stands twice"},
		{`{id: x-11, method: GET, path: "/v3/k/{thing}", effect: read}`, "params.thing", "regular expression"},
		{`{id: x-12, method: GET, path: "/v3/l/{thing}", params: {thing: "["}, effect: read}`, "params.thing", "is no regular expression"},
		{`{id: x-13, method: GET, path: "/v3/m", params: {thing: "a"}, effect: read}`, "params.thing", "has no {thing}"},
		{`{id: x-14, method: GET, path: "/-/n", effect: read}`, "path", "answers /-/ itself"},
		{`{id: x-15, method: GET, path: "/v3/o", effect: read, target: project}`, "target", "named by {ref}"},
		{`{id: x-16, method: GET, path: "/v3/p/{ref}", params: {ref: ".*"}, effect: read}`, "params.ref", "one form"},
		{`{id: x-17, method: POST, path: "/v3/q", effect: write, cache: {ttl: 1s}}`, "cache", "only GET operations that read"},
		{`{id: x-18, method: GET, path: "/v3/r", effect: read, scope: "read"}`, "scope", "is no scope"},
		{`{id: x-19, method: GET, path: "/v3/s", effect: read, permissions: ["a b"]}`, "permissions[0]", "is no permission"},
		{`{id: x-20, method: GET, path: "/v3/t", effect: read, touches: [world]}`, "touches[0]", "nothing that can be touched"},
		{`{id: x-21, method: GET, path: "/v3/u", effect: read, repeat: ["a[]"]}`, "repeat[0]", "is no name"},
		{`{id: x-22, method: POST, path: "/v3/v", effect: read, list: projects}`, "list", "only GET operations"},
		{`{id: x-23, method: POST, path: "/v3/w", effect: write, body_target: [slug]}`, "body_target", "organization only"},
		{`{id: x-24, method: POST, path: "/v3/x", effect: read, read_only_if: {field: a}}`, "read_only_if", "write a read"},
		{`{id: x-25, method: GET, path: "/v3/y", effect: read, local: true}`, "local", "no answer of its own"},
		{`{id: x-26, method: GET, path: "/v3/z", effect: read, limit: slow}`, "limit", "is no limit class"},
		{`{id: x-27, method: GET, path: "/v3/aa", effect: read, cache: {ttl: 0s, errors: true}}`, "cache", "give ttl as well"},
		{`{id: x-28, method: GET, path: "/v3/ab", effect: read, cache: {ttl: 0s, strict: true}}`, "cache", "give ttl as well"},
	}
	var text strings.Builder
	for _, f := range faults {
		text.WriteString("- " + f.row + "\n")
	}
	_, err := catalog.New(rows(t, text.String())...)
	var found catalog.Faults
	if !errors.As(err, &found) {
		t.Fatalf("New = %v, want Faults", err)
	}
	byRow := map[int][]catalog.Fault{}
	for _, fault := range found {
		byRow[fault.Row] = append(byRow[fault.Row], fault)
	}
	for i, want := range faults {
		got := byRow[i]
		switch {
		case want.key == "none" && len(got) > 0:
			t.Errorf("row %s is right, but: %v", want.row, got)
		case want.key != "none" && (len(got) != 1 || got[0].Key != want.key || !strings.Contains(got[0].Message, want.says)):
			t.Errorf("row %s: %v, want one fault of %q saying %q", want.row, got, want.key, want.says)
		}
	}
	if text := found.Error(); strings.Count(text, "\n") != len(found)-1 || !strings.Contains(text, "extra[0] (v1-get-projct).id: ") {
		t.Errorf("the faults are written as %q, want a line each that names row, id and key", text)
	}
}
