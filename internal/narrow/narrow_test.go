package narrow_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/narrow"
)

const (
	mine  = "aaaaaaaaaaaaaaaaaaaa"
	other = "bbbbbbbbbbbbbbbbbbbb"
)

// onlyMine keeps what belongs to the project and the organization that are the caller's.
func onlyMine(i narrow.Item) bool {
	return i.Project == mine || i.Parent == mine || i.Organization == "acme" || i.ProjectNumber == "7"
}

func TestList(t *testing.T) {
	tests := []struct {
		name       string
		kind       catalog.List
		body, want string
		removed    int
	}{
		{
			"projects of others are removed, what stays is untouched", catalog.ListProjects,
			`[ {"ref":"` + other + `", "n": 1.0}, {"ref":"` + mine + `", "name":"\u0061", "n": 1.0} ,{"ref":"` + other + `"}]`,
			`[ {"ref":"` + mine + `", "name":"\u0061", "n": 1.0} ]`, 2,
		},
		{
			"nothing left", catalog.ListProjects,
			`[{"ref":"` + other + `"},{"ref":"` + other + `"}]`, `[]`, 2,
		},
		{
			"first, middle and last", catalog.ListOrganizations,
			`[{"slug":"x"},{"slug":"acme","id":"1"},{"slug":"y"},{"slug":"acme","id":"2"},{"slug":"z"}]`,
			`[{"slug":"acme","id":"1"},{"slug":"acme","id":"2"}]`, 3,
		},
		{
			"an empty list", catalog.ListProjects, ` [ ] `, ` [ ] `, 0,
		},
		{
			"snippets by their project's number; the cursor stays", catalog.ListSnippets,
			`{"data":[{"id":"s1","project":{"id":7,"name":"a"}},{"id":"s2","project":{"id":8,"name":"b"}},{"id":"s3","project":null}],"cursor":"next"}`,
			`{"data":[{"id":"s1","project":{"id":7,"name":"a"}}],"cursor":"next"}`, 2,
		},
		{
			"branches by their parent", catalog.ListBranches,
			`[{"id":"1","project_ref":"` + other + `","parent_project_ref":"` + mine + `"},{"id":"2","project_ref":"` + other + `","parent_project_ref":"` + other + `"}]`,
			`[{"id":"1","project_ref":"` + other + `","parent_project_ref":"` + mine + `"}]`, 1,
		},
		{
			"the newer form of projects", catalog.ListOrgProjects,
			`{"data":[{"type":"project","id":"` + other + `","attributes":{"name":"x"}},{"type":"project","id":"` + mine + `","attributes":{}}],"links":{"next":null}}`,
			`{"data":[{"type":"project","id":"` + mine + `","attributes":{}}],"links":{"next":null}}`, 1,
		},
		{
			"the only page's count is put right", catalog.ListOrgProjects,
			`{"pagination":{"count":2,"limit":100,"offset":0},"projects":[{"ref":"` + other + `"},{"ref":"` + mine + `"}]}`,
			`{"pagination":{"count":1,"limit":100,"offset":0},"projects":[{"ref":"` + mine + `"}]}`, 1,
		},
		{
			"the count of a longer list is not guessed", catalog.ListOrgProjects,
			`{"projects":[{"ref":"` + other + `"},{"ref":"` + mine + `"}],"pagination":{"count":200,"limit":2,"offset":0}}`,
			`{"projects":[{"ref":"` + mine + `"}],"pagination":{"count":200,"limit":2,"offset":0}}`, 1,
		},
		{
			"the newer form", catalog.ListOrgProjects,
			`{"data":[{"ref":"` + other + `"},{"ref":"` + mine + `"}],"next":null}`,
			`{"data":[{"ref":"` + mine + `"}],"next":null}`, 1,
		},
		{
			"a name written with escapes is the same name", catalog.ListProjects,
			`[{"\u0072ef":"` + other + `"},{"r\u0065f":"` + mine + `"}]`, `[{"r\u0065f":"` + mine + `"}]`, 1,
		},
		{
			"a value written with escapes is the same value", catalog.ListOrganizations,
			`[{"slug":"\u0061cme"}]`, `[{"slug":"\u0061cme"}]`, 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, removed, err := narrow.List([]byte(tt.body), tt.kind, onlyMine)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want || removed != tt.removed {
				t.Errorf("got  %s (%d removed)\nwant %s (%d removed)", got, removed, tt.want, tt.removed)
			}
		})
	}
}

// An answer that one reader may take otherwise than another never passes.
func TestListRefuses(t *testing.T) {
	tests := []struct {
		name string
		kind catalog.List
		body string
	}{
		{"nothing", catalog.ListProjects, ``},
		{"text", catalog.ListProjects, `<html>`},
		{"an error in place of a list", catalog.ListProjects, `{"message":"no"}`},
		{"a cut answer", catalog.ListProjects, `[{"ref":"` + mine + `"}`},
		{"a second value", catalog.ListProjects, `[] []`},
		{"an item that is no object", catalog.ListProjects, `["` + mine + `"]`},
		{"an item without a ref", catalog.ListProjects, `[{"id":"` + mine + `"}]`},
		{"an item whose ref is null", catalog.ListProjects, `[{"ref":null}]`},
		{"an item whose ref is an object", catalog.ListProjects, `[{"ref":{}}]`},
		{"a ref that stands twice", catalog.ListProjects, `[{"ref":"` + mine + `","ref":"` + other + `"}]`},
		{"a ref that stands twice, once with escapes", catalog.ListProjects, `[{"ref":"` + mine + `","\u0072ef":"` + other + `"}]`},
		{"a project that stands twice", catalog.ListSnippets, `{"data":[{"id":"1","project":{"id":7},"project":{"id":8}}]}`},
		{"a project's number that stands twice", catalog.ListSnippets, `{"data":[{"id":"1","project":{"id":7,"id":8}}]}`},
		{"two lists", catalog.ListSnippets, `{"data":[],"data":[{"id":"1"}]}`},
		{"two lists under two names", catalog.ListOrgProjects, `{"data":[],"projects":[]}`},
		{"a resource of another kind", catalog.ListOrgProjects, `{"data":[{"type":"invoice","id":"` + mine + `"}]}`},
		{"a resource without an id", catalog.ListOrgProjects, `{"data":[{"type":"project"}]}`},
		{"two types", catalog.ListOrgProjects, `{"data":[{"type":"invoice","type":"project","id":"` + mine + `"}]}`},
		{"two paginations", catalog.ListOrgProjects, `{"projects":[],"pagination":{"count":0},"pagination":{"count":0}}`},
		{"two counts", catalog.ListOrgProjects, `{"projects":[],"pagination":{"count":0,"count":1}}`},
		{"a count that is no number", catalog.ListOrgProjects, `{"projects":[],"pagination":{"count":"many"}}`},
		{"a control character", catalog.ListProjects, "[{\"ref\":\"a\nb\"}]"},
		{"a number with a leading zero", catalog.ListProjects, `[{"ref":"` + mine + `","n":01}]`},
		{"a trailing comma", catalog.ListProjects, `[{"ref":"` + mine + `"},]`},
		{"an unknown escape", catalog.ListProjects, `[{"ref":"\x"}]`},
		{"nested without end", catalog.ListProjects, strings.Repeat("[", 100_000)},
		{"no list at all", catalog.NotAList, `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, err := narrow.List([]byte(tt.body), tt.kind, func(narrow.Item) bool { return true }); err == nil {
				t.Errorf("List(%.60s) = %.60s, want an error", tt.body, got)
			}
		})
	}
}

// Errors may reach a log, so they must not quote an answer.
func TestErrorsNameNoContent(t *testing.T) {
	_, _, err := narrow.List([]byte(`[{"ref":"hunter2","ref":"hunter2"}]`), catalog.ListProjects, onlyMine)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error without the answer's text", err)
	}
}

func TestListOfEverythingIsNotCopied(t *testing.T) {
	body := []byte(`[{"ref":"` + mine + `"}]`)
	got, _, err := narrow.List(body, catalog.ListProjects, onlyMine)
	if err != nil || &got[0] != &body[0] {
		t.Errorf("got %s, %v, want the same slice", got, err)
	}
}

func TestPages(t *testing.T) {
	page := func(refs ...string) []byte {
		var items []string
		for i, ref := range refs {
			items = append(items, fmt.Sprintf(`{"ref":%q,"n":%d}`, ref, i))
		}
		return []byte(`{"projects":[` + strings.Join(items, ",") + `],"pagination":{"count":99,"limit":3,"offset":0}}`)
	}
	pages := [][]byte{page(other, other, other), page(mine, other, mine), page(mine)}
	tests := []struct {
		offset, limit int
		want          string
	}{
		{0, 100, `{"projects":[{"ref":"M","n":0},{"ref":"M","n":2},{"ref":"M","n":0}],"pagination":{"count":3,"limit":100,"offset":0}}`},
		{1, 1, `{"projects":[{"ref":"M","n":2}],"pagination":{"count":3,"limit":1,"offset":1}}`},
		{3, 2, `{"projects":[],"pagination":{"count":3,"limit":2,"offset":3}}`},
	}
	for _, tt := range tests {
		got, removed, err := narrow.Pages(pages, tt.offset, tt.limit, onlyMine)
		if want := strings.ReplaceAll(tt.want, "M", mine); err != nil || string(got) != want || removed != 4 {
			t.Errorf("Pages(offset %d, limit %d) = %s, %d removed, %v\nwant %s", tt.offset, tt.limit, got, removed, err, want)
		}
	}
	if _, _, err := narrow.Pages([][]byte{pages[0], []byte(`{"data":[]}`)}, 0, 1, onlyMine); err == nil {
		t.Error("pages of two forms were put together")
	}
	if _, _, err := narrow.Pages(nil, 0, 1, onlyMine); err == nil {
		t.Error("no page made a page")
	}
}

func TestSecrets(t *testing.T) {
	names := []string{"db_pass", "jwt_secret"}
	tests := []struct{ name, body, want string }{
		{"first", `{"db_pass":"x","a":1}`, `{"a":1}`},
		{"last", `{"a":1, "db_pass":"x"}`, `{"a":1}`},
		{"between", `{"a":1,"db_pass":"x","b":2}`, `{"a":1,"b":2}`},
		{"one after another", `{"db_pass":"x","jwt_secret":"y","a":1,"jwt_secret":"z","db_pass":"w"}`, `{"a":1}`},
		{"all", `{"db_pass":"x" , "jwt_secret":"y"}`, `{}`},
		{"at any depth", `[{"a":{"b":[{"db_pass":{"c":1}},1]}}]`, `[{"a":{"b":[{},1]}}]`},
		{"a whole object", `{"db_pass":{"jwt_secret":1},"a":1}`, `{"a":1}`},
		{"a name with escapes", `{"db\u005fpass":"x"}`, `{}`},
		{"a name in another place is a value", `{"a":"db_pass"}`, `{"a":"db_pass"}`},
		{"nothing to remove", `{"a":1}`, `{"a":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := narrow.Secrets([]byte(tt.body), names)
			if err != nil || string(got) != tt.want {
				t.Errorf("Secrets(%s) = %s, %v, want %s", tt.body, got, err, tt.want)
			}
		})
	}
	for _, body := range []string{``, `{"db_pass":`, `{"a":1}{"db_pass":"x"}`, `db_pass`, `{"db_pass" "x"}`} {
		if got, err := narrow.Secrets([]byte(body), names); err == nil {
			t.Errorf("Secrets(%s) = %s, want an error", body, got)
		}
	}
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{
		`[{"ref":"` + mine + `"},{"ref":"` + other + `","id":1}]`,
		`{"projects":[{"ref":"x","is_branch":true}],"pagination":{"count":1,"limit":100,"offset":0}}`,
		`{"data":[{"id":"1","project":{"id":7}}],"cursor":"x"}`,
		`[{"id":"1","project_ref":"a","parent_project_ref":"\u00e4"}]`,
		`[1.5e-3,"\ud800",null,{"":{}}]`,
	} {
		f.Add([]byte(seed), uint8(1), uint16(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, kind uint8, pattern uint16) {
		var refused []string
		var n, kept int
		keep := func(i narrow.Item) bool {
			n++
			if pattern&(1<<(n%16)) != 0 {
				kept++
				return true
			}
			refused = append(refused, i.ID+i.Project+i.Organization)
			return false
		}
		list := catalog.List(kind % 6)
		got, removed, err := narrow.List(body, list, keep)
		if err != nil {
			return
		}
		if !json.Valid(body) || !json.Valid(got) {
			t.Fatalf("List(%q) = %q: not both valid JSON", body, got)
		}
		if removed != len(refused) {
			t.Fatalf("%d removed, %d refused", removed, len(refused))
		}
		again := 0
		if _, _, err := narrow.List(got, list, func(narrow.Item) bool { again++; return true }); err != nil || again != kept {
			t.Fatalf("List(%q) = %q: %d items left, want %d (%v)", body, got, again, kept, err)
		}
	})
}

func FuzzSecrets(f *testing.F) {
	f.Add([]byte(`{"a":[{"db_pass":1,"b":{"db_pass":[]}}],"db\u005fpass":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := narrow.Secrets(body, []string{"db_pass"})
		if err != nil {
			if json.Valid(body) && !strings.Contains(err.Error(), "too deep") {
				t.Fatalf("Secrets(%q): %v, but it is valid JSON", body, err)
			}
			return
		}
		var value any
		reader := json.NewDecoder(bytes.NewReader(got))
		reader.UseNumber() // any number is valid JSON, however large
		if err := reader.Decode(&value); err != nil {
			t.Fatalf("Secrets(%q) = %q: %v", body, got, err)
		}
		if hasName(value, "db_pass") {
			t.Fatalf("Secrets(%q) = %q", body, got)
		}
	})
}

func hasName(value any, name string) bool {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if key == name || hasName(inner, name) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, func(inner any) bool { return hasName(inner, name) })
	}
	return false
}

func BenchmarkList500Projects(b *testing.B) {
	var items []string
	for i := range 500 {
		items = append(items, fmt.Sprintf(`{"id":"%020d","ref":"%020d","organization_id":"acme-org","organization_slug":"acme-org","name":"project %d","region":"eu-central-1","created_at":"2026-01-01T00:00:00Z","status":"ACTIVE_HEALTHY","database":{"host":"db.%020d.supabase.co","version":"17.4.1.032","postgres_engine":"17","release_channel":"ga"}}`, i, i, i, i))
	}
	body := []byte("[" + strings.Join(items, ",") + "]")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, removed, err := narrow.List(body, catalog.ListProjects, func(i narrow.Item) bool { return i.Project[19]%2 == 0 }); err != nil || removed != 250 {
			b.Fatal(removed, err)
		}
	}
}
