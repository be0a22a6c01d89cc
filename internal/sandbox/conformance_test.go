package sandbox_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"

	"github.com/getkin/kin-openapi/openapi3"
)

const (
	specification = "../../../shared/api/openapi.json"
	newerTable    = "../../../shared/api/newer-operations.tsv"
)

// TestEveryOperationConforms asks for every operation of the published specification, and holds status, content type and
// body against it.
func TestEveryOperationConforms(t *testing.T) {
	spec := loadSpecification(t)
	for path, item := range spec.Paths.Map() {
		for method, operation := range item.Operations() {
			t.Run(operation.OperationID, func(t *testing.T) {
				s := newSandbox(t)
				got := ask(t, s, operation.OperationID, method+" "+path)
				status, response := success(operation)
				if got.Code != status {
					t.Fatalf("status %d, want %d: %s", got.Code, status, got.Body)
				}
				if got.Header().Get("X-Gotrue-Id") == "" && !strings.HasPrefix(path, "/v1/oauth/") {
					t.Error("no x-gotrue-id")
				}
				conforms(t, operation.OperationID, got, response)
			})
		}
	}
}

// unlike are operations whose published content is known to be wrong, with what upstream sends.
var unlike = map[string]string{
	"v1-get-a-function-body": "application/vnd.denoland.eszip", // published as a JSON object
	"v1-run-a-query":         "application/json",               // published as empty; every client reads rows
	"v1-read-only-query":     "application/json",
}

// conforms checks the answer's content against the first content that the specification gives.
func conforms(t *testing.T, id string, got *httptest.ResponseRecorder, want *openapi3.Response) {
	t.Helper()
	contentType, _, _ := strings.Cut(got.Header().Get("Content-Type"), ";")
	if other, known := unlike[id]; known {
		if contentType != other {
			t.Errorf("content type %q, want %q", contentType, other)
		}
		return
	}
	if len(want.Content) == 0 {
		empty(t, got)
		return
	}
	for name, media := range want.Content {
		if contentType != name {
			t.Errorf("content type %q, want %q", contentType, name)
		}
		if name != "application/json" {
			continue
		}
		var body any
		if err := json.Unmarshal(got.Body.Bytes(), &body); err != nil {
			t.Fatalf("body: %v", err)
		}
		if err := media.Schema.Value.VisitJSON(body, openapi3.MultiErrors()); err != nil {
			t.Errorf("body does not match its schema: %v\n%s", err, got.Body)
		}
	}
}

// empty checks an answer without a body: clients need its length, and 204 has neither length nor type.
func empty(t *testing.T, got *httptest.ResponseRecorder) {
	t.Helper()
	length := map[bool]string{true: "", false: "0"}[got.Code == http.StatusNoContent]
	if got.Body.Len() > 0 || got.Header().Get("Content-Length") != length || got.Header().Get("Content-Type") != "" {
		t.Errorf("an empty answer has length %q, type %q and body %q", got.Header().Get("Content-Length"), got.Header().Get("Content-Type"), got.Body)
	}
}

// success is the status and answer of an operation that works.
func success(operation *openapi3.Operation) (int, *openapi3.Response) {
	for status := 200; status < 300; status++ {
		if r := operation.Responses.Status(status); r != nil {
			return status, r.Value
		}
	}
	return 0, nil
}

// TestEveryOperationIsThere holds the table of routes against the tables of operations: the published ones under their
// own ids, and the newer ones.
func TestEveryOperationIsThere(t *testing.T) {
	routes := make(map[string]string)
	for _, o := range newSandbox(t).Operations() {
		if routes[o.Pattern] != "" || slices.Contains(slices.Collect(maps.Values(routes)), o.ID) {
			t.Errorf("%s %s is there twice", o.ID, o.Pattern)
		}
		routes[o.Pattern] = o.ID
	}
	for path, item := range loadSpecification(t).Paths.Map() {
		for method, operation := range item.Operations() {
			if got := routes[method+" "+path]; got != operation.OperationID {
				t.Errorf("%s %s is %q, want %q", method, path, got, operation.OperationID)
			}
			delete(routes, method+" "+path)
		}
	}
	newer, err := os.ReadFile(newerTable)
	if err != nil {
		t.Skipf("no table of newer operations: %v", err)
	}
	for line := range strings.Lines(string(newer)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if fields[0] == "method" {
			continue
		}
		pattern := fields[0] + " " + fields[1]
		if routes[pattern] == "" {
			t.Errorf("%s (%s) is missing", pattern, fields[2])
		}
		delete(routes, pattern)
	}
	for pattern, id := range routes {
		t.Errorf("%s (%s) is in neither table", pattern, id)
	}
}

func loadSpecification(t *testing.T) *openapi3.T {
	t.Helper()
	if _, err := os.Stat(specification); err != nil {
		t.Skipf("no specification: %v", err)
	}
	spec, err := openapi3.NewLoader().LoadFromFile(specification)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// ask performs one operation, by its id and "METHOD path-template", after those its sample names.
func ask(t *testing.T, s *sandbox.Sandbox, id, pattern string) *httptest.ResponseRecorder {
	t.Helper()
	how := samples[id]
	params := maps.Clone(defaultParams)
	maps.Copy(params, how.params)
	for _, step := range how.first {
		for _, o := range s.Operations() {
			if o.ID == step.id {
				handedOut(params, send(t, s, request(o.Pattern, params, sample{query: step.query, body: step.body})))
			}
		}
	}
	return send(t, s, request(pattern, params, how))
}

// handedOut notes the token or the code in an answer.
func handedOut(params map[string]string, answer *httptest.ResponseRecorder) {
	var body struct{ Token string }
	_ = json.Unmarshal(answer.Body.Bytes(), &body) // most answers have none
	params["token"] = body.Token
	if back, err := url.Parse(answer.Header().Get("Location")); err == nil {
		params["code"] = back.Query().Get("code")
	}
}

// request fills a path template in.
func request(pattern string, params map[string]string, how sample) *http.Request {
	method, target, _ := strings.Cut(pattern, " ")
	body := how.body
	for name, value := range params {
		target = strings.ReplaceAll(target, "{"+name+"}", value)
		body = strings.ReplaceAll(body, "{"+name+"}", value)
	}
	if how.query != "" {
		target += "?" + how.query
	}
	r := httptest.NewRequest(method, strings.ReplaceAll(target, " ", "%20"), strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", cmp.Or(how.content, "application/json"))
	}
	return r
}
