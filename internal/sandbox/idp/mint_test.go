package idp_test

import (
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"corp.example/gateway/internal/sandbox/idp"
)

func TestToken(t *testing.T) {
	s := newStage(t)
	const audience = "supabase-gateway"
	for _, tt := range []struct {
		name   string
		change []idp.Change
		valid  bool
	}{
		{"untouched", nil, true},
		{"EC key", []idp.Change{s.SignedES256()}, true},
		{"further claim", []idp.Change{idp.Claim("repository", "acme/payments")}, true},
		{"expired", []idp.Change{idp.Expired()}, false},
		{"from tomorrow", []idp.Change{idp.NotYet()}, false},
		{"wrong audience", []idp.Change{idp.Claim("aud", "somebody-else")}, false},
		{"no audience", []idp.Change{idp.Claim("aud", nil)}, false},
		{"wrong issuer", []idp.Change{idp.Claim("iss", "https://evil.example")}, false},
		{"alg none", []idp.Change{idp.Unsigned()}, false},
		{"HS256 with the public key", []idp.Change{s.SignedWithPublicKey()}, false},
		{"stranger's key", []idp.Change{idp.SignedByStranger()}, false},
		{"unknown kid", []idp.Change{idp.Header("kid", "../../etc/passwd")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := s.Token("u-ada", audience, tt.change...)
			verifier := s.oidc.VerifierContext(t.Context(), &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{idp.RS256, idp.ES256}})
			_, err := verifier.Verify(t.Context(), token)
			if (err == nil) != tt.valid {
				t.Errorf("verifying: %v, want valid %t", err, tt.valid)
			}
		})
	}
}

func TestTokenForAnybody(t *testing.T) {
	s := newStage(t)
	known, claims := s.verify(t, "a", s.Token("u-ada", "a"))
	if known.Subject != "u-ada" || claims["email"] != ada.Email {
		t.Errorf("known person: %v", claims)
	}
	unknown, claims := s.verify(t, "a", s.Token("repo:acme/payments", "a", idp.Claim("repository", "acme/payments")))
	if unknown.Subject != "repo:acme/payments" || claims["repository"] != "acme/payments" || claims["email"] != nil {
		t.Errorf("workload: %v", claims)
	}
}

func TestGroupsOverage(t *testing.T) {
	s := newStage(t)
	many := ada
	many.GroupsOverage = true
	s.Put(many)
	token := s.Token("u-ada", "a")
	_, claims := s.verify(t, "a", token)
	if claims["groups"] != nil || claims["_claim_names"] == nil || claims["_claim_sources"] == nil {
		t.Errorf("token says %v", claims)
	}
	info, err := s.oidc.UserInfo(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}))
	var told struct{ Groups []string }
	if err != nil || info.Claims(&told) != nil || len(told.Groups) != 1 {
		t.Errorf("userinfo tells groups %v, %v", told.Groups, err)
	}
}

func TestRotateKeys(t *testing.T) {
	s := newStage(t)
	before := s.Token("u-ada", "a")
	if err := s.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	s.verify(t, "a", before)
	after := s.Token("u-ada", "a")
	s.verify(t, "a", after)

	s.ForgetOldKeys()
	fresh, err := oidc.NewProvider(t.Context(), s.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Verifier(&oidc.Config{ClientID: "a"}).Verify(t.Context(), before); err == nil {
		t.Errorf("a token of a forgotten key verifies")
	}
	if _, err := fresh.Verifier(&oidc.Config{ClientID: "a"}).Verify(t.Context(), after); err != nil {
		t.Errorf("a token of the current key: %v", err)
	}
}
