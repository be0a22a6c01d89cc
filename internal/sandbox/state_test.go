package sandbox_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/sandbox"
)

// turn is one request of a story and what its answer says.
type turn struct {
	ask    string        // "METHOD path", or "wait" for time to pass
	body   string        // JSON
	after  time.Duration // of "wait"
	status int
	has    []string // parts of the answer
	lacks  []string // what is no part of it
}

const (
	payments   = "/v1/projects/" + sandbox.Payments
	warehouse  = "/v1/projects/" + sandbox.Warehouse
	refundFlow = "/v1/branches/" + sandbox.PaymentsRefundFlow
	staging    = "/v1/projects/" + sandbox.PaymentsStaging
)

// stories are what clients change and then read back, a fresh sandbox to each.
var stories = map[string][]turn{
	"organizations are created": {
		{ask: "GET /v1/organizations", status: 200, has: []string{`"slug":"acme"`, `"slug":"globex-industries"`}},
		{ask: "POST /v1/organizations", body: `{"name":"Initech"}`, status: 201, has: []string{`"name":"Initech"`}},
		{ask: "GET /v1/organizations", status: 200, has: []string{`"name":"Initech"`}},
		{ask: "POST /v1/organizations", body: `{}`, status: 400},
		{ask: "GET /v1/organizations/nobody", status: 404, has: []string{`{"message":"Organization not found"}`}},
	},
	"projects come up": {
		{ask: "POST /v1/projects", body: `{"name":"new","db_pass":"x","organization_id":"acme"}`, status: 201, has: []string{`"status":"COMING_UP"`, `"organization_slug":"acme"`}},
		{ask: "GET /v1/projects", status: 200, has: []string{`"name":"new"`, `"status":"COMING_UP"`}},
		{ask: "wait", after: 2 * time.Second},
		{ask: "GET /v1/projects", status: 200, has: []string{`"name":"new"`}, lacks: []string{"COMING_UP"}},
	},
	"a project needs a name, a password and an organization that exists": {
		{ask: "POST /v1/projects", body: `{}`, status: 400, has: []string{"db_pass: Required, name: Required, organization_slug: Required"}},
		{ask: "POST /v1/projects", body: `{"name":"new","db_pass":"x","organization_slug":"nobody"}`, status: 404},
		{ask: "POST /v1/projects", body: `{`, status: 400},
	},
	"projects are renamed and deleted": {
		{ask: "PATCH " + payments, body: `{"name":"pay"}`, status: 200, has: []string{`"name":"pay"`}},
		{ask: "GET " + payments, status: 200, has: []string{`"name":"pay"`}},
		{ask: "DELETE " + payments, status: 200},
		{ask: "GET " + payments, status: 404, has: []string{`{"message":"Project not found"}`}},
		{ask: "GET " + staging, status: 404},
		{ask: "GET " + refundFlow, status: 404},
		{ask: "GET /v1/snippets?project_ref=" + sandbox.Payments, status: 200, has: []string{`"data":[]`}},
	},
	"projects pause and come back": {
		{ask: "POST " + payments + "/restore", status: 400},
		{ask: "POST " + payments + "/pause", status: 200},
		{ask: "GET " + payments, status: 200, has: []string{"PAUSING"}},
		{ask: "wait", after: 2 * time.Second},
		{ask: "GET " + payments, status: 200, has: []string{"INACTIVE"}},
		{ask: "GET " + payments + "/health?services=db", status: 200, has: []string{`"status":"UNHEALTHY"`}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"select 1"}`, status: 544},
		{ask: "POST " + payments + "/restore", status: 200},
		{ask: "POST " + payments + "/restore/cancel", status: 200},
		{ask: "GET " + payments, status: 200, has: []string{"INACTIVE"}},
		{ask: "POST " + payments + "/restore", status: 200},
		{ask: "wait", after: 2 * time.Second},
		{ask: "GET " + payments + "/health?services=db&services=auth", status: 200, has: []string{`[{"healthy":true,"name":"db"`, `"name":"auth"`}},
	},
	"a branch is paused by its own ref": {
		{ask: "POST " + staging + "/pause", status: 200},
		{ask: "GET " + payments, status: 200, has: []string{"ACTIVE_HEALTHY"}},
		{ask: "GET " + payments + "/branches", status: 200, has: []string{`"preview_project_status":"PAUSING"`}},
	},
	"an organization's projects are paged, searched and filtered": {
		{ask: "GET /v1/organizations/acme/projects?limit=2&offset=1&sort=name_desc", status: 200, has: []string{`"count":8,"limit":2,"offset":1`, `"name":"storefront"`}, lacks: []string{`"name":"warehouse-2024"`, `"name":"payments"`}},
		{ask: "GET /v1/organizations/acme/projects?search=LEDG", status: 200, has: []string{`"count":1`, `"name":"ledger"`}},
		{ask: "GET /v1/organizations/acme/projects?statuses=INACTIVE,REMOVED", status: 200, has: []string{`"count":1`, `"name":"warehouse-2024"`}},
		{ask: "GET /v1/organizations/acme/projects?search=staging", status: 200, has: []string{`"is_branch":true`}},
		{ask: "GET /v1/projects", status: 200, lacks: []string{sandbox.PaymentsStaging}},
	},
	"a project is claimed by another organization": {
		{ask: "GET " + payments + "/claim-token", status: 404},
		{ask: "POST " + payments + "/claim-token", status: 200, has: []string{`"token":`}},
		{ask: "GET " + payments + "/claim-token", status: 200, lacks: []string{`"token":`}},
		{ask: "DELETE " + payments + "/claim-token", status: 204},
		{ask: "GET " + payments + "/claim-token", status: 404},
		{ask: "POST /v2/projects/" + sandbox.Payments + "/transfers", body: `{"data":{"attributes":{"target_organization_slug":"globex-industries"}}}`, status: 204},
		{ask: "GET " + staging, status: 200, has: []string{`"organization_slug":"globex-industries"`}},
	},
	"secret API keys are shown only on demand": {
		{ask: "GET " + payments + "/api-keys", status: 200, has: []string{"sb_publishable_", "eyJ", `··············"`}},
		{ask: "POST " + payments + "/api-keys", body: `{"type":"secret","name":"worker"}`, status: 201, has: []string{"··············", `"type":"secret"`}},
		{ask: "GET " + payments + "/api-keys?reveal=true", status: 200, lacks: []string{"·"}},
		{ask: "PATCH " + payments + "/api-keys/anon", body: `{"description":"web"}`, status: 200, has: []string{`"description":"web"`}},
		{ask: "DELETE " + payments + "/api-keys/anon", status: 200},
		{ask: "GET " + payments + "/api-keys/anon", status: 404},
		{ask: "POST " + payments + "/api-keys", body: `{"type":"other","name":"worker"}`, status: 400},
		{ask: "PUT " + payments + "/api-keys/legacy?enabled=false", status: 200},
		{ask: "GET " + payments + "/api-keys/legacy", status: 200, has: []string{`{"enabled":false}`}},
	},
	"secrets are answered as digests": {
		{ask: "POST " + payments + "/secrets", body: `[{"name":"KEY","value":"plain text"}]`, status: 201},
		{ask: "GET " + payments + "/secrets", status: 200, has: []string{`"name":"KEY","value":"c9ecf5e5`}, lacks: []string{"plain text"}},
		{ask: "POST " + payments + "/secrets", body: `[{"name":"SUPABASE_X","value":"v"}]`, status: 400},
		{ask: "DELETE " + payments + "/secrets", body: `["KEY","NONE"]`, status: 200},
		{ask: "GET " + payments + "/secrets", status: 200, lacks: []string{`"KEY"`}},
	},
	"branches have projects of their own": {
		{ask: "POST " + payments + "/branches", body: `{"branch_name":"preview","git_branch":"feat"}`, status: 201, has: []string{`"status":"CREATING_PROJECT"`, `"parent_project_ref":"` + sandbox.Payments}},
		{ask: "GET " + payments + "/branches/preview", status: 200, has: []string{`"git_branch":"feat"`, `"preview_project_status":"COMING_UP"`}},
		{ask: "wait", after: 2 * time.Second},
		{ask: "GET " + payments + "/branches/preview", status: 200, has: []string{`"status":"FUNCTIONS_DEPLOYED"`}},
		{ask: "POST " + payments + "/branches", body: `{"branch_name":"preview"}`, status: 422},
		{ask: "POST " + staging + "/branches", body: `{"branch_name":"deeper"}`, status: 422},
		{ask: "GET " + staging + "/functions", status: 200, has: []string{"hello-world"}},
	},
	"the first branch makes the default one": {
		{ask: "GET /v1/projects/" + sandbox.Billing + "/branches", status: 200, has: []string{"[]"}},
		{ask: "POST /v1/projects/" + sandbox.Billing + "/branches", body: `{"branch_name":"dev"}`, status: 201},
		{ask: "GET /v1/projects/" + sandbox.Billing + "/branches", status: 200, has: []string{`"name":"main","project_ref":"` + sandbox.Billing, `"name":"dev"`}},
		{ask: "DELETE /v1/projects/" + sandbox.Billing + "/branches", status: 200},
		{ask: "GET /v1/projects/" + sandbox.Billing + "/branches", status: 200, has: []string{"[]"}},
	},
	"a branch is found by id and by ref, and does not name its parent": {
		{ask: "GET /v1/branches/b82d5e90-14c7-4f3b-8e6d-0a9f73c15e24", status: 200, has: []string{`"ref":"` + sandbox.PaymentsRefundFlow, `"db_pass"`}, lacks: []string{sandbox.Payments}},
		{ask: "GET " + refundFlow, status: 200, has: []string{`"ref":"` + sandbox.PaymentsRefundFlow}},
		{ask: "PATCH " + refundFlow, body: `{"branch_name":"refunds","persistent":true}`, status: 200, has: []string{`"name":"refunds"`, `"persistent":true`}},
		{ask: "GET " + payments + "/branches/refunds", status: 200},
		{ask: "DELETE " + refundFlow + "?force=false", status: 200},
		{ask: "GET " + payments + "/branches/refunds", status: 200, has: []string{"deletion_scheduled_at"}},
		{ask: "POST " + refundFlow + "/restore", status: 200},
		{ask: "GET " + payments + "/branches/refunds", status: 200, lacks: []string{"deletion_scheduled_at"}},
		{ask: "DELETE " + refundFlow, status: 200, has: []string{`{"message":"ok"}`}},
		{ask: "GET " + refundFlow, status: 404},
		{ask: "GET /v1/projects/" + sandbox.PaymentsRefundFlow, status: 404},
		{ask: "DELETE /v1/branches/" + sandbox.Payments, status: 422},
	},
	"a branch's migrations are its own until it is merged": {
		{ask: "POST " + staging + "/database/migrations", body: `{"query":"create table t ()","name":"t"}`, status: 200},
		{ask: "GET " + payments + "/database/migrations", status: 200, lacks: []string{`"name":"t"`}},
		{ask: "GET /v1/branches/" + sandbox.PaymentsStaging + "/diff", status: 200, has: []string{"create table t ()"}},
		{ask: "POST /v1/branches/" + sandbox.PaymentsStaging + "/merge", body: `{}`, status: 201, has: []string{"workflow_run_id"}},
		{ask: "GET " + payments + "/database/migrations", status: 200, has: []string{`"name":"t"`}},
		{ask: "POST " + staging + "/database/migrations", body: `{"query":"create table u ()","name":"u"}`, status: 200},
		{ask: "POST /v1/branches/" + sandbox.PaymentsStaging + "/reset", body: `{}`, status: 201},
		{ask: "GET " + staging + "/database/migrations", status: 200, has: []string{`"name":"t"`}, lacks: []string{`"name":"u"`}},
	},
	"migrations are changed and rolled back": {
		{ask: "PATCH " + payments + "/database/migrations/20260114091500", body: `{"name":"customers"}`, status: 200},
		{ask: "GET " + payments + "/database/migrations/20260114091500", status: 200, has: []string{`"name":"customers"`, `"statements":["create table customers`}},
		{ask: "DELETE " + payments + "/database/migrations?gte=20260203142030", status: 200},
		{ask: "GET " + payments + "/database/migrations", status: 200, has: []string{`[{"name":"customers","version":"20260114091500"}]`}},
		{ask: "DELETE " + payments + "/database/migrations", status: 400},
		{ask: "GET " + payments + "/database/migrations/1", status: 404},
	},
	"snippets are filtered and name their project by number": {
		{ask: "GET /v1/snippets?project_ref=" + sandbox.Payments, status: 200, has: []string{"Open refunds", `"project":{"id":100001,"name":"payments"}`}, lacks: []string{"Unbalanced", "cursor"}},
		{ask: "GET /v1/snippets?cursor=nonsense", status: 400},
	},
	"functions are listed, replaced together and deleted": {
		{ask: "PUT " + payments + "/functions", body: `[{"id":"a","slug":"hello-world","name":"Hello","status":"ACTIVE","version":7},{"id":"b","slug":"other","name":"Other","status":"ACTIVE","version":1}]`, status: 200, has: []string{`"functions":[`}},
		{ask: "GET " + payments + "/functions/hello-world", status: 200, has: []string{`"version":7`}},
		{ask: "GET " + payments + "/functions/hello-world/body", status: 200, has: []string{""}},
		{ask: "DELETE " + payments + "/functions/other", status: 200},
		{ask: "GET " + payments + "/functions/other", status: 404},
		{ask: "POST " + payments + "/functions", body: `{"slug":"made","name":"Made","body":"Deno.serve()"}`, status: 201, has: []string{`"version":1`}},
		{ask: "POST " + payments + "/functions", body: `{"slug":"made","name":"Made","body":"Deno.serve()"}`, status: 409},
		{ask: "POST " + payments + "/functions", body: `{"slug":"9","body":"x"}`, status: 400},
		{ask: "PATCH " + payments + "/functions/made", body: `{"verify_jwt":false}`, status: 200, has: []string{`"version":2`, `"verify_jwt":false`}},
	},
	"configuration keeps what is known and nothing else": {
		{ask: "PATCH " + payments + "/config/auth", body: `{"site_url":"https://new.example","nonsense":1}`, status: 200, has: []string{"https://new.example"}, lacks: []string{"nonsense"}},
		{ask: "PATCH " + payments + "/config/storage", body: `{"features":{"s3Protocol":{"enabled":false}}}`, status: 200},
		{ask: "GET " + payments + "/config/storage", status: 200, has: []string{`"s3Protocol":{"enabled":false}`, `"imageTransformation":{"enabled":true}`}},
		{ask: "PUT " + payments + "/ssl-enforcement", body: `{"requestedConfig":{"database":true}}`, status: 200, has: []string{`"database":true`}},
		{ask: "PATCH " + payments + "/postgrest", body: `{"max_rows":5}`, status: 200, has: []string{`"max_rows":5`}, lacks: []string{"jwt_secret"}},
		{ask: "GET " + payments + "/postgrest", status: 200, has: []string{`"max_rows":5`, "jwt_secret"}},
		{ask: "PUT " + payments + "/config/database/postgres", body: `{"max_connections":99}`, status: 200},
		{ask: "GET /v2/projects/" + sandbox.Payments + "/config", status: 200, has: []string{`"max_connections":99`, `"ssl_enforced":true`, `"site_url":"https://new.example"`}, lacks: []string{"sandbox-placeholder"}},
		{ask: "GET /v1/projects/" + sandbox.Ledger + "/config/auth", status: 200, lacks: []string{"https://new.example"}},
	},
	"network restrictions and bans": {
		{ask: "PATCH " + payments + "/network-restrictions", body: `{"add":{"dbAllowedCidrs":["10.0.0.0/8"]},"remove":{"dbAllowedCidrs":["0.0.0.0/0"]}}`, status: 200, has: []string{`{"address":"10.0.0.0/8","type":"v4"}`, "old_config"}},
		{ask: "GET " + payments + "/network-restrictions", status: 200, has: []string{`"dbAllowedCidrs":["10.0.0.0/8"]`}},
		{ask: "POST " + payments + "/network-restrictions/apply", body: `{"dbAllowedCidrs":["anywhere"]}`, status: 400},
		{ask: "DELETE " + payments + "/network-bans", body: `{"ipv4_addresses":["203.0.113.7"]}`, status: 200},
		{ask: "POST " + payments + "/network-bans/retrieve", status: 201, has: []string{`["198.51.100.23"]`}},
	},
	"domains": {
		{ask: "POST " + payments + "/custom-hostname/activate", status: 404},
		{ask: "POST " + payments + "/custom-hostname/initialize", body: `{"custom_hostname":"api.acme.example"}`, status: 201, has: []string{"2_initiated"}},
		{ask: "POST " + payments + "/custom-hostname/reverify", status: 201, has: []string{"4_origin_setup_completed"}},
		{ask: "GET " + payments + "/custom-hostname", status: 200, has: []string{"api.acme.example"}},
		{ask: "DELETE " + payments + "/custom-hostname", status: 200},
		{ask: "GET " + payments + "/custom-hostname", status: 200, has: []string{"1_not_started"}},
		{ask: "POST " + payments + "/vanity-subdomain/activate", body: `{"vanity_subdomain":"pay"}`, status: 201, has: []string{"pay.supabase.co"}},
		{ask: "POST " + staging + "/vanity-subdomain/check-availability", body: `{"vanity_subdomain":"pay"}`, status: 201, has: []string{"false"}},
		{ask: "POST " + staging + "/vanity-subdomain/activate", body: `{"vanity_subdomain":"pay"}`, status: 400},
	},
	"addons": {
		{ask: "PATCH " + payments + "/billing/addons", body: `{"addon_type":"pitr","addon_variant":"pitr_7"}`, status: 200},
		{ask: "GET " + payments + "/billing/addons", status: 200, has: []string{`"type":"pitr","variant":{"id":"pitr_7"`}},
		{ask: "DELETE " + payments + "/billing/addons/pitr_7", status: 200},
		{ask: "DELETE " + payments + "/billing/addons/pitr_7", status: 404},
		{ask: "PATCH " + payments + "/billing/addons", body: `{"addon_type":"pitr","addon_variant":"ci_large"}`, status: 400},
	},
	"single sign-on and signing keys": {
		{ask: "POST " + payments + "/config/auth/sso/providers", body: `{"type":"saml","metadata_url":"https://idp.example/m","domains":["x.example"]}`, status: 201, has: []string{`"domain":"x.example"`}},
		{ask: "GET " + payments + "/config/auth/sso/providers", status: 200, has: []string{"https://idp.example/m"}},
		{ask: "DELETE " + payments + "/config/auth/sso/providers/6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832", status: 200},
		{ask: "GET " + payments + "/config/auth/sso/providers/6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832", status: 404},
		{ask: "PATCH " + payments + "/config/auth/signing-keys/f19b3c60-7d2e-4458-a0e7-6c85d1f92b4a", body: `{"status":"in_use"}`, status: 200},
		{ask: "GET " + payments + "/config/auth/signing-keys/27e0d9a4-b6f3-4c81-95d2-e8a17f4c03b6", status: 200, has: []string{"previously_used"}},
	},
	"queries of well-known clients": {
		{ask: "POST " + payments + "/database/query", body: `{"query":"select 42 as answer"}`, status: 201, has: []string{`[{"answer":42}]`}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"select 'x';"}`, status: 201, has: []string{`[{"?column?":"x"}]`}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"select c.relrowsecurity from pg_class c"}`, status: 201, has: []string{`"name":"customers"`}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"select * from pg_available_extensions()"}`, status: 201, has: []string{"pgcrypto"}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"drop table t"}`, status: 201, has: []string{"[]"}},
		{ask: "POST " + payments + "/database/query", body: `{"query":"drop table t","read_only":true}`, status: 400, has: []string{"read-only transaction"}},
		{ask: "POST " + payments + "/database/query/read-only", body: `{"query":"insert into t values (1)"}`, status: 400},
		{ask: "POST " + payments + "/database/query", body: `{}`, status: 400},
	},
	"logs": {
		{ask: "GET " + payments + "/analytics/endpoints/logs?sql=select+id+from+logs+where+source='postgres_logs'", status: 200, has: []string{`"source":"postgres_logs"`}},
		{ask: "GET " + payments + "/analytics/endpoints/logs?iso_timestamp_start=2026-01-01T00:00:00Z&iso_timestamp_end=2026-01-03T00:00:00Z", status: 400},
		{ask: "GET " + payments + "/analytics/endpoints/logs?iso_timestamp_start=yesterday", status: 400},
		{ask: "GET " + payments + "/analytics/endpoints/logs.all", status: 200},
	},
	"restore points": {
		{ask: "POST " + payments + "/database/backups/restore-point", body: `{"name":"now"}`, status: 201, has: []string{`"name":"now"`}},
		{ask: "GET " + payments + "/database/backups/restore-point", status: 200, has: []string{`"name":"now"`}},
		{ask: "POST " + payments + "/database/backups/restore", body: `{"id":1}`, status: 201},
		{ask: "GET " + payments, status: 200, has: []string{"RESTORING"}},
		{ask: "GET " + warehouse + "/database/backups", status: 200, has: []string{`"region":"us-east-1"`}},
	},
	"what is not there": {
		{ask: "GET /v1/nonsense", status: 404, has: []string{`{"message":"Cannot GET /v1/nonsense"}`}},
		{ask: "PUT /v1/projects", status: 404},
		{ask: "GET //v1/projects", status: 404},
		{ask: "GET /v1/projects/", status: 404},
		{ask: "GET /v1/../v1/projects", status: 404},
		{ask: "GET /v1/projects/zzzzzzzzzzzzzzzzzzzz/secrets", status: 404},
	},
}

func TestState(t *testing.T) {
	for name, turns := range stories {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSandbox(t)
				for _, turn := range turns {
					if turn.ask == "wait" {
						time.Sleep(turn.after)
						continue
					}
					turn.check(t, s)
				}
			})
		})
	}
}

// check performs the request and holds the answer against what it should say.
func (x turn) check(t *testing.T, s *sandbox.Sandbox) *httptest.ResponseRecorder {
	t.Helper()
	method, target, _ := strings.Cut(x.ask, " ")
	r := httptest.NewRequest(method, "/", strings.NewReader(x.body))
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	r.RequestURI = target
	if x.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	got := send(t, s, r)
	if got.Code != x.status {
		t.Errorf("%s: status %d, want %d: %s", x.ask, got.Code, x.status, got.Body)
	}
	for _, part := range x.has {
		if !strings.Contains(got.Body.String(), part) {
			t.Errorf("%s: the answer lacks %s: %s", x.ask, part, got.Body)
		}
	}
	for _, part := range x.lacks {
		if strings.Contains(got.Body.String(), part) {
			t.Errorf("%s: the answer has %s: %s", x.ask, part, got.Body)
		}
	}
	return got
}
