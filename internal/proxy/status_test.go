package proxy_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox"
)

// engineer is the caller of these tests, in the policies below.
func engineer() *identity.Caller { return identity.Operator("a", "a@example.com", nil) }

func TestNamesAreThoseTheCallersOwnListsWouldShow(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		want   []string
	}{
		"everything":  {"", nil},
		"one project": {`teams: [{name: a, members: [{email: a@example.com}], allow: [{projects: [` + sandbox.Payments + `], scopes: ["projects:read"]}]}]`, []string{"project:" + sandbox.Payments}},
		"a grant that reads no project": {`teams: [{name: a, members: [{email: a@example.com}], allow: [{projects: [` + sandbox.Payments + `], scopes: ["secrets:read"]}]}]`,
			[]string{}},
		"no team": {`teams: [{name: b, members: [{email: b@example.com}], allow: [{projects: ["*"], scopes: ["*"]}]}]`, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			line := newLine(t, options{policy: test.policy})
			names, err := line.Names(t.Context(), engineer())
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Sorted(maps.Keys(names))
			if test.want == nil {
				if len(names) < 3 || names["project:"+sandbox.Payments] == "" || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "organization:") }) {
					t.Errorf("names %v, want all projects and organizations", names)
				}
				return
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("names of %v, want of %v", got, test.want)
			}
		})
	}
}

func TestNamesComeFromTheCache(t *testing.T) {
	asked := 0
	world, err := sandbox.New(sandbox.Config{Tokens: map[string]string{upstreamToken: "bot"}, Limits: sandbox.LimitConfig{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	line := newLine(t, options{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; world.ServeHTTP(w, r) })})
	for range 3 {
		if _, err := line.Names(t.Context(), engineer()); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("upstream was asked %d times, want once for each list", asked)
	}
}

func TestNamesWhileUpstreamIsDown(t *testing.T) {
	line := newLine(t, options{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) })})
	if names, err := line.Names(t.Context(), engineer()); err == nil || len(names) != 0 {
		t.Errorf("names %v, error %v; want an error", names, err)
	}
}

func TestLastAnswer(t *testing.T) {
	status := http.StatusOK
	line := newLine(t, options{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("{}"))
	})})
	if last := line.LastAnswer(); !last.At.IsZero() {
		t.Errorf("before any call: %+v", last)
	}
	for _, status = range []int{http.StatusOK, http.StatusServiceUnavailable} {
		call(line, http.MethodPost, "/v1/projects/"+sandbox.Payments+"/pause")
		if last := line.LastAnswer(); last.Status != status || last.At.IsZero() {
			t.Errorf("after an answer of %d: %+v", status, last)
		}
	}
}

func TestShadowDecisionsAreCounted(t *testing.T) {
	line := newLine(t, options{policy: `
teams:
  - name: a
    members: [{email: a@example.com}]
    allow:
      - {projects: [` + sandbox.Payments + `], scopes: ["projects:read"]}
      - {projects: [` + sandbox.Payments + `], scopes: ["secrets:read"], shadow: true}
    deny:
      - {projects: [` + sandbox.Payments + `], operations: [v1-get-project], shadow: true}
`})
	for range 3 {
		call(line, http.MethodGet, "/v1/projects/"+sandbox.Payments)
	}
	call(line, http.MethodGet, "/v1/projects/"+sandbox.Payments+"/secrets")
	shadows := line.Shadows()
	if len(shadows) != 2 || shadows[0].Calls != 3 || shadows[0].Allow || shadows[1].Calls != 1 || !shadows[1].Allow || !strings.Contains(shadows[1].Rule, "allow[1]") {
		t.Errorf("shadows %+v, want three that would be refused and one that would be allowed", shadows)
	}
	families, err := line.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "gateway_policy_decisions_total" {
			for _, metric := range family.GetMetric() {
				counted[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	if want := (map[string]float64{"allow": 3, "deny": 1, "shadow_deny": 3, "shadow_allow": 1}); !maps.Equal(counted, want) {
		t.Errorf("decisions %v, want %v", counted, want)
	}
	if err := line.log.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(line.audit.String(), `"shadow":"policy.yaml:`); n != 4 {
		t.Errorf("%d audit records name a shadow rule, want 4", n)
	}
}

// call makes one request of the caller's.
func call(l *line, method, path string) {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+l.token)
	l.ServeHTTP(httptest.NewRecorder(), r)
}
