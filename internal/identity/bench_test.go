package identity_test

import (
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
)

// warm gives a remembered credential of each kind, as a header. The JWT is as large as a person's with many groups.
func warm(t testing.TB) (s *stage, headers map[string][]string) {
	s = newStage(t)
	minted, _ := s.mint(t, identity.Operator("nightly", "", nil))
	jwt := s.corp.Token(ada.Subject, audience, idp.Claim("groups", strings.Fields(strings.Repeat("team-of-people ", 40))))
	s.good(t, minted)
	s.good(t, jwt)
	return s, map[string][]string{"minted": {"Bearer " + minted}, "jwt": {"Bearer " + jwt}}
}

// Every request passes here: a remembered credential costs a hash and a look-up.
func TestARememberedCredentialAllocatesNothing(t *testing.T) {
	s, headers := warm(t)
	ctx := t.Context()
	for kind, header := range headers {
		allocs := testing.AllocsPerRun(1000, func() {
			if _, err := s.Authenticate(ctx, header, home); err != nil {
				t.Error(err)
			}
		})
		if allocs > 0 {
			t.Errorf("a warm %s credential allocates %v times, want none", kind, allocs)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	s, headers := warm(b)
	ctx := b.Context()
	for kind, header := range headers {
		b.Run(kind+"/warm", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Authenticate(ctx, header, home); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for kind, token := range map[string]string{ // what strangers can make it do
		"forged/random":       identity.NewSecret()[:43] + "x",
		"forged/checksum":     identity.NewSecret(),
		"forged/bad-jwt":      s.corp.Token(ada.Subject, audience, idp.SignedByStranger()),
		"forged/unknown-kid":  s.corp.Token(ada.Subject, audience, idp.Header("kid", "made up")),
		"forged/other-issuer": s.corp.Token(ada.Subject, audience, idp.Claim("iss", "https://evil.example")),
	} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.bearer(b, token); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
