package policy_test

import (
	"strings"
	"testing"

	"corp.example/gateway/internal/policy"
)

// Whatever the file, loading it neither panics nor yields both a policy and faults; and what loads decides without a panic
// and never for a stranger.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(twoTeams))
	f.Add([]byte(membersPolicy))
	f.Add([]byte(fourPeople))
	f.Add([]byte("sets: {a: [" + prod + "]}\ntests: [{as: {group: x}, call: GET /v1/projects, want: deny, at: 2026-01-01T00:00Z}]"))
	f.Add([]byte("teams: [{name: a, deny: [{projects: [\"*\"], effects: [read], until: 2026-01-01T00:00Z, shadow: true}]}]"))
	f.Add([]byte("teams: &t [*t]"))
	cat := table(f)
	request := policy.Request{Op: cat.Lookup("v1-get-project"), Target: project(prod)}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Load("policy.yaml", data, cat)
		if (p == nil) != (err != nil) {
			t.Fatalf("policy %v, error %v", p, err)
		}
		if p == nil {
			return
		}
		if d := p.Decide(of(), "", request, today); d.Allow {
			t.Fatalf("a stranger is allowed by %s", d.Rule)
		}
	})
}

// The matcher agrees with the definition of its wildcards, written as the obvious recursion.
func FuzzGlob(f *testing.F) {
	f.Add("refs/heads/*", "refs/heads/main")
	f.Add("repo:acme/**:ref:*", "repo:acme/x/y:ref:z")
	f.Add("*a/*b", "xa/ab")
	f.Add("a**b*/c", "aab/xb/c")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 12 || len(text) > 24 {
			return // the recursion is exponential
		}
		if got, want := policy.GlobMatch(pattern, text), matches(pattern, text); got != want {
			t.Errorf("match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}

func matches(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case strings.HasPrefix(pattern, "**"):
		return matches(pattern[2:], text) || (text != "" && matches(pattern, text[1:]))
	case pattern[0] == '*':
		return matches(pattern[1:], text) || (text != "" && text[0] != '/' && matches(pattern, text[1:]))
	default:
		return text != "" && text[0] == pattern[0] && matches(pattern[1:], text[1:])
	}
}
