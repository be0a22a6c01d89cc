package proxy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/sandbox"
)

func TestAScrapeHasTheContractsMetricsWithClosedLabels(t *testing.T) {
	l := newLine(t, options{policy: onlyPayments})
	for _, request := range [][]string{
		{"GET", functions, ""}, {"GET", functions, ""}, {"POST", secrets, `[{"name":"A","value":"b"}]`}, {"GET", "/v1/profile", ""},
		{"GET", functions, "", "X-Gateway-Team: nobodys-team"}, {"GET", "/v1/profile", "", "X-Gateway-Team: nobodys-team"},
		{"GET", strings.Replace(functions, sandbox.Payments, sandbox.FieldApp, 1), ""}, {"GET", "/v1/no-such-path", ""}, {"BREW", functions, ""},
		{"GET", functions, "", "Authorization: Bearer no-such-token"}, {"GET", functions, "", "Cache-Control: no-such-directive, no-store"},
	} {
		l.call(t.Context(), request[0], request[1], request[2], request[3:]...)
	}
	operations, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`^\d{1,3}$`)
	oneOf := func(words ...string) func(string) bool {
		return func(value string) bool { return slices.Contains(words, value) }
	}
	closed := map[string]func(string) bool{
		"operation": func(value string) bool { return value == "" || operations.Lookup(value) != nil },
		"team":      oneOf("", "a"),
		"outcome":   oneOf("ok", "denied", "unauthenticated", "unknown_operation", "method_not_allowed"),
		"code":      number.MatchString,
		"class": func(value string) bool {
			return slices.ContainsFunc(operations.Operations(), func(o *catalog.Operation) bool { return o.Class.Name == value })
		},
		"status": func(value string) bool {
			return slices.ContainsFunc(cache.Statuses(), func(s cache.Status) bool { return s.String() == value })
		},
		"decision":   oneOf("allow", "deny"),
		"credential": oneOf("shared"),
		"sink":       oneOf("stdout"),
		"result":     oneOf("recorded", "failed", "dropped"),
	}
	want := map[string][]string{ // but for gateway_config_reload_success, which is cmd/gateway's
		"gateway_requests_total":              {"operation", "team", "outcome", "code"},
		"gateway_request_duration_seconds":    {"operation"},
		"gateway_queue_wait_seconds":          {"class"},
		"gateway_queue_depth":                 {"class"},
		"gateway_upstream_requests_total":     {"operation", "code"},
		"gateway_upstream_rate_limited_total": nil,
		"gateway_upstream_duration_seconds":   {"operation"},
		"gateway_cache_requests_total":        {"status"},
		"gateway_cache_bytes":                 nil,
		"gateway_policy_decisions_total":      {"decision"},
		"gateway_audit_records_total":         {"sink", "result"},
		"gateway_credential_healthy":          {"credential"},
	}
	families, err := l.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		labels, contract := want[family.GetName()]
		delete(want, family.GetName())
		for _, m := range family.GetMetric() {
			if contract && len(m.GetLabel()) != len(labels) {
				t.Errorf("%s has the labels %v, want %v", family.GetName(), m.GetLabel(), labels)
			}
			for _, label := range m.GetLabel() {
				if contract && !slices.Contains(labels, label.GetName()) {
					t.Errorf("%s has the label %s", family.GetName(), label.GetName())
				}
				if known := closed[label.GetName()]; known == nil || !known(label.GetValue()) {
					t.Errorf("%s has %s=%q, which is from no closed set", family.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
	for name := range want {
		t.Errorf("the scrape lacks %s", name)
	}
	if requests := l.metric(t, "gateway_requests_total"); requests != 11 {
		t.Errorf("gateway_requests_total = %v, want 11", requests)
	}
}
