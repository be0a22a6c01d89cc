package credential_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/secret"
)

const (
	ours   = "aaaaaaaaaaaaaaaaaaaa"
	theirs = "bbbbbbbbbbbbbbbbbbbb"
)

var (
	read     = &catalog.Operation{ID: "read", Target: catalog.Project, Scope: "database:read", Permissions: [][]string{{"database_read"}}}
	write    = &catalog.Operation{ID: "write", Target: catalog.Project, Scope: "database:write", Permissions: [][]string{{"database_write"}}}
	unscoped = &catalog.Operation{ID: "unscoped", Target: catalog.Project, Permissions: [][]string{{"disk_read", "infra_read"}}}
	inOrg    = &catalog.Operation{ID: "in-org", Target: catalog.Organization, Scope: "organizations:read"}
)

func newSet(t *testing.T, configs ...credential.Config) *credential.Set {
	t.Helper()
	for i := range configs {
		configs[i].Token = secret.Source{Env: configs[i].Name}
	}
	set, err := credential.New(configs, func(name string) string { return "secret-" + name })
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// bearerOf is what the credential would send a request with now.
func bearerOf(t *testing.T, c *credential.Credential) credential.Bearer {
	t.Helper()
	bearer, err := c.Bearer(t.Context())
	if err != nil {
		t.Fatalf("credential %s has no bearer: %v", c.Name(), err)
	}
	return bearer
}

// sends is the token that the credential would send.
func sends(t *testing.T, c *credential.Credential) string {
	t.Helper()
	h := http.Header{}
	bearerOf(t, c).Attach(h)
	return strings.TrimPrefix(h.Get("Authorization"), "Bearer ")
}

func TestTheNarrowestCoveringCredentialIsChosen(t *testing.T) {
	set := newSet(t,
		credential.Config{Name: "wide"},
		credential.Config{Name: "reader", Rights: []string{"database:read"}},
		credential.Config{Name: "ours", Projects: []string{ours}, Rights: []string{"database:read", "database:write", "disk_read", "infra_read"}},
		credential.Config{Name: "acme", Organizations: []string{"acme"}},
	)
	for _, test := range []struct {
		op     *catalog.Operation
		target credential.Target
		want   string
	}{
		{read, credential.Target{Project: ours}, "ours"},
		{write, credential.Target{Project: ours}, "ours"},
		{unscoped, credential.Target{Project: ours}, "ours"},
		{read, credential.Target{Project: theirs, Parent: ours}, "ours"},
		{read, credential.Target{Project: theirs}, "reader"},
		{write, credential.Target{Project: theirs}, "wide"},
		{write, credential.Target{Project: theirs, Organization: "acme"}, "acme"},
		{inOrg, credential.Target{Organization: "acme"}, "acme"},
		{inOrg, credential.Target{Organization: "other"}, "wide"},
	} {
		got, err := set.Choose(test.op, test.op.Effect, test.target, time.Now())
		if err != nil || got.Name() != test.want {
			t.Errorf("Choose(%s, %+v) = %v, %v; want %s", test.op.ID, test.target, got, err, test.want)
		}
	}
}

func TestACallNoCredentialCoversIsRefused(t *testing.T) {
	set := newSet(t, credential.Config{Name: "ours", Projects: []string{ours}})
	_, err := set.Choose(read, read.Effect, credential.Target{Project: theirs}, time.Now())
	if p := problem.From(err); p.Code != problem.NoCredential {
		t.Errorf("error = %v, want no_credential", err)
	}
}

func TestARefusedCredentialRestsAndIsNeverA401(t *testing.T) {
	set := newSet(t, credential.Config{Name: "only"})
	now := time.Now()
	c, err := set.Choose(read, read.Effect, credential.Target{Project: ours}, now)
	if err != nil {
		t.Fatal(err)
	}
	bearer := bearerOf(t, c)
	if !c.Observe(bearer, http.StatusUnauthorized, now) || c.Healthy() {
		t.Error("a 401 does not mark the credential")
	}
	_, err = set.Choose(read, read.Effect, credential.Target{Project: ours}, now.Add(time.Second))
	if p := problem.From(err); p.Code != problem.UpstreamCredential || p.Status != http.StatusBadGateway {
		t.Errorf("error = %v, want 502 upstream_credential", err)
	}
	if _, err = set.Choose(read, read.Effect, credential.Target{Project: ours}, now.Add(time.Minute)); err != nil {
		t.Errorf("after its rest it is not tried again: %v", err)
	}
	if c.Observe(bearer, http.StatusBadGateway, now) || c.Healthy() {
		t.Error("upstream's own fault heals the credential")
	}
	if !c.Observe(bearer, http.StatusOK, now) || !c.Healthy() {
		t.Error("an accepted call does not heal the credential")
	}
}

func TestARefusedCredentialGivesWayToAWiderOne(t *testing.T) {
	set := newSet(t, credential.Config{Name: "wide"}, credential.Config{Name: "ours", Projects: []string{ours}})
	narrow, _ := set.Choose(read, read.Effect, credential.Target{Project: ours}, time.Now())
	narrow.Observe(bearerOf(t, narrow), http.StatusUnauthorized, time.Now())
	if got, err := set.Choose(read, read.Effect, credential.Target{Project: ours}, time.Now()); err != nil || got.Name() != "wide" {
		t.Errorf("chosen %v, %v; want wide", got, err)
	}
}

func TestAttachReplacesWhatTheClientSent(t *testing.T) {
	set := newSet(t, credential.Config{Name: "only"})
	h := http.Header{"Authorization": {"Bearer client", "Bearer second"}}
	bearerOf(t, set.All()[0]).Attach(h)
	if got := h["Authorization"]; len(got) != 1 || got[0] != "Bearer secret-only" {
		t.Errorf("Authorization = %q", got)
	}
}

func TestEverySecretThatCannotBeReadIsNamed(t *testing.T) {
	_, err := credential.New([]credential.Config{
		{Name: "a", Token: secret.Source{Env: "A"}}, {Name: "b", Token: secret.Source{File: "/nowhere/b"}},
	}, func(string) string { return "" })
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 2 {
		t.Errorf("error = %v, want both faults", err)
	}
}
