package policy_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

const membersPolicy = `
teams:
- {name: by-group, members: [{group: payments}]}
- {name: by-group-at-corp, members: [{group: payments, issuer: corp}]}
- {name: by-email, members: [{email: Ada@corp.example}]}
- {name: by-email-at-corp, members: [{email: ada@corp.example, issuer: corp}]}
- {name: by-claims, members: [{issuer: github, claims: {repository: acme/payments, ref: "refs/heads/release/*"}}]}
- {name: by-deep-claims, members: [{issuer: github, claims: {sub: "repo:acme/shop:**"}}]}
- {name: by-one-of, members: [{issuer: github, claims: {repository: [acme/a, acme/b], protected: true, run: 42}}]}
- {name: by-any, members: [{issuer: github, claims: {repository: acme/any, environment: "*"}}]}
- {name: admins, admin: true, members: [{group: admins}]}
`

func TestMembership(t *testing.T) {
	p := load(t, membersPolicy)
	github := func(claims map[string]any) *identity.Caller {
		return &identity.Caller{Kind: identity.Workload, Issuer: "github", Subject: "s", Claims: claims}
	}
	tests := []struct {
		name   string
		caller *identity.Caller
		teams  []string
	}{
		{"a group of any issuer", &identity.Caller{Issuer: "other", Groups: []string{"payments"}}, []string{"by-group"}},
		{"a group of the named issuer", of("payments"), []string{"by-group", "by-group-at-corp"}},
		{"a group's name is no prefix", of("payments-readers", "paymen"), nil},
		{"a group's name has its case", of("Payments"), nil},
		{"an empty group", of(""), nil},
		{"a group with a space", of("payments "), nil},
		{"an address of any issuer", &identity.Caller{Issuer: "other", Email: "ada@corp.example"}, []string{"by-email"}},
		{"an address in another case", &identity.Caller{Issuer: "corp", Email: "ADA@Corp.Example"}, []string{"by-email", "by-email-at-corp"}},
		{"an address that looks alike", &identity.Caller{Issuer: "corp", Email: "ada@\u212Aorp.example"}, nil},
		{"an address that goes on", &identity.Caller{Issuer: "corp", Email: "ada@corp.example.evil.example"}, nil},
		{"an address in an address", &identity.Caller{Issuer: "corp", Email: "ada@evil@corp.example"}, nil},
		{"an address that is not verified is none", &identity.Caller{Issuer: "corp", Claims: map[string]any{"email": "ada@corp.example"}}, nil},
		{"all claims", github(map[string]any{"repository": "acme/payments", "ref": "refs/heads/release/1"}), []string{"by-claims"}},
		{"a claim is missing", github(map[string]any{"repository": "acme/payments"}), nil},
		{"a claim differs", github(map[string]any{"repository": "acme/payments2", "ref": "refs/heads/release/1"}), nil},
		{"a wildcard does not cross a slash", github(map[string]any{"repository": "acme/payments", "ref": "refs/heads/release/1/2"}), nil},
		{"a pattern is anchored", github(map[string]any{"repository": "acme/payments", "ref": "x/refs/heads/release/1"}), nil},
		{"the same claims of another issuer", &identity.Caller{Issuer: "gitlab", Claims: map[string]any{"repository": "acme/payments", "ref": "refs/heads/release/1"}}, nil},
		{"the same claims of no issuer", &identity.Caller{Claims: map[string]any{"repository": "acme/payments", "ref": "refs/heads/release/1"}}, nil},
		{"two stars cross slashes", github(map[string]any{"sub": "repo:acme/shop:ref:refs/heads/main"}), []string{"by-deep-claims"}},
		{"but not the text before them", github(map[string]any{"sub": "repo:acme/shop2:ref:refs/heads/main"}), nil},
		{"one of several values, a flag and a number", github(map[string]any{"repository": "acme/b", "protected": true, "run": json.Number("42")}), []string{"by-one-of"}},
		{"a number as a float", github(map[string]any{"repository": "acme/a", "protected": "true", "run": float64(42)}), []string{"by-one-of"}},
		{"a wildcard wants something", github(map[string]any{"repository": "acme/any", "environment": "prod"}), []string{"by-any"}},
		{"an empty claim is none", github(map[string]any{"repository": "acme/any", "environment": ""}), nil},
		{"a list of values has one", github(map[string]any{"repository": []any{"x", "acme/a"}, "protected": true, "run": "42"}), []string{"by-one-of"}},
		{"an object is no value", github(map[string]any{"repository": map[string]any{"acme/a": true}, "protected": true, "run": "42"}), nil},
		{"teams a token was made for", &identity.Caller{Kind: identity.Token, Teams: []string{"by-email", "gone"}}, []string{"by-email"}},
		{"a subject is no name for anything", &identity.Caller{Issuer: "corp", Subject: "payments", Name: "payments"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.Teams(tt.caller); !slices.Equal(got, tt.teams) {
				t.Errorf("Teams = %q, want %q", got, tt.teams)
			}
			if p.Member(tt.caller) != (len(tt.teams) > 0) {
				t.Errorf("Member = %v", p.Member(tt.caller))
			}
		})
	}
}

func TestAdmin(t *testing.T) {
	p := load(t, membersPolicy)
	for _, tt := range []struct {
		name   string
		caller *identity.Caller
		want   bool
	}{
		{"a member of an admin team", of("admins"), true},
		{"a member of another", of("payments"), false},
		{"a token of an administrator", &identity.Caller{Kind: identity.Token, Groups: []string{"admins"}}, true},
		{"a token that gave something up", &identity.Caller{Kind: identity.Token, Groups: []string{"admins"}, Limits: identity.Restriction{Scopes: []string{"*"}}}, false},
	} {
		if got := p.Admin(tt.caller); got != tt.want {
			t.Errorf("%s: Admin = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What was worked out from a caller under one policy is not used under another.
func TestMemoFollowsThePolicy(t *testing.T) {
	before := load(t, "teams: [{name: a, members: [{group: eng}]}]")
	after := load(t, "teams: [{name: b, members: [{group: eng}]}]")
	caller := of("eng")
	for range 2 {
		if got := before.Teams(caller); !slices.Equal(got, []string{"a"}) {
			t.Errorf("Teams = %q", got)
		}
		if got := after.Teams(caller); !slices.Equal(got, []string{"b"}) {
			t.Errorf("Teams = %q", got)
		}
	}
}

// A caller is shared by simultaneous requests, and so is what policy remembers of it.
func TestSimultaneousDecisions(t *testing.T) {
	p := load(t, twoTeams)
	op, caller := operations(t)("v1-get-project"), of("eng")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, c := range []*identity.Caller{caller, of("eng")} {
				if d := p.Decide(c, "", policy.Request{Op: op, Target: project(prod)}, today); !d.Allow || d.Team != "a" {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	group.Wait()
}
