package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// large is a policy of so many teams with 20 grants each.
func large(teams int) string {
	var b strings.Builder
	b.WriteString("teams:\n")
	for i := range teams {
		fmt.Fprintf(&b, "- name: team%d\n  members: [{group: group%d}, {email: p%d@corp.example}, {issuer: github, claims: {repository: acme/r%d}}]\n  allow:\n", i, i, i, i)
		for j := range 18 {
			fmt.Fprintf(&b, "  - {projects: [%s], scopes: [\"database:*\", \"projects:read\"], branches: true}\n", ref(i, j))
		}
		fmt.Fprintf(&b, "  - {organizations: [org%d], permissions: [infra_disk_config_read]}\n", i)
		b.WriteString("  - {projects: [\"*\"], operations: [v1-get-services-health]}\n")
		b.WriteString("  deny: [{projects: [\"*\"], operations: [v1-delete-a-project]}]\n")
	}
	return b.String()
}

// ref is the j-th project of the i-th team.
func ref(i, j int) string {
	letters := []byte("aaaaaaaaaaaaaaaaaaaa")
	for at, n := len(letters)-1, i*100+j; n > 0; at, n = at-1, n/26 {
		letters[at] = byte('a' + n%26)
	}
	return string(letters)
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p := load(t, large(30))
	op := operations(t)
	inMany := make([]string, 20)
	for i := range inMany {
		inMany[i] = fmt.Sprintf("group%d", i)
	}
	for _, tt := range []struct {
		name    string
		caller  *identity.Caller
		request policy.Request
	}{
		{"a project granted by name", of("group7"), policy.Request{Op: op("v1-get-project"), Target: policy.Target{Project: ref(7, 17)}}},
		{"one of twenty teams", of(inMany...), policy.Request{Op: op("v1-run-a-query"), Effect: catalog.Read, Target: policy.Target{Project: ref(19, 3)}}},
		{"a grant for all projects", of("group7"), policy.Request{Op: op("v1-get-services-health"), Target: policy.Target{Project: prod}}},
		{"a list", of("group7"), policy.Request{Op: op("v1-list-all-projects")}},
	} {
		if !p.Decide(tt.caller, "", tt.request, today).Allow {
			t.Fatalf("%s: refused", tt.name)
		}
		if n := testing.AllocsPerRun(100, func() {
			p.Wants(tt.caller, "", tt.request, today)
			p.Decide(tt.caller, "", tt.request, today)
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", tt.name, n)
		}
	}
	caller := of("group7")
	if n := testing.AllocsPerRun(100, func() {
		p.Visible(caller, "", catalog.ListProjects, policy.Target{Project: ref(7, 3), Resolved: true}, today)
	}); n != 0 {
		t.Errorf("an item of a list: %v allocations, want none", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := load(b, large(1000))
	op := operations(b)("v1-list-all-backups")
	var everyGroup, someGroups []string
	for i := range 1000 {
		everyGroup = append(everyGroup, fmt.Sprintf("group%d", i))
	}
	someGroups = everyGroup[:20]
	for _, bb := range []struct {
		name   string
		caller *identity.Caller
		target policy.Target
	}{
		{"OneTeam", of("group999"), policy.Target{Project: ref(999, 17)}},
		{"TwentyTeams", of(someGroups...), policy.Target{Project: ref(19, 17)}},
		{"EveryTeam", of(everyGroup...), policy.Target{Project: ref(999, 17)}},
		{"Refused", of("group999"), policy.Target{Project: prod}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			request := policy.Request{Op: op, Target: bb.target}
			b.ReportAllocs()
			for b.Loop() {
				p.Wants(bb.caller, "", request, today)
				p.Decide(bb.caller, "", request, today)
			}
		})
	}
}

// BenchmarkNewCaller is the first decision for a caller that is not remembered.
func BenchmarkNewCaller(b *testing.B) {
	p := load(b, large(1000))
	request := policy.Request{Op: operations(b)("v1-list-all-backups"), Target: policy.Target{Project: ref(999, 17)}}
	b.ReportAllocs()
	for b.Loop() {
		caller := &identity.Caller{Issuer: "github", Claims: map[string]any{"repository": "acme/r999"}}
		if !p.Decide(caller, "", request, today).Allow {
			b.Fatal("refused")
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	data, cat := []byte(large(1000)), table(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Load("policy.yaml", data, cat); err != nil {
			b.Fatal(err)
		}
	}
}
