package policy_test

import (
	"sync"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// The projects and organizations of the tests. staging is a branch of prod.
const (
	prod    = "prodprodprodprodprod"
	staging = "stagingstagingstagin"
	shop    = "shopshopshopshopshop"
)

// today is when the tests' calls are made.
var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// embedded is the one catalogue of all tests: it is immutable, and reading it takes longer than any test of a policy.
var embedded = sync.OnceValues(func() (*catalog.Catalog, error) { return catalog.New() })

func table(t testing.TB) *catalog.Catalog {
	t.Helper()
	cat, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Load("policy.yaml", []byte(text), table(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// operations finds operations of one catalogue by id.
func operations(t testing.TB) func(id string) *catalog.Operation {
	cat := table(t)
	return func(id string) *catalog.Operation {
		t.Helper()
		op := cat.Lookup(id)
		if op == nil {
			t.Fatalf("no operation %s", id)
		}
		return op
	}
}

// of is a person who belongs to the groups.
func of(groups ...string) *identity.Caller {
	return &identity.Caller{Kind: identity.Person, Issuer: "corp", Subject: "u1", Groups: groups}
}

// limited is a token of a person who belongs to group eng.
func limited(l identity.Restriction) *identity.Caller {
	return &identity.Caller{Kind: identity.Token, Issuer: "corp", Subject: "u1", Groups: []string{"eng"}, Token: "t1", Limits: l}
}

func project(ref string) policy.Target { return policy.Target{Project: ref, Resolved: true} }

func inOrg(ref, slug string) policy.Target {
	return policy.Target{Project: ref, Organization: slug, Resolved: true}
}

func branchOf(ref, parent string) policy.Target {
	return policy.Target{Project: ref, Parent: parent, Branch: true, Resolved: true}
}

func org(slug string) policy.Target { return policy.Target{Organization: slug} }
