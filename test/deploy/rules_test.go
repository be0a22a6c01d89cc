package deploy_test

import (
	"os"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// rules is what the tests need of a rules file.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func loadRules(t *testing.T) rules {
	t.Helper()
	var loaded rules
	decodeFile(t, file("prometheus/rules.yaml"), &loaded)
	return loaded
}

func TestRulesPassTheirUnitTests(t *testing.T) {
	harness.Need(t, []string{"promtool"}, nil)
	t.Parallel()
	must(t, "promtool", "check", "rules", file("prometheus/rules.yaml"))
	for _, tests := range []string{"prometheus/rules_test.yaml", "prometheus/rules_days_test.yaml"} {
		t.Run(tests, func(t *testing.T) {
			t.Parallel()
			must(t, "promtool", "test", "rules", file(tests))
		})
	}
}

// alertTests is what the unit tests of rules say about alerts.
type alertTests struct {
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func TestEveryAlertHasARunbookAndIsSeenToFireAndToStaySilent(t *testing.T) {
	runbook := read(t, harness.Root()+"/docs/alerts.md")
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range []string{"prometheus/rules_test.yaml", "prometheus/rules_days_test.yaml"} {
		var tests alertTests
		decodeFile(t, file(name), &tests)
		for _, test := range tests.Tests {
			for _, alert := range test.AlertRuleTest {
				fires[alert.Alertname] = fires[alert.Alertname] || len(alert.ExpAlerts) > 0
				silent[alert.Alertname] = silent[alert.Alertname] || len(alert.ExpAlerts) == 0
			}
		}
	}
	alerts := map[string]bool{}
	for _, group := range loadRules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue
			}
			alerts[rule.Alert] = true
			if want := "docs/alerts.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook_url"] != want {
				t.Errorf("%s: runbook_url %q, want %q", rule.Alert, rule.Annotations["runbook_url"], want)
			}
			if severity := rule.Labels["severity"]; severity != "page" && severity != "ticket" {
				t.Errorf("%s: severity %q, want page or ticket", rule.Alert, severity)
			}
			if !strings.Contains(runbook, "\n## "+rule.Alert+"\n") {
				t.Errorf("docs/alerts.md has no section %q", rule.Alert)
			}
			if !fires[rule.Alert] || !silent[rule.Alert] {
				t.Errorf("%s: the unit tests see it fire: %v, stay silent: %v", rule.Alert, fires[rule.Alert], silent[rule.Alert])
			}
		}
	}
	for line := range strings.Lines(runbook) {
		if name, found := strings.CutPrefix(line, "## Gateway"); found && !alerts["Gateway"+strings.TrimSpace(name)] {
			t.Errorf("docs/alerts.md explains Gateway%s, which is no alert", name)
		}
	}
}

// The chart carries the files, since Helm packs nothing from outside it; what others use are links to those.
func TestRulesAndDashboardAreKeptOnce(t *testing.T) {
	for link, target := range map[string]string{
		"prometheus/rules.yaml":  "helm/gateway/files/rules.yaml",
		"grafana/dashboard.json": "helm/gateway/files/dashboard.json",
	} {
		linked, err := os.Stat(file(link))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.Stat(file(target))
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(linked, kept) {
			t.Errorf("deploy/%s is no link to deploy/%s", link, target)
		}
	}
}
