package sandbox_test

import "corp.example/gateway/internal/sandbox"

// step is one operation asked for before another. What it hands out, a claim token or an authorisation code, takes the
// place of "{token}" or "{code}" in what follows.
type step struct{ id, query, body string }

// sample is how to ask for one operation so that it succeeds. Where there is none, the path with the seed's names and no
// body will do.
type sample struct {
	params  map[string]string // path parameters that differ from defaultParams
	query   string
	body    string
	content string // of body; "" for JSON
	first   []step // to ask for before
}

var defaultParams = map[string]string{
	"ref": sandbox.Payments, "slug": sandbox.Acme, "branch_id_or_ref": sandbox.PaymentsStaging, "function_slug": "hello-world",
	"version": "20260114091500", "name": "staging", "run_id": "c7d90e15-a2b8-4f64-93e0-5b1f8d26a7c4", "addon_variant": "ci_micro",
	"provider_id": "6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832", "tpa_id": "94d7c2b1-5e08-4a6f-bc39-07f1e8a25d4b",
	"user_id": "6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832",
}

const (
	signingKey = "27e0d9a4-b6f3-4c81-95d2-e8a17f4c03b6"
	roles      = `{"user_id": "6a2f0b8e-3c41-4d97-b5a6-91e7d0c4f832", "roles": [{"role": "postgres"}]}`
	deployForm = "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"entrypoint_path\": \"index.ts\", \"name\": \"greet\"}\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"index.ts\"\r\n\r\nDeno.serve(() => new Response(\"hi\"))\r\n--b--\r\n"
	multipartForm = "multipart/form-data; boundary=b"
	urlForm       = "application/x-www-form-urlencoded"
)

// mine gives the caller of the tests a role.
var mine = `{"user_id": "` + sandbox.UserID(owner) + `", "roles": [{"role": "postgres"}]}`

// samples are those operations that need more than a path.
var samples = map[string]sample{
	"v1-update-a-branch-config": {body: `{"git_branch": "next", "request_review": true}`},
	"v1-push-a-branch":          {body: `{}`},
	"v1-merge-a-branch":         {body: `{}`},
	"v1-reset-a-branch":         {body: `{}`},
	"v1-create-a-branch":        {body: `{"branch_name": "preview", "notify_url": "https://ci.acme.example/hook"}`},

	"v1-authorize-user":                {query: "client_id=b82d5e90-14c7-4f3b-8e6d-0a9f73c15e24&response_type=code&redirect_uri=https://x.example/cb"},
	"v1-oauth-authorize-project-claim": {query: "project_ref=" + sandbox.Payments},
	"v1-exchange-oauth-token": {
		first:   []step{{id: "v1-authorize-user", query: "client_id=" + appID + "&response_type=code&redirect_uri=https://x.example/cb"}},
		body:    "grant_type=authorization_code&code={code}&redirect_uri=https://x.example/cb&client_id=" + appID + "&client_secret=" + appSecret,
		content: urlForm,
	},
	"v1-revoke-token": {body: `{"client_id": "` + appID + `", "client_secret": "` + appSecret + `", "refresh_token": "gone"}`},

	"v1-create-an-organization": {body: `{"name": "Initech"}`},
	"v1-create-a-project":       {body: `{"name": "new", "db_pass": "correct horse", "organization_slug": "acme", "region": "eu-west-1"}`},
	"v1-update-a-project":       {body: `{"name": "renamed"}`},
	"v1-restore-a-project":      {params: map[string]string{"ref": sandbox.Warehouse}},
	"v1-cancel-a-project-restoration": {
		params: map[string]string{"ref": sandbox.Warehouse}, first: []step{{id: "v1-restore-a-project"}},
	},
	"v1-get-services-health":            {query: "services=auth&services=db&services=rest"},
	"v1-upgrade-postgres-version":       {body: `{"target_version": "17"}`},
	"v1-get-organization-project-claim": {first: []step{{id: "v1-create-project-claim-token"}}},
	"v1-claim-project-for-organization": {first: []step{{id: "v1-create-project-claim-token"}}},
	"v1-get-project-claim-token":        {first: []step{{id: "v1-create-project-claim-token"}}},

	"v1-create-project-api-key":         {body: `{"type": "secret", "name": "worker"}`, query: "reveal=true"},
	"v1-get-project-api-key":            {params: map[string]string{"id": "anon"}},
	"v1-update-project-api-key":         {params: map[string]string{"id": "anon"}, body: `{"description": "for the web"}`},
	"v1-delete-project-api-key":         {params: map[string]string{"id": "service_role"}},
	"v1-update-project-legacy-api-keys": {query: "enabled=false"},
	"v1-bulk-create-secrets":            {body: `[{"name": "KEY", "value": "text"}]`},
	"v1-bulk-delete-secrets":            {body: `["KEY"]`},
	"v1-update-pgsodium-config":         {body: `{"root_key": "other"}`},

	"v1-create-a-function":     {query: "slug=resize&name=Resize", body: "ESZIP", content: "application/vnd.denoland.eszip"},
	"v1-update-a-function":     {query: "name=Hello", body: "ESZIP", content: "application/vnd.denoland.eszip"},
	"v1-deploy-a-function":     {query: "slug=greet", body: deployForm, content: multipartForm},
	"v1-bulk-update-functions": {body: `[{"id": "x", "slug": "hello-world", "name": "Hello", "status": "ACTIVE", "version": 2}]`},

	"v1-update-action-run-status": {body: `{"deploy": "RUNNING"}`},
	"v1-list-all-snippets":        {query: "limit=2"},
	"v1-get-a-snippet":            {params: map[string]string{"id": "0d6a1f7e-52c3-4e8b-9f04-b7c2e83d1a65"}},

	"v1-update-auth-service-config":     {body: `{"site_url": "https://new.example"}`},
	"v1-create-project-signing-key":     {body: `{"algorithm": "ES256"}`},
	"v1-get-project-signing-key":        {params: map[string]string{"id": signingKey}},
	"v1-remove-project-signing-key":     {params: map[string]string{"id": signingKey}},
	"v1-update-project-signing-key":     {params: map[string]string{"id": signingKey}, body: `{"status": "revoked"}`},
	"v1-create-a-sso-provider":          {body: `{"type": "saml", "metadata_url": "https://idp.example/m", "domains": ["acme.example"]}`},
	"v1-update-a-sso-provider":          {body: `{"domains": ["new.example"]}`},
	"v1-create-project-tpa-integration": {body: `{"oidc_issuer_url": "https://login.example"}`},

	"v1-update-postgres-config":          {body: `{"max_connections": 80}`},
	"v1-update-pooler-config":            {body: `{"default_pool_size": 20}`},
	"v1-update-postgrest-service-config": {body: `{"max_rows": 500}`},
	"v1-update-realtime-config":          {body: `{"max_concurrent_users": 500}`},
	"v1-update-storage-config":           {body: `{"fileSizeLimit": 1048576}`},
	"v1-modify-database-disk":            {body: `{"attributes": {"type": "io2", "iops": 4000, "size_gb": 20}}`},
	"v1-update-ssl-enforcement-config":   {body: `{"requestedConfig": {"database": true}}`},
	"v1-update-jit-access-config":        {body: `{"state": "enabled"}`},

	"v1-update-hostname-config":              {body: `{"custom_hostname": "api.acme.example"}`},
	"v1-verify-dns-config":                   {first: []step{{id: "v1-update-hostname-config", body: `{"custom_hostname": "api.acme.example"}`}}},
	"v1-activate-custom-hostname":            {first: []step{{id: "v1-update-hostname-config", body: `{"custom_hostname": "api.acme.example"}`}}},
	"v1-check-vanity-subdomain-availability": {body: `{"vanity_subdomain": "acme-pay"}`},
	"v1-activate-vanity-subdomain-config":    {body: `{"vanity_subdomain": "acme-pay"}`},

	"v1-delete-network-bans":         {body: `{"ipv4_addresses": ["203.0.113.7"]}`},
	"v1-patch-network-restrictions":  {body: `{"add": {"dbAllowedCidrs": ["10.0.0.0/8"]}, "remove": {"dbAllowedCidrs": ["0.0.0.0/0"]}}`},
	"v1-update-network-restrictions": {body: `{"dbAllowedCidrs": ["10.0.0.0/8"]}`},
	"v1-apply-project-addon":         {body: `{"addon_type": "pitr", "addon_variant": "pitr_7"}`},

	"v1-run-a-query":              {body: `{"query": "select 1"}`},
	"v1-read-only-query":          {body: `{"query": "select 1"}`},
	"v1-apply-a-migration":        {body: `{"query": "create table t ()", "name": "t"}`},
	"v1-upsert-a-migration":       {body: `{"query": "create table t ()", "name": "t"}`},
	"v1-rollback-migrations":      {query: "gte=20260203142030"},
	"v1-patch-a-migration":        {body: `{"name": "customers"}`},
	"v1-update-database-password": {body: `{"password": "another one"}`},
	"v1-create-login-role":        {body: `{"read_only": true}`},
	"v1-authorize-jit-access":     {body: `{"role": "postgres", "rhost": "192.0.2.1"}`, first: []step{{id: "v1-update-jit-access", body: mine}}},
	"v1-update-jit-access":        {body: roles},
	"v1-list-jit-access":          {first: []step{{id: "v1-update-jit-access", body: roles}}},
	"v1-create-restore-point":     {body: `{"name": "before"}`},
	"v1-update-backup-schedule":   {body: `{"schedule_for": "04:30"}`},
	"v1-restore-physical-backup":  {body: `{"id": 90210}`},
	"v1-restore-pitr-backup":      {body: `{"recovery_time_target_unix": 1780801451}`},
	"v1-setup-a-read-replica":     {body: `{"read_replica_region": "eu-west-1"}`},
	"v1-remove-a-read-replica":    {body: `{"database_identifier": "replica-1"}`},
	"v1-undo":                     {body: `{"name": "before"}`},
}
