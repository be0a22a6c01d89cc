package catalog_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

const (
	ref  = "abcdefghijklmnopqrst"
	uuid = "11111111-2222-4333-8444-555555555555"
)

// load returns the catalogue with extra rows, which must be right.
func load(tb testing.TB, extra ...catalog.Row) *catalog.Catalog {
	tb.Helper()
	c, err := catalog.New(extra...)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return c
}

func TestParseFindsTheOperationAndItsTarget(t *testing.T) {
	c := load(t)
	for _, row := range []struct {
		request   string
		operation string
		kind      catalog.Kind
		target    string
	}{
		{"GET /v1/projects", "v1-list-all-projects", catalog.Account, ""},
		{"POST /v1/projects", "v1-create-a-project", catalog.Organization, ""}, // its body names the organization
		{"GET /v1/projects/" + ref, "v1-get-project", catalog.Project, ref},
		{"GET /v1/projects/" + ref + "/health?services=auth&services=db", "v1-get-services-health", catalog.Project, ref},
		{"GET /v1/organizations/acme", "v1-get-an-organization", catalog.Organization, "acme"},
		{"GET /v1/organizations/acme/projects", "v1-get-all-projects-for-organization", catalog.Organization, "acme"},
		{"GET /v1/branches/" + ref, "v1-get-a-branch-config", catalog.Branch, ref},
		{"DELETE /v1/branches/" + uuid, "v1-delete-a-branch", catalog.Branch, uuid},
		{"GET /v1/snippets", "v1-list-all-snippets", catalog.Account, ""},
		{"GET /v1/snippets/" + uuid, "v1-get-a-snippet", catalog.Snippet, uuid},
		{"DELETE /v1/projects/" + ref + "/custom-hostname", "v1-Delete hostname config", catalog.Project, ref},
		{"GET /v1/projects/" + ref + "/analytics/endpoints/logs.all", "v1-get-project-logs", catalog.Project, ref},
		{"GET /v1/projects/" + ref + "/analytics/endpoints/logs", "v1-get-project-endpoint-logs", catalog.Project, ref},
		{"GET /v2/projects/" + ref + "/notebooks/" + uuid, "v2GetNotebook", catalog.Project, ref},
		{"DELETE /v2/projects/" + ref + "/private-link/associations/aws-account/123456789012/database/" + ref, "v2DeletePrivateLinkAssociationForDatabase", catalog.Project, ref},
		// Static segments win over parameters.
		{"GET /v1/projects/available-regions", "v1-get-available-regions", catalog.Account, ""},
		{"GET /v1/projects/" + ref + "/api-keys/legacy", "v1-get-project-legacy-api-keys", catalog.Project, ref},
		{"POST /v1/projects/" + ref + "/functions/deploy", "v1-deploy-a-function", catalog.Project, ref},
		// Where the static segment has no such method, the parameter is meant: a function that is named "deploy".
		{"GET /v1/projects/" + ref + "/functions/deploy", "v1-get-a-function", catalog.Project, ref},
		{"GET /v1/projects/" + ref + "/functions/deploy/body", "v1-get-a-function-body", catalog.Project, ref},
		{"DELETE /v1/projects/" + ref + "/database/jit/" + uuid, "v1-delete-jit-access", catalog.Project, ref},
		// HEAD has a row of its own, or falls back to GET.
		{"HEAD /v1/projects/" + ref + "/actions", "v1-count-action-runs", catalog.Project, ref},
		{"HEAD /v1/projects/" + ref, "v1-get-project", catalog.Project, ref},
	} {
		method, uri, _ := strings.Cut(row.request, " ")
		call, err := c.Parse(method, uri)
		if err != nil {
			t.Errorf("Parse(%s): %v", row.request, err)
			continue
		}
		if call.Op.ID != row.operation || call.Target.Kind != row.kind || call.Target.ID != row.target {
			t.Errorf("Parse(%s) = %s about %s %q, want %s about %s %q", row.request,
				call.Op.ID, call.Target.Kind, call.Target.ID, row.operation, row.kind, row.target)
		}
		if got := call.RequestURI(); got != uri {
			t.Errorf("Parse(%s).RequestURI() = %q, want what came in", row.request, got)
		}
	}
}

func TestParseSaysWhenGetAnswersHead(t *testing.T) {
	c := load(t)
	for request, want := range map[string]bool{
		"HEAD /v1/projects":                      true,
		"GET /v1/projects":                       false,
		"HEAD /v1/projects/" + ref + "/actions":  false,
		"HEAD /v1/projects/" + ref + "/branches": true,
	} {
		method, uri, _ := strings.Cut(request, " ")
		call, err := c.Parse(method, uri)
		if err != nil || call.HeadOfGet() != want || call.Method != method {
			t.Errorf("Parse(%s): HeadOfGet %v, method %s, error %v; want %v", request, call.HeadOfGet(), call.Method, err, want)
		}
	}
}

func TestParseReadsPathParameters(t *testing.T) {
	c := load(t)
	call, err := c.Parse("GET", "/v1/projects/"+ref+"/branches/fix-%22quoted%22+v1.2")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ref": ref, "name": "fix-%22quoted%22+v1.2", "slug": ""} {
		if got := call.Param(name); got != want {
			t.Errorf("Param(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestPathConfusion has one row per attack of its kind. Each is refused before anything else looks at the path.
func TestPathConfusion(t *testing.T) {
	c := load(t)
	other := "zyxwvutsrqponmlkjihg"
	for _, attack := range []struct {
		name, uri string
		status    int
		says      string
	}{
		{"dot segment", "/v1/projects/" + ref + "/../" + other, 400, "dot segment"},
		{"single dot segment", "/v1/projects/./" + ref, 400, "dot segment"},
		{"dot segment at the end", "/v1/projects/" + ref + "/..", 400, "dot segment"},
		{"encoded dot segment", "/v1/projects/" + ref + "/%2e%2e/" + other, 400, "encoded dot"},
		{"half encoded dot segment", "/v1/projects/" + ref + "/.%2E/" + other, 400, "encoded dot"},
		{"encoded slash", "/v1/projects/" + ref + "%2F..%2F" + other, 400, "encoded slash"},
		{"encoded slash in lower case", "/v1/projects/" + ref + "%2f" + other, 400, "encoded slash"},
		{"encoded slash in a branch name", "/v1/projects/" + ref + "/branches/feature%2Fx", 400, "/v1/branches/{branch_id_or_ref}"},
		{"double encoding", "/v1/projects/" + ref + "/branches/%252e%252e", 400, "encoded twice"},
		{"double slash before", "//v1/projects", 404, "base URL"},
		{"double slash within", "/v1//projects", 404, "two slashes"},
		{"network path", "//evil.example/v1/projects", 404, "base URL"},
		{"slash at the end", "/v1/projects/", 404, "ends with a slash"},
		{"backslash", `/v1/projects\` + ref, 400, "backslash"},
		{"backslash as a dot segment", `/v1/projects/` + ref + `/..\` + other, 400, "backslash"},
		{"encoded backslash", "/v1/projects/" + ref + "/branches/a%5Cb", 400, "no part of it may hold"},
		{"path parameter", "/v1/projects/" + ref + ";x=1/health", 400, "semicolon"},
		{"encoded semicolon", "/v1/projects/" + ref + "/branches/a%3Bb", 400, "no part of it may hold"},
		{"encoded question mark", "/v1/projects/" + ref + "/branches/a%3Freveal=true", 400, "no part of it may hold"},
		{"encoded fragment", "/v1/projects/" + ref + "/branches/a%23b", 400, "no part of it may hold"},
		{"NUL", "/v1/projects/" + ref + "\x00", 400, "control byte"},
		{"encoded NUL", "/v1/projects/" + ref + "%00", 400, "encoded control byte"},
		{"line break", "/v1/projects/" + ref + "\r\nX: y", 400, "control byte"},
		{"encoded line break", "/v1/projects/" + ref + "/branches/a%0D%0AX", 400, "encoded control byte"},
		{"space", "/v1/projects/" + ref + " HTTP/1.1", 400, "does not belong"},
		{"mixed case of a static segment", "/V1/Projects", 404, "not in the catalogue"},
		{"mixed case of a ref", "/v1/projects/Abcdefghijklmnopqrst", 404, "no project ref"},
		{"mixed case of a UUID", "/v1/branches/AAAAAAAA-2222-4333-8444-555555555555", 404, "lower case"},
		{"look-alike letter", "/v1/projects/\u0430bcdefghijklmnopqrst", 400, "outside ASCII"},
		{"encoded look-alike slash", "/v1/projects/" + ref + "/branches/a%E2%88%95b", 400, "no part of it may hold"},
		{"overlong UTF-8 slash", "/v1/projects/" + ref + "/branches/a%C0%AFb", 400, "no part of it may hold"},
		{"fragment", "/v1/projects/" + ref + "#/health", 400, "fragment"},
		{"fragment in the query", "/v1/projects?a=b#c", 400, "fragment"},
		{"absolute form", "http://api.example/v1/projects", 400, "begins with a slash"},
		{"authority form", "api.example:443", 400, "begins with a slash"},
		{"asterisk form", "*", 400, "begins with a slash"},
		{"empty", "", 400, "begins with a slash"},
		{"query alone", "?a=b", 400, "begins with a slash"},
		{"needless encoding", "/v1/projects/%61bcdefghijklmnopqrst", 400, "needs no encoding"},
		{"encoding in lower case", "/v1/projects/" + ref + "/branches/a%3ab", 400, "upper case"},
		{"encoding cut short", "/v1/projects/" + ref + "/branches/a%2", 400, "hexadecimal"},
		{"encoding that is none", "/v1/projects/" + ref + "/branches/a%zz", 400, "hexadecimal"},
		{"something appended to a ref", "/v1/projects/" + ref + "a", 404, "no project ref"},
		{"a line break hidden from the pattern's end", "/v1/projects/" + ref + "%0A", 400, "control byte"},
		{"alternatives that escape their anchors", "/v1/branches/" + ref + "x", 404, "no branch id"},
		{"segment over its bound", "/v1/projects/" + ref + "/branches/" + strings.Repeat("a", 256), 404, "no name"},
		{"path over its bound", "/v1/" + strings.Repeat("a/", 2000), 400, "at most"},
		{"unknown path", "/v1/projects/" + ref + "/nothing", 404, "not in the catalogue"},
		{"below an operation", "/v1/projects/" + ref + "/health/x", 404, "not in the catalogue"},
		{"above an operation", "/v1", 404, "not in the catalogue"},
		{"root", "/", 404, "no operation at /"},
	} {
		t.Run(attack.name, func(t *testing.T) {
			_, err := c.Parse("GET", attack.uri)
			var p *problem.Error
			if !errors.As(err, &p) || p.Status != attack.status || !strings.Contains(p.Message, attack.says) {
				t.Fatalf("Parse(%q) = %v, want %d saying %q", attack.uri, err, attack.status, attack.says)
			}
			want := map[int]problem.Code{400: problem.BadRequest, 404: problem.UnknownOperation}[attack.status]
			if p.Code != want {
				t.Errorf("Parse(%q): code %s, want %s", attack.uri, p.Code, want)
			}
		})
	}
}

func TestMethodConfusion(t *testing.T) {
	c := load(t)
	for _, row := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/projects", "GET, HEAD, POST"},
		{"get", "/v1/projects", "GET, HEAD, POST"}, // methods are case-sensitive (RFC 9110 section 9.1)
		{"TRACE", "/v1/projects/" + ref, "DELETE, GET, HEAD, PATCH"},
		{"CONNECT", "/v1/projects/" + ref + "/pause", "POST"},
		{"OPTIONS", "/v1/projects/" + ref + "/actions", "GET, HEAD"},
		{"HEAD", "/v1/projects/" + ref + "/pause", "POST"},
		{"PUT", "/v1/projects/" + ref + "/functions/deploy", "DELETE, GET, HEAD, PATCH, POST"},
		{strings.Repeat("A", 500), "/v1/profile", "GET, HEAD"},
	} {
		_, err := c.Parse(row.method, row.path)
		var p *problem.Error
		if !errors.As(err, &p) || p.Status != http.StatusMethodNotAllowed || p.Code != problem.MethodNotAllowed {
			t.Errorf("Parse(%s %s) = %v, want 405", row.method, row.path, err)
			continue
		}
		if got := p.Header.Get("Allow"); got != row.allow {
			t.Errorf("Parse(%s %s): Allow %q, want %q", row.method, row.path, got, row.allow)
		}
		if len(p.Message) > 400 {
			t.Errorf("Parse(%.10s… %s) repeats what it was sent at length: %d bytes", row.method, row.path, len(p.Message))
		}
	}
}
