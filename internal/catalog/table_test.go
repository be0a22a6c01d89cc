package catalog_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
)

// ids returns the ids of the operations that match, sorted.
func ids(c *catalog.Catalog, match func(*catalog.Operation) bool) []string {
	var found []string
	for _, op := range c.Operations() {
		if match(op) {
			found = append(found, op.ID)
		}
	}
	slices.Sort(found)
	return found
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestEffectIsNotTheVerb lists every operation whose effect its verb does not tell.
func TestEffectIsNotTheVerb(t *testing.T) {
	c := load(t)
	reads := func(op *catalog.Operation) bool { return op.Effect == catalog.Read }
	gets := func(op *catalog.Operation) bool { return op.Method == "GET" || op.Method == "HEAD" }
	equal(t, "GET operations that write", ids(c, func(op *catalog.Operation) bool { return gets(op) && !reads(op) }),
		"v1-diff-a-branch", "v1-authorize-user", "v1-oauth-authorize-project-claim")
	equal(t, "other operations that read", ids(c, func(op *catalog.Operation) bool { return !gets(op) && reads(op) }),
		"v1-authorize-jit-access", "v1-list-all-network-bans", "v1-list-all-network-bans-enriched", "v1-read-only-query",
		"v2RunProjectAdvisors", "v2PreviewAProjectTransfer")
	equal(t, "DELETE operations that destroy nothing", ids(c, func(op *catalog.Operation) bool {
		return op.Method == "DELETE" && op.Effect != catalog.Destructive
	}))
	equal(t, "destructive operations that are no DELETE", ids(c, func(op *catalog.Operation) bool {
		return op.Method != "DELETE" && op.Effect == catalog.Destructive
	}), "v1-reset-a-branch", "v1-restore-physical-backup", "v1-restore-pitr-backup", "v1-undo", "v1-pause-a-project",
		"v1-cancel-a-project-restoration", "v1-shutdown-realtime", "v1-remove-a-read-replica", "v1-upgrade-postgres-version",
		"v1-update-pgsodium-config", "v2TransferAProject")
	equal(t, "operations that a body field makes a read", ids(c, func(op *catalog.Operation) bool { return op.ReadOnlyIf != "" }),
		"v1-run-a-query")
}

// TestReaderCannotWriteByQuery: upstream lists database_write and database_read as alternatives for the query operation.
func TestReaderCannotWriteByQuery(t *testing.T) {
	op := load(t).Lookup("v1-run-a-query")
	for effect, want := range map[catalog.Effect]string{catalog.Write: "database:write database_write", catalog.Read: "database:read database_read"} {
		needs := op.Needs(effect)
		if len(needs.Permissions) != 1 || needs.Scope+" "+strings.Join(needs.Permissions[0], "+") != want {
			t.Errorf("Needs(%s) = %v, want %s alone", effect, needs, want)
		}
	}
}

func TestLimitClassesHaveTheRealPaths(t *testing.T) {
	c := load(t)
	limits := map[string][]catalog.Limit{}
	members := map[string][]string{}
	for _, op := range c.Operations() {
		limits[op.Class.Name] = op.Class.Limits
		if op.Class.Name != "default" {
			members[op.Class.Name] = append(members[op.Class.Name], op.Method+" "+strings.TrimPrefix(op.Path, "/v1/projects/{ref}/"))
		}
	}
	for class, want := range map[string][]catalog.Limit{
		"default":    {{N: 120, Window: time.Minute}},
		"logs":       {{N: 30, Window: time.Minute}},
		"context":    {{N: 10, Window: time.Minute}, {N: 1, Window: time.Second}},
		"hostname":   {{N: 10, Window: time.Minute}},
		"vanity":     {{N: 10, Window: time.Minute}},
		"migrations": {{N: 120, Window: 3 * time.Minute}},
	} {
		if !slices.Equal(limits[class], want) {
			t.Errorf("class %s has the limits %v, want %v", class, limits[class], want)
		}
	}
	for class, want := range map[string][]string{
		"logs": {"GET analytics/endpoints/logs", "GET analytics/endpoints/logs.all", "GET analytics/endpoints/usage.api-counts",
			"GET analytics/endpoints/usage.api-requests-count", "GET analytics/endpoints/functions.combined-stats"},
		"context":  {"GET database/context"},
		"hostname": {"POST custom-hostname/initialize", "POST custom-hostname/reverify", "DELETE custom-hostname"},
		"vanity": {"GET vanity-subdomain", "DELETE vanity-subdomain", "POST vanity-subdomain/activate",
			"POST vanity-subdomain/check-availability"},
		"migrations": {"DELETE database/migrations", "GET database/migrations", "POST database/migrations", "PUT database/migrations",
			"GET database/migrations/{version}", "PATCH database/migrations/{version}"},
	} {
		equal(t, "class "+class, slices.Sorted(slices.Values(members[class])), want...)
	}
}

func TestCacheRules(t *testing.T) {
	c := load(t)
	for _, row := range []struct {
		ttl time.Duration
		ids []string
	}{
		{2 * time.Second, []string{"v1-get-project", "v1-get-services-health", "v1-list-all-branches", "v1-get-action-run", "v1-get-postgres-upgrade-status"}},
		{10 * time.Second, []string{"v1-list-all-projects", "v1-list-all-organizations", "v1-list-all-functions", "v1-list-all-snippets"}},
		{30 * time.Second, []string{"v1-get-postgres-config", "v1-get-an-organization", "v1-get-network-restrictions"}},
		{time.Hour, []string{"v1-get-available-regions"}},
		{0, []string{"v1-read-only-query", "v1-run-a-query", "v1-get-a-function-body", "v1-generate-typescript-types", "v1-get-project-api-keys", "v1-get-jit-access"}},
	} {
		for _, id := range row.ids {
			if got := c.Lookup(id).Cache.TTL; got != row.ttl {
				t.Errorf("%s may be kept %s, want %s", id, got, row.ttl)
			}
		}
	}
	equal(t, "operations whose answers are never older than they may be kept", ids(c, func(op *catalog.Operation) bool { return op.Cache.Strict }),
		"v1-get-postgres-upgrade-status", "v1-get-project", "v1-get-services-health")
	equal(t, "cached operations that write or carry secrets", ids(c, func(op *catalog.Operation) bool {
		return op.Cache.TTL > 0 && (op.Effect != catalog.Read || op.Method != "GET" || op.Secret)
	}))
}

func TestSecretsAreMarked(t *testing.T) {
	c := load(t)
	for id, field := range map[string]string{
		"v1-get-a-branch-config":          "db_pass",
		"v1-get-auth-service-config":      "smtp_pass",
		"v1-update-auth-service-config":   "external_google_secret",
		"v1-get-project-api-keys":         "api_key",
		"v1-create-project-api-key":       "api_key",
		"v1-get-postgrest-service-config": "jwt_secret",
		"v1-get-pgsodium-config":          "root_key",
		"v1-create-login-role":            "password",
		"v1-create-project-claim-token":   "token",
		"v1-list-all-secrets":             "value",
		"v1-get-pooler-config":            "connectionString",
		"v1-get-project-pgbouncer-config": "connection_string",
		"v2GetProjectConfig":              "jwt_secret",
	} {
		if op := c.Lookup(id); !op.Secret || !slices.Contains(op.SecretBody, field) {
			t.Errorf("%s: secret %v with the fields %q, want %s among them", id, op.Secret, op.SecretBody, field)
		}
	}
}

func TestWhatTheGatewayAnswersItself(t *testing.T) {
	c := load(t)
	equal(t, "answered locally", ids(c, func(op *catalog.Operation) bool { return op.Local }), "v1-get-profile")
	equal(t, "refused", ids(c, func(op *catalog.Operation) bool { return op.Refused != "" }),
		"v1-authorize-user", "v1-oauth-authorize-project-claim", "v1-revoke-token", "v1-exchange-oauth-token")
}

func TestListsAreNarrowed(t *testing.T) {
	c := load(t)
	got := map[string]catalog.List{}
	for _, op := range c.Operations() {
		if op.List != catalog.NotAList {
			got[op.ID] = op.List
		}
	}
	want := map[string]catalog.List{
		"v1-list-all-projects":                 catalog.ListProjects,
		"v1-list-all-organizations":            catalog.ListOrganizations,
		"v1-get-all-projects-for-organization": catalog.ListOrgProjects,
		"v2ListOrganizationProjects":           catalog.ListOrgProjects,
		"v1-list-all-snippets":                 catalog.ListSnippets,
		"v1-list-all-branches":                 catalog.ListBranches,
	}
	if !maps.Equal(got, want) {
		t.Errorf("lists: %v, want %v", got, want)
	}
}

// TestWritesTouchWhatShowsThem: each of these shows at another path than its own, where clients look next.
func TestWritesTouchWhatShowsThem(t *testing.T) {
	c := load(t)
	for id, want := range map[string][]string{
		"v1-merge-a-branch":   {catalog.Parent},
		"v1-delete-a-branch":  {catalog.Parent, catalog.InOrganization},
		"v1-create-a-branch":  {catalog.InOrganization},
		"v1-pause-a-project":  {catalog.Parent, catalog.InOrganization, catalog.InAccount},
		"v1-delete-a-project": {catalog.Parent, catalog.InOrganization, catalog.InAccount},
		"v1-create-a-project": {catalog.InAccount},
	} {
		if got := c.Lookup(id).Touches; !slices.Equal(got, want) {
			t.Errorf("%s touches %q, want %q", id, got, want)
		}
	}
}

func TestEveryOperationCanBeGrantedByScopeOrPermission(t *testing.T) {
	c := load(t)
	equal(t, "operations with neither", ids(c, func(op *catalog.Operation) bool { return op.Scope == "" && len(op.Permissions) == 0 }),
		"v1-get-profile", "v1-authorize-user", "v1-revoke-token", "v1-exchange-oauth-token")
	if !slices.IsSorted(c.Scopes()) || !slices.Contains(c.Scopes(), "database:read") {
		t.Errorf("Scopes() = %q, want all names, sorted", c.Scopes())
	}
	if !slices.IsSorted(c.Permissions()) || !slices.Contains(c.Permissions(), "infra_disk_config_read") {
		t.Errorf("Permissions() = %q, want all names, sorted", c.Permissions())
	}
}

func TestIndexIsThePosition(t *testing.T) {
	c := load(t)
	for i, op := range c.Operations() {
		if op.Index != i || c.Lookup(op.ID) != op {
			t.Errorf("operation %d has the index %d and is not what its id %q finds", i, op.Index, op.ID)
		}
	}
}
