package clients_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// mcp is a running MCP server, spoken to as an editor does: JSON-RPC, one message a line.
type mcp struct {
	t      testing.TB
	input  io.Writer
	output *bufio.Scanner
	errors *bytes.Buffer
	last   int // id of the last request
}

// mcpFeatures are all of the server's but "docs", for which it reads supabase.com rather than the Management API.
const mcpFeatures = "account,branching,database,debugging,development,functions,storage"

// maxMCPLine is far above the longest message, a list of tools.
const maxMCPLine = 4 << 20

// startMCP runs the MCP server against the gateway until the test ends, and introduces itself.
func startMCP(t testing.TB, g *harness.Gateway, token string) *mcp {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", mcpServer, "--api-url", g.URL, "--access-token", token, "--features", mcpFeatures)
	m := &mcp{t: t, errors: &bytes.Buffer{}}
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = m.errors
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close() // which asks the server to end
		_ = command.Wait()
	})
	m.input, m.output = input, bufio.NewScanner(output)
	m.output.Buffer(nil, maxMCPLine)
	m.request("initialize", map[string]any{
		"protocolVersion": "2025-06-18", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "test", "version": "1"},
	})
	m.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return m
}

func (m *mcp) send(message map[string]any) {
	m.t.Helper()
	line, err := json.Marshal(message)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.input.Write(append(line, '\n')); err != nil {
		m.t.Fatalf("the MCP server: %v\n%s", err, m.errors)
	}
}

// request sends a request and returns the result of its answer.
func (m *mcp) request(method string, parameters map[string]any) json.RawMessage {
	m.t.Helper()
	m.last++
	m.send(map[string]any{"jsonrpc": "2.0", "id": m.last, "method": method, "params": parameters})
	for m.output.Scan() {
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(m.output.Bytes(), &answer); err != nil {
			m.t.Fatalf("the MCP server: %v: %s", err, m.output.Bytes())
		}
		if answer.ID != m.last {
			continue // a notification
		}
		if answer.Error != nil {
			m.t.Fatalf("%s: %s", method, answer.Error)
		}
		return answer.Result
	}
	m.t.Fatalf("%s: the MCP server ended: %v\n%s", method, m.output.Err(), m.errors)
	return nil
}

// tool calls a tool and returns the text that the model would read, and whether it is an error.
func (m *mcp) tool(name string, arguments map[string]any) (text string, failed bool) {
	m.t.Helper()
	if arguments == nil {
		arguments = map[string]any{} // null is not what the protocol allows
	}
	var result struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := json.Unmarshal(m.request("tools/call", map[string]any{"name": name, "arguments": arguments}), &result); err != nil {
		m.t.Fatal(err)
	}
	for _, content := range result.Content {
		text += content.Text
	}
	return text, result.IsError
}

// toolCall is one call of a tool on the project Payments.
type toolCall struct {
	tool      string
	arguments map[string]any
	shows     string // to somebody who is allowed
	operation string // refused to somebody who is not
}

var toolCalls = []toolCall{
	{"get_project", nil, `"name":"payments"`, "v1-get-project (read)"},
	{"list_tables", map[string]any{"schemas": []string{"public"}}, "public.customers", "v1-run-a-query (read)"},
	{"execute_sql", map[string]any{"query": "select 1"}, "column", "v1-run-a-query (write)"},
	{"list_migrations", nil, "create_customers", "v1-list-migration-history (read)"},
	{"query_logs", map[string]any{"sql": "select id from logs"}, "edge_logs line 1", "v1-get-project-endpoint-logs (read)"},
	{"get_logs", map[string]any{"service": "api"}, "edge_logs line 1", "v1-get-project-endpoint-logs (read)"},
	{"get_advisors", map[string]any{"type": "security"}, "rls_disabled_in_public", "v1-get-security-advisors (read)"},
	{"get_publishable_keys", nil, "sb_publishable_", "v1-get-project-api-keys (read)"},
	{"list_edge_functions", nil, "hello-world", "v1-list-all-functions (read)"},
	{"deploy_edge_function", map[string]any{"name": "greeter", "entrypoint_path": "index.ts", "verify_jwt": true,
		"files": []map[string]any{{"name": "index.ts", "content": helloSource}}}, `"slug":"greeter"`, "v1-deploy-a-function (write)"},
	{"get_edge_function", map[string]any{"function_slug": "greeter"}, "hello from a test", "v1-get-a-function (read)"},
	{"list_branches", nil, "refund-flow", "v1-list-all-branches (read)"},
	{"generate_typescript_types", nil, "export type Database", "v1-generate-typescript-types (read)"},
	// Upstream's answer to a migration is empty. Sent in chunks, the server would take it for broken JSON.
	{"apply_migration", map[string]any{"name": "add_refunds", "query": "create table refunds ()"}, `"success":true`, "v1-apply-a-migration (write)"},
}

// of adds the project to the arguments, under the name that the tool gives it.
func (c toolCall) of(project string) map[string]any {
	arguments := map[string]any{"project_id": project}
	if c.tool == "get_project" {
		arguments = map[string]any{"id": project}
	}
	for name, value := range c.arguments {
		arguments[name] = value
	}
	return arguments
}

func TestMCPServerOfSomebodyWhoIsAllowed(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	m := startMCP(t, g, g.Token("payments"))

	var listed struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(m.request("tools/list", map[string]any{}), &listed); err != nil {
		t.Fatal(err)
	}
	for _, call := range toolCalls {
		if call.tool == "get_logs" {
			continue // works for those who know it, and is no longer offered
		}
		if !slices.ContainsFunc(listed.Tools, func(tool struct{ Name string }) bool { return tool.Name == call.tool }) {
			t.Errorf("there is no tool %s", call.tool)
		}
	}
	text, failed := m.tool("list_projects", nil)
	if missing := containsAll(text, []string{sandbox.Payments, sandbox.Ledger}); failed || missing != nil || strings.Contains(text, sandbox.FieldApp) {
		t.Errorf("list_projects: %s, want the two of team payments", text)
	}
	for _, call := range toolCalls {
		if text, failed := m.tool(call.tool, call.of(sandbox.Payments)); failed || !strings.Contains(text, call.shows) {
			t.Errorf("%s: failed %v, %s, want %q", call.tool, failed, text, call.shows)
		}
	}
}

// Point 5 of how clients behave: what they write under one path they read back at once under another.
func TestMCPServerReadsBackAtOnceWhatItWrote(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	m := startMCP(t, g, g.Token("payments"))
	project := map[string]any{"project_id": sandbox.Payments}
	branches := func() string {
		t.Helper()
		text, failed := m.tool("list_branches", project)
		if failed {
			t.Fatal(text)
		}
		return text
	}
	branches() // is stored from now on

	cost, _ := m.tool("confirm_cost", map[string]any{"type": "branch", "recurrence": "hourly", "amount": 0.01344})
	var confirmed struct {
		ID string `json:"confirmation_id"`
	}
	if err := json.Unmarshal([]byte(cost), &confirmed); err != nil {
		t.Fatalf("confirm_cost: %v: %s", err, cost)
	}
	created, failed := m.tool("create_branch", map[string]any{"project_id": sandbox.Payments, "name": "tryout", "confirm_cost_id": confirmed.ID})
	var branch struct{ ID string }
	if err := json.Unmarshal([]byte(created), &branch); failed || err != nil {
		t.Fatalf("create_branch: %v: %s", err, created)
	}
	if text := branches(); !strings.Contains(text, `"tryout"`) {
		t.Errorf("the new branch is not in the list: %s", text)
	}
	if text, failed := m.tool("delete_branch", map[string]any{"branch_id": branch.ID}); failed { // at /v1/branches/{id}
		t.Fatal(text)
	}
	if text := branches(); strings.Contains(text, `"tryout"`) {
		t.Errorf("the deleted branch is still in the list: %s", text)
	}
}

func TestMCPServerOfSomebodyWhoIsRefusedShowsTheGatewaysReason(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	m := startMCP(t, g, g.Token("field"))
	text, failed := m.tool("list_projects", nil)
	if failed || !strings.Contains(text, sandbox.FieldApp) || strings.Contains(text, sandbox.Payments) {
		t.Errorf("list_projects: %s, want the one of team field", text)
	}
	for _, call := range toolCalls {
		if text, failed := m.tool(call.tool, call.of(sandbox.Payments)); !failed || !strings.Contains(text, refused(call.operation)) {
			t.Errorf("%s: failed %v, %s, want %q", call.tool, failed, text, refused(call.operation))
		}
	}
	for _, r := range g.Upstream.Requests() {
		if r.Method != "GET" || strings.Contains(r.Target, sandbox.Payments) {
			t.Errorf("upstream was asked %s %s for somebody who was refused", r.Method, r.Target)
		}
	}

	nobody := startMCP(t, g, stranger(t, g))
	if text, failed := nobody.tool("list_projects", nil); !failed || !strings.Contains(text, unknown("v1-list-all-projects (read)")) {
		t.Errorf("list_projects of somebody in no team: failed %v, %s", failed, text)
	}
}
