package policy_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

var update = flag.Bool("update", false, "rewrite the files in testdata that tests compare with")

// fourPeople is the policy behind testdata/decisions.txt.
const fourPeople = `
teams:
- name: readers
  members: [{group: readers}]
  allow:
  - {projects: [` + prod + `], branches: true, scopes: ["*:read"], permissions: ["*_read"], effects: [read]}
  - {organizations: [acme], scopes: ["organizations:read"]}
- name: writers
  members: [{group: writers}]
  allow:
  - {projects: [` + prod + `], branches: true, scopes: ["*:read", "*:write"], permissions: ["*_read", "*_write"], effects: [read, write]}
  - {organizations: [acme], scopes: ["organizations:read"]}
- name: administrators
  members: [{group: administrators}]
  allow:
  - {projects: ["*"], organizations: ["*"], account: true, branches: true, scopes: ["*"], permissions: ["*"], operations: ["*"]}
`

// TestDecisions compares a decision for every operation of the catalogue with the reviewed file. A new operation, a scope
// that moved or a change in the language shows as a line of its diff.
func TestDecisions(t *testing.T) {
	p := load(t, fourPeople)
	people := []struct {
		name   string
		caller *identity.Caller
	}{
		{"reader", of("readers")}, {"writer", of("writers")}, {"administrator", of("administrators")}, {"stranger", of("strangers")},
	}
	var out bytes.Buffer
	fmt.Fprintln(&out, "# What each of four people may do, by operation: allow is \"+\", deny is \"-\".")
	fmt.Fprintln(&out, "# The policy is fourPeople in golden_test.go; all targets belong to the project, branch or organization it names.")
	fmt.Fprintln(&out, "# Rewrite with: go test ./internal/policy -run TestDecisions -update")
	fmt.Fprintf(&out, "%-8s%-8s%-8s%-10s%-12s%-14s%-48s %s\n", "reader", "writer", "admin", "stranger", "effect", "target", "operation", "needs")
	line := func(op *catalog.Operation, effect catalog.Effect, name string) {
		r := policy.Request{Op: op, Effect: effect, Target: policy.Target{Project: prod, Organization: "acme", Resolved: true}}
		if op.Target == catalog.Branch {
			r.Target = branchOf(staging, prod)
		}
		marks := make([]any, len(people))
		for i, person := range people {
			marks[i] = "-"
			if p.Decide(person.caller, "", r, today).Allow {
				marks[i] = "+"
			}
		}
		fmt.Fprintf(&out, "%-8s%-8s%-8s%-10s", marks...)
		fmt.Fprintf(&out, "%-12s%-14s%-48s %s\n", effect, op.Target, name, needsText(op, effect))
	}
	for _, op := range table(t).Operations() {
		line(op, op.Effect, op.ID)
		if op.ReadOnlyIf != "" {
			line(op, catalog.Read, op.ID+" (read only)")
		}
	}
	golden(t, "testdata/decisions.txt", out.Bytes())
}

func needsText(op *catalog.Operation, effect catalog.Effect) string {
	switch {
	case op.Local:
		return "nothing: answered by the gateway"
	case op.Refused != "":
		return "never forwarded"
	}
	needs := op.Needs(effect)
	var words []string
	if needs.Scope != "" {
		words = append(words, needs.Scope)
	}
	for _, set := range needs.Permissions {
		words = append(words, strings.Join(set, "+"))
	}
	return strings.Join(words, " or ")
}

// golden compares got with a file, or rewrites it under -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			t.Fatalf("%s:%d differs (rewrite it with -update and review the difference)\ngot  %s\nwant %s", file, i+1, g, w)
		}
	}
}
