package sandbox_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
)

const (
	v2     = "/v2/projects/" + sandbox.Payments
	v2Acme = "/v2/organizations/acme"
)

// attributes is a body in the form of /v2.
func attributes(fields string) string { return `{"data":{"type":"x","attributes":{` + fields + `}}}` }

// newerStories are the operations that no specification is published for. "{id}" is the id in the last answer that had one.
var newerStories = map[string][]turn{
	"notebooks": {
		{ask: "POST " + v2 + "/notebooks", body: attributes(`"name":"b","content":{"cells":[{"type":"database","sql":"select 1"}]}`), status: 201, has: []string{`"type":"notebook"`, `"row_limit":100`, `"schema_version":1`, `"username":"ada"`}},
		{ask: "PATCH " + v2 + "/notebooks/{id}", body: attributes(`"favorite":true`), status: 200, has: []string{`"favorite":true`, `"name":"b"`}},
		{ask: "GET " + v2 + "/notebooks/{id}", status: 200, has: []string{`"cells":[{`}},
		{ask: "GET " + v2 + "/notebooks?filter[name]=b", status: 200, has: []string{`"name":"b"`, `"links":{"next":null`}, lacks: []string{"cells"}},
		{ask: "GET " + v2 + "/notebooks?filter[name]=a", status: 200, has: []string{`"data":[]`}},
		{ask: "DELETE " + v2 + "/notebooks/{id}", status: 204},
		{ask: "GET " + v2 + "/notebooks/{id}", status: 404},
		{ask: "PATCH " + v2 + "/notebooks/{id}", body: attributes(``), status: 404},
		{ask: "DELETE " + v2 + "/notebooks/{id}", status: 404},
		{ask: "POST " + v2 + "/notebooks", body: attributes(``), status: 400},
		{ask: "POST " + v2 + "/notebooks", body: `{}`, status: 400},
	},
	"lists have pages": {
		{ask: "POST " + v2 + "/notebooks", body: attributes(`"name":"a"`), status: 201},
		{ask: "POST " + v2 + "/notebooks", body: attributes(`"name":"b"`), status: 201},
		{ask: "POST " + v2 + "/notebooks", body: attributes(`"name":"c"`), status: 201},
		{ask: "GET " + v2 + "/notebooks?sort=-name&page[size]=1", status: 200, has: []string{`"name":"c"`, "page%5Bafter%5D={id}", "sort=-name"}, lacks: []string{`"name":"b"`}},
		{ask: "GET " + v2 + "/notebooks?sort=-name&page[size]=1&page[after]={id}", status: 200, has: []string{`"name":"b"`}, lacks: []string{`"name":"c"`, `"name":"a"`}},
		{ask: "GET " + v2Acme + "/projects?search=ledger", status: 200, has: []string{sandbox.Ledger}, lacks: []string{sandbox.Payments}},
		{ask: "GET " + v2Acme + "/members", status: 200, has: []string{`"username":"ada"`}},
		{ask: "GET " + v2Acme + "/integrations/github/connections", status: 200, has: []string{`"data":[]`}},
	},
	"webhooks of a project":       webhooks(v2),
	"webhooks of an organization": webhooks(v2Acme),
	"log drains": {
		{ask: "POST " + v2 + "/analytics/log-drains", body: attributes(`"name":"d","config":{"url":"https://logs.example"}`), status: 201, has: []string{`"backend_type":"webhook"`}},
		{ask: "PUT " + v2 + "/analytics/log-drains/{id}", body: attributes(`"name":"e"`), status: 200, has: []string{`"name":"e"`, "https://logs.example"}},
		{ask: "GET " + v2 + "/analytics/log-drains", status: 200, has: []string{`"name":"e"`}},
		{ask: "DELETE " + v2 + "/analytics/log-drains/{id}", status: 204},
		{ask: "DELETE " + v2 + "/analytics/log-drains/{id}", status: 404},
	},
	"compute": {
		{ask: "GET " + v2 + "/compute/web", status: 404},
		{ask: "POST " + v2 + "/compute/web/uploads", status: 201, has: []string{`"method":"PUT"`}},
		{ask: "POST " + v2 + "/compute/web/deploy", body: attributes(`"spec":{"size":"large"}`), status: 202},
		{ask: "GET " + v2 + "/compute/web", status: 200, has: []string{`"size":"large"`, `"build_state":"active"`}},
		{ask: "GET " + v2 + "/compute", status: 200, has: []string{`"id":"web"`}},
		{ask: "DELETE " + v2 + "/compute/web", status: 204},
		{ask: "GET " + v2 + "/compute", status: 200, has: []string{`"data":[]`}},
	},
	"private links": {
		{ask: "POST " + v2 + "/private-link/associations", body: attributes(`"aws_account_id":"1"`), status: 201, has: []string{`"status":"CREATING"`}},
		{ask: "DELETE " + v2 + "/private-link/associations/aws-account/1/database/other", status: 204},
		{ask: "GET " + v2 + "/private-link/associations", status: 200, has: []string{`"aws_account_id":"1"`}},
		{ask: "DELETE " + v2 + "/private-link/associations/aws-account/1", status: 204},
		{ask: "GET " + v2 + "/private-link/associations", status: 200, has: []string{`"data":[]`}},
	},
	"an organization's members": {
		{ask: "POST " + v2Acme + "/members/invitations", body: `{"data":[{"attributes":{"email":"new@acme.example","role":"developer"}}]}`, status: 201, has: []string{"new@acme.example"}},
		{ask: "DELETE " + v2Acme + "/members/invitations", body: `{"data":[{"attributes":{"email":"new@acme.example"}}]}`, status: 200},
		{ask: "PATCH " + v2Acme + "/members/6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832/roles", body: attributes(`"role":"developer"`), status: 200, has: []string{`"name":"developer"`}},
		{ask: "DELETE " + v2Acme + "/members/6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832", status: 204},
		{ask: "GET " + v2Acme + "/roles", status: 200, has: []string{"Read-only"}},
		{ask: "GET " + v2Acme + "/maintenance/windows", status: 200, has: []string{`"next_windows":[]`}},
		{ask: "GET /v2/organizations/nobody/roles", status: 404},
	},
	"a project's other operations": {
		{ask: "POST " + v2 + "/branches", body: attributes(`"name":"next","git_branch":"n"`), status: 201, has: []string{`"git_branch":"n"`, `"type":"branch"`}},
		{ask: "GET " + payments + "/branches/next", status: 200},
		{ask: "POST " + v2 + "/advisors/run", body: `{"data":{"type":"project_advisors"}}`, status: 201, has: []string{"rls_disabled_in_public", "unused_index"}},
		{ask: "POST " + v2 + "/backups/download", body: `{"data":{"type":"project_backup_file_url","id":7}}`, status: 201, has: []string{`"id":7`, "file_url"}},
		{ask: "POST " + v2 + "/transfers/previews", body: attributes(`"target_organization_slug":"globex-industries"`), status: 201, has: []string{`"valid":true`}},
		{ask: "POST " + v2 + "/transfers", body: attributes(`"target_organization_slug":"nobody"`), status: 404},
		{ask: "POST " + payments + "/restart", status: 200},
		{ask: "GET " + payments, status: 200, has: []string{"RESTARTING"}},
		{ask: "GET " + payments + "/analytics/endpoints/metrics", status: 200, has: []string{"pg_up{"}},
		{ask: "PATCH " + payments + "/config/database/postgres", body: `{"work_mem":"8MB"}`, status: 200, has: []string{`"work_mem":"8MB"`}},
		{ask: "POST " + payments + "/network-restrictions/review", body: `{"action":"apply"}`, status: 201},
		{ask: "POST " + payments + "/database/jit/invite", body: `{"email":"x@acme.example","roles":[{"role":"postgres"}]}`, status: 201, has: []string{"invite_id"}},
		{ask: "POST " + payments + "/database/jit/invite/accept", body: `{"email":"x@acme.example","token":"t"}`, status: 201, has: []string{`"user_roles":[]`}},
		{ask: "DELETE " + payments + "/database/jit/invite/7e2b9c04-8f1d-4a63-b5e7-1c90d4f6a832", status: 200},
	},
}

// webhooks is the story of the webhook endpoints of one target.
func webhooks(base string) []turn {
	return []turn{
		{ask: "POST " + base + "/webhooks/endpoints", body: attributes(`"url":"https://hooks.example"`), status: 201, has: []string{`"enabled":true`}},
		{ask: "GET " + base + "/webhooks/endpoints", status: 200, has: []string{"https://hooks.example"}},
		{ask: "PATCH " + base + "/webhooks/endpoints/{id}", body: attributes(`"enabled":false`), status: 200, has: []string{`"enabled":false`}},
		{ask: "GET " + base + "/webhooks/endpoints/{id}", status: 200, has: []string{`"enabled":false`}},
		{ask: "GET " + base + "/webhooks/endpoints/{id}/deliveries", status: 200, has: []string{`"status":"success"`, `"organization_slug":"acme"`}},
		{ask: "GET " + base + "/webhooks/deliveries/7e2b9c04-8f1d-4a63-b5e7-1c90d4f6a832", status: 200, has: []string{`"id":"7e2b9c04`}},
		{ask: "POST " + base + "/webhooks/deliveries/7e2b9c04-8f1d-4a63-b5e7-1c90d4f6a832/retry", status: 201, has: []string{`"type":"ingress"`}},
		{ask: "POST " + base + "/webhooks/endpoints", body: attributes(`"url":"https://hooks.example/2"`), status: 201},
		{ask: "DELETE " + base + "/webhooks/endpoints/{id}", status: 200, has: []string{"https://hooks.example/2"}},
		{ask: "GET " + base + "/webhooks/endpoints/{id}", status: 404},
		{ask: "DELETE " + base + "/webhooks/endpoints", status: 200, has: []string{`"https://hooks.example"`}},
		{ask: "GET " + base + "/webhooks/endpoints", status: 200, has: []string{`"data":[]`}},
		{ask: "POST " + base + "/webhooks/endpoints", body: attributes(``), status: 400},
	}
}

func TestNewerOperations(t *testing.T) {
	for name, turns := range newerStories {
		t.Run(name, func(t *testing.T) {
			s, id := newSandbox(t), ""
			for _, turn := range turns {
				got := turn.with(id).check(t, s)
				if method, _, _ := strings.Cut(turn.ask, " "); method == "POST" {
					id = dataID(got, id)
				}
			}
		})
	}
}

// with writes an id into what is asked and expected.
func (x turn) with(id string) turn {
	x.ask = strings.ReplaceAll(x.ask, "{id}", id)
	x.has = slices.Clone(x.has)
	for i, part := range x.has {
		x.has[i] = strings.ReplaceAll(part, "{id}", id)
	}
	return x
}

// dataID is the id in an answer in the form of /v2, or fallback.
func dataID(answer *httptest.ResponseRecorder, fallback string) string {
	var body struct{ Data struct{ ID string } }
	if json.Unmarshal(answer.Body.Bytes(), &body) != nil || body.Data.ID == "" {
		return fallback
	}
	return body.Data.ID
}

// TestEveryNewerOperationIsAsked keeps the stories complete.
func TestEveryNewerOperationIsAsked(t *testing.T) {
	s := newSandbox(t)
	asked := make(map[string]bool)
	for _, turns := range newerStories {
		for _, x := range turns {
			method, target, _ := strings.Cut(x.ask, " ")
			path, _, _ := strings.Cut(target, "?")
			operation, _ := sandbox.Route(s, httptest.NewRequest(method, strings.ReplaceAll(path, "{id}", "x"), nil))
			asked[operation] = true
		}
	}
	for _, o := range s.Operations() {
		if strings.Contains(o.Pattern, " /v2/") && o.ID != "v2GetProjectConfig" && !asked[o.Pattern] {
			t.Errorf("%s is in no story", o.Pattern)
		}
	}
}
