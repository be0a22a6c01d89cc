package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// cli is the Supabase CLI of one person, with a home and a working folder of its own.
type cli struct {
	dir         string
	environment []string
}

// newCLI prepares the CLI as the gateway's guide says: a profile file and a token, and nothing else. Files are written
// into the working folder.
func newCLI(t testing.TB, g *harness.Gateway, token string, files map[string]string) cli {
	t.Helper()
	c := cli{dir: t.TempDir()}
	home := t.TempDir()
	profile := filepath.Join(home, "profile.yaml")
	write(t, profile, fmt.Sprintf("name: gateway\napi_url: %[1]s\ndashboard_url: %[1]s\nproject_host: supabase.example\n", g.URL))
	for name, content := range files {
		write(t, filepath.Join(c.dir, name), content)
	}
	c.environment = []string{"HOME=" + home, "SUPABASE_PROFILE=" + profile, "SUPABASE_ACCESS_TOKEN=" + token, "DO_NOT_TRACK=1"}
	return c
}

// run runs one command line, in which no argument holds a space.
func (c cli) run(t testing.TB, line string) ran {
	t.Helper()
	return run(t, c.dir, c.environment, "node", append([]string{supabaseCLI}, strings.Fields(line)...)...)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// step is one command line.
type step struct {
	line  string
	shows []string // what somebody who is allowed is shown

	// refusal is what somebody who is not is shown. From 403s of a few commands the CLI makes a text of its own, whatever
	// the answer says; for those it is that text.
	refusal string
}

// task is some command lines in one folder, one after another.
type task struct {
	name  string
	files map[string]string // in the folder before
	steps []step
	leave map[string]string // file → what is in it after they were allowed
}

// onPayments names the project of the two people: one's team has it, the other's has not.
const onPayments = " --remote=" + sandbox.Payments

// refused is the gateway's message to somebody of the team "field" about that project.
func refused(operation string) string {
	return "Team field may not do " + operation + " on project " + sandbox.Payments
}

// unknown is the gateway's message to somebody who is in no team.
func unknown(operation string) string {
	return "You belong to no team of this gateway, so you may not do " + operation
}

const helloSource = `Deno.serve(() => new Response("hello from a test"))`

// tasks are for somebody of the team "payments", and refused to somebody of the team "field".
var tasks = []task{
	{name: "projects api-keys", steps: []step{{"projects api-keys" + onPayments, []string{"service_role", "sb_publishable_"}, refused("v1-get-project-api-keys (read)")}}},
	{name: "secrets", steps: []step{
		{"secrets set GREETING=hello --yes" + onPayments, []string{"Finished supabase secrets set."}, refused("v1-bulk-create-secrets (write)")},
		{"secrets list" + onPayments, []string{"GREETING", "STRIPE_WEBHOOK_ENDPOINT"}, refused("v1-list-all-secrets (read)")},
		{"secrets unset GREETING --yes" + onPayments, []string{"Finished supabase secrets unset."}, refused("v1-bulk-delete-secrets (destructive)")},
	}},
	{
		name:  "functions",
		files: map[string]string{"supabase/functions/hello/index.ts": helloSource},
		steps: []step{
			{"functions list" + onPayments, []string{"hello-world", "ACTIVE"}, refused("v1-list-all-functions (read)")},
			{"functions deploy hello --use-api --yes" + onPayments, []string{"Deployed Functions on project " + sandbox.Payments + ": hello"}, refused("v1-list-all-functions (read)")},
			{"functions download hello --use-api --yes" + onPayments, []string{"Downloaded Function hello"}, refused("v1-get-a-function-body (read)")},
			{"functions delete hello --yes" + onPayments, []string{"Deleted Function hello"}, refused("v1-delete-a-function (destructive)")},
		},
		leave: map[string]string{"supabase/functions/hello/index.ts": helloSource},
	},
	{name: "branches", steps: []step{
		{"branches list" + onPayments, []string{"staging", "refund-flow", sandbox.PaymentsStaging}, refused("v1-list-all-branches (read)")},
		{"branches create tryout --yes" + onPayments, []string{"Created preview branch", "tryout"}, refused("v1-create-a-branch (write)")},
		{"branches get tryout" + onPayments, []string{"postgres"}, refused("v1-get-a-branch (read)")},
	}},
	{name: "gen types", steps: []step{{"gen types typescript" + onPayments, []string{"export type Database", "customers"}, refused("v1-generate-typescript-types (read)")}}},
	{name: "sso list", steps: []step{{"sso list" + onPayments, []string{"SAML 2.0", "acme.example"}, refused("v1-list-all-sso-provider (read)")}}},
	{name: "network-restrictions get", steps: []step{{"network-restrictions get --experimental" + onPayments, []string{"Restrictions applied successfully: true"}, refused("v1-get-network-restrictions (read)")}}},
	{name: "ssl-enforcement get", steps: []step{{"ssl-enforcement get --experimental" + onPayments, []string{"SSL is *NOT* being enforced."}, refused("v1-get-ssl-enforcement-config (read)")}}},
	{name: "postgres-config get", steps: []step{{"postgres-config get --experimental" + onPayments, []string{"effective_cache_size"}, refused("v1-get-postgres-config (read)")}}},
	{name: "domains get", steps: []step{{"domains get" + onPayments, []string{"Custom hostname configuration not started."}, refused("v1-get-hostname-config (read)")}}},
	{name: "vanity-subdomains get", steps: []step{{"vanity-subdomains get --experimental" + onPayments, []string{"Status: not-used"}, refused("v1-get-vanity-subdomain-config (read)")}}},
	{name: "link", steps: []step{{"link --yes --project-ref " + sandbox.Payments, []string{"Finished supabase link."}, refused("v1-get-project (read)")}},
		leave: map[string]string{"supabase/.temp/project-ref": sandbox.Payments}},
	{name: "backups list", steps: []step{{"backups list" + onPayments, []string{"PHYSICAL", "COMPLETED"}, refused("v1-list-all-backups (read)")}}},
	{
		name:  "config diff",
		files: map[string]string{"supabase/config.toml": "project_id = \"payments\"\n[auth]\nsite_url = \"http://127.0.0.1:3000\"\n"},
		steps: []step{{"config diff" + onPayments, []string{"auth.site_url"},
			"Access denied for project " + sandbox.Payments + ": your account does not have permission to view its configuration."}},
	},
	{name: "logs", steps: []step{{"logs" + onPayments, []string{"edge_logs line 1 of " + sandbox.Payments}, "The logs API denied access (HTTP 403)."}}},
}

// accountTasks are about no project, and refused to somebody who is in no team.
var accountTasks = []task{
	{name: "projects list", steps: []step{{"projects list", []string{sandbox.Payments, sandbox.Ledger}, unknown("v1-list-all-projects (read)")}}},
	{name: "projects create", steps: []step{{"projects create tryout --org-id acme --db-password correct-horse --region eu-central-1 --yes",
		[]string{"Created a new project"}, unknown("v1-create-a-project (write)")}}},
	{name: "orgs list", steps: []step{{"orgs list", []string{sandbox.Acme}, unknown("v1-list-all-organizations (read)")}}},
	{name: "snippets list", steps: []step{{"snippets list" + onPayments, []string{"Payments per day", "Open refunds"}, unknown("v1-list-all-snippets (read)")}}},
}

func TestCLIOfSomebodyWhoIsAllowed(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	payments := g.Token("payments")
	for _, task := range append(tasks, accountTasks...) {
		t.Run(task.name, func(t *testing.T) {
			t.Parallel()
			c := newCLI(t, g, payments, task.files)
			for _, step := range task.steps {
				got := c.run(t, step.line)
				if got.exit != 0 {
					t.Fatalf("supabase %s: exit code %d\n%s", step.line, got.exit, got.output())
				}
				if missing := containsAll(got.output(), step.shows); missing != nil {
					t.Errorf("supabase %s does not show %q:\n%s", step.line, missing, got.output())
				}
				for _, other := range []string{sandbox.FieldApp, sandbox.Billing, sandbox.Globex} {
					if strings.Contains(got.output(), other) {
						t.Errorf("supabase %s shows %s, which is another team's:\n%s", step.line, other, got.output())
					}
				}
			}
			for name, want := range task.leave {
				if got, err := os.ReadFile(filepath.Join(c.dir, name)); err != nil || !strings.Contains(string(got), want) {
					t.Errorf("%s = %q, %v, want %q in it", name, got, err, want)
				}
			}
		})
	}
}

func TestCLIOfSomebodyWhoIsRefusedShowsTheGatewaysReason(t *testing.T) {
	needClients(t)
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	tokens := map[string]string{"field": g.Token("field"), "nobody": stranger(t, g)}
	asked := 0
	t.Run("commands", func(t *testing.T) {
		for who, tasks := range map[string][]task{"field": tasks, "nobody": accountTasks} {
			for _, task := range tasks {
				asked += len(task.steps)
				t.Run(task.name, func(t *testing.T) {
					t.Parallel()
					for _, step := range task.steps {
						got := newCLI(t, g, tokens[who], task.files).run(t, step.line)
						if got.exit == 0 || !strings.Contains(got.stderr, step.refusal) {
							t.Errorf("supabase %s: exit code %d, want one other than 0 and %q among the errors:\n%s", step.line, got.exit, step.refusal, got.output())
						}
					}
				})
			}
		}
	})

	// Refusals are final: no command was tried again, and upstream heard nothing of what was refused.
	last := g.Get(g.JWT("linus"), "/v1/projects").Problem(t)
	g.Audit(last.RequestID)
	counts := map[string]int{}
	for _, record := range g.AllAudit() {
		if record.Phase == audit.Outcome {
			counts[record.Operation]++
		}
	}
	for operation, n := range counts {
		most := 2 // commands begin with the same operation
		if operation == "v1-get-project" {
			most = asked // most of them end with it
		}
		if n > most {
			t.Errorf("the gateway was asked %d times for %s, want %d at most", n, operation, most)
		}
	}
	for _, r := range g.Upstream.Requests() {
		if r.Method != "GET" || strings.Contains(r.Target, sandbox.Payments) {
			t.Errorf("upstream was asked %s %s for somebody who was refused", r.Method, r.Target)
		}
	}
}
