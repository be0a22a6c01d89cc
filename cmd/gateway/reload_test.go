package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/policy"
)

func TestAFaultyPolicyKeepsTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policyOf := func(team string) string {
		return "teams:\n  - {name: " + team + ", members: [{group: g}], allow: [{projects: [abcdefghijklmnopqrst], scopes: [\"database:read\"]}]}\n"
	}
	write("gateway.yaml", "server: {public_url: https://g.example}\ncredentials: [{name: shared, token: {env: PAT}}]\n"+
		"limits: {reserve: [{team: first, percent: 10}]}\n")
	write("policy.yaml", policyOf("first"))
	loaded, err := config.Load(filepath.Join(dir, "gateway.yaml"), func(string) string { return "token" })
	if err != nil {
		t.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), &strings.Builder{}
	inForce := loaded.Policy
	r := newReload(loaded, func(rules *policy.Policy) { inForce = rules }, registry, slog.New(slog.NewTextHandler(log, nil)))
	for _, step := range []struct {
		name, policy, team string
		good               bool
	}{
		{"at the start", policyOf("first"), "first", true},
		{"another", policyOf("second"), "second", true},
		{"a typo", strings.Replace(policyOf("third"), "database:read", "databse:read", 1), "second", false},
		{"half a file", policyOf("third")[:40], "second", false},
		{"an unknown issuer", strings.Replace(policyOf("third"), "group: g", "group: g, issuer: nobody", 1), "second", false},
		{"mended", policyOf("third"), "third", true},
	} {
		write("policy.yaml", step.policy)
		r.policy()
		if teams := inForce.TeamNames(); len(teams) != 1 || teams[0] != step.team {
			t.Errorf("%s: in force is the policy of %v, want %s", step.name, teams, step.team)
		}
		if healthy := r.healthy() == nil; healthy != step.good {
			t.Errorf("%s: readiness says %v", step.name, r.healthy())
		}
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "gateway_config_reload_success" {
			t.Fatalf("metrics %v, %v", families, err)
		}
		if success := families[0].GetMetric()[0].GetGauge().GetValue() == 1; success != step.good {
			t.Errorf("%s: gateway_config_reload_success says %v", step.name, success)
		}
	}
	if !strings.Contains(log.String(), "databse:read") {
		t.Errorf("the log does not name the fault:\n%s", log)
	}
	// The second and the third policy have no team "first"; the others kept the one in force.
	if warned := strings.Count(log.String(), "the policy has no such team"); warned != 2 {
		t.Errorf("%d warnings of a share that nobody can spend, want 2:\n%s", warned, log)
	}
}
