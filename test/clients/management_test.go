package clients_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// call is one method of supabase-management-js and its arguments.
type call []any

// result is what a call gave.
type result struct {
	Status int             `json:"status"`
	Error  string          `json:"error"` // the library's message
	Data   json.RawMessage `json:"data"`
}

// management makes calls one after another through supabase-management-js.
func management(t testing.TB, baseURL, token string, calls ...call) []result {
	t.Helper()
	input, err := json.Marshal(map[string]any{"baseUrl": baseURL, "accessToken": token, "calls": calls})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), "node", "management.mjs")
	command.Dir, command.Stdin, command.Stderr = folder(), bytes.NewReader(input), &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("management.mjs: %v\n%s", err, &stderr)
	}
	var results []result
	for line := range bytes.Lines(output) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("management.mjs: %v: %s", err, line)
		}
		results = append(results, r)
	}
	if len(results) != len(calls) {
		t.Fatalf("management.mjs answered %d calls of %d", len(results), len(calls))
	}
	return results
}

func TestManagementJS(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	type object = map[string]any
	rows := []struct {
		call    call
		status  int
		shows   string
		refusal string
	}{
		{call{"getProject", sandbox.Payments}, 200, `"name":"payments"`, "v1-get-project (read)"},
		{call{"getServicesHealth", sandbox.Payments, object{"services": []string{"auth"}}}, 200, `"ACTIVE_HEALTHY"`, "v1-get-services-health (read)"},
		{call{"bulkCreateSecrets", sandbox.Payments, []object{{"name": "GREETING", "value": "hello"}}}, 201, "", "v1-bulk-create-secrets (write)"},
		{call{"listAllSecrets", sandbox.Payments}, 200, `"GREETING"`, "v1-list-all-secrets (read)"},
		{call{"bulkDeleteSecrets", sandbox.Payments, []string{"GREETING"}}, 200, "", "v1-bulk-delete-secrets (destructive)"},
		{call{"runAQuery", sandbox.Payments, object{"query": "select 1"}}, 201, `"?column?"`, "v1-run-a-query (write)"},
		{call{"listAllBranches", sandbox.Payments}, 200, `"staging"`, "v1-list-all-branches (read)"},
		{call{"generateTypescriptTypes", sandbox.Payments}, 200, "export type Database", "v1-generate-typescript-types (read)"},
		{call{"updateRealtimeConfig", sandbox.Payments, object{"max_channels_per_client": 50}}, 204, "", "v1-update-realtime-config (write)"},
	}
	var calls []call
	for _, row := range rows {
		calls = append(calls, row.call)
	}
	t.Run("of somebody who is allowed", func(t *testing.T) {
		for i, got := range management(t, g.URL, g.Token("payments"), calls...) {
			if row := rows[i]; got.Status != row.status || got.Error != "" || !strings.Contains(string(got.Data), row.shows) {
				t.Errorf("%v: status %d, error %q, data %s, want %d with %s", row.call, got.Status, got.Error, got.Data, row.status, row.shows)
			}
		}
	})
	t.Run("of somebody who is refused", func(t *testing.T) {
		for i, got := range management(t, g.URL, g.Token("field"), calls...) {
			if row := rows[i]; got.Status != http.StatusForbidden || !strings.Contains(got.Error, refused(row.refusal)) {
				t.Errorf("%v: status %d, error %q, want 403 with %q", row.call, got.Status, got.Error, refused(row.refusal))
			}
		}
	})
	t.Run("of two teams who see different projects", func(t *testing.T) {
		for team, want := range map[string][]string{"payments": {sandbox.Payments, sandbox.Ledger}, "field": {sandbox.FieldApp}} {
			got := management(t, g.URL, g.Token(team), call{"listAllProjects"})[0]
			if missing := containsAll(string(got.Data), want); missing != nil || strings.Count(string(got.Data), `"ref"`) != len(want) {
				t.Errorf("%s sees %s, want %v alone", team, got.Data, want)
			}
		}
	})
}

// Point 8 of how clients behave: with a slash at the end of its base URL the library asks for //v1/….
func TestManagementJSWithASlashTooManyIsTold(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	got := management(t, g.URL+"/", g.Token("payments"), call{"listAllProjects"}, call{"getProject", sandbox.Payments})
	for _, r := range got {
		if r.Status != http.StatusNotFound || !strings.Contains(r.Error, "slash") {
			t.Errorf("status %d, error %q, want 404 and a hint at the slash", r.Status, r.Error)
		}
	}
	if n := len(g.Upstream.Requests()); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}
