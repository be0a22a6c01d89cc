package identity_test

import (
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// Who reads a refusal in a terminal is told the whole address to go to, or whom to ask where nobody can sign in.
func TestARefusalSaysWhereATokenComesFrom(t *testing.T) {
	portal := publicURL + "/-/"
	robotsOnly := func(c *identity.Config) { c.Issuers[0].Client = nil }
	for name, test := range map[string]struct {
		gateway       *stage
		says, conceal string
	}{
		"people sign in":     {newStage(t), "Make a token of your own at " + portal, "platform team"},
		"nobody can sign in": {newStage(t, robotsOnly), "Ask the platform team for a token of your own", portal},
	} {
		t.Run(name, func(t *testing.T) {
			for what, authorization := range map[string][]string{
				"no credential":    nil,
				"another's token":  {"Bearer sbp_" + strings.Repeat("0", 40)},
				"a token that was": {"Bearer " + identity.NewSecret()},
			} {
				_, err := test.gateway.Authenticate(t.Context(), authorization, home)
				if said := problem.From(err).Message; !strings.Contains(said, test.says) || strings.Contains(said, test.conceal) {
					t.Errorf("%s: %q, want %q in it and not %q", what, said, test.says, test.conceal)
				}
			}
			for reason, hint := range test.gateway.Hints() {
				if strings.ContainsAny(hint, "{}") {
					t.Errorf("the hint of %s has a place that nothing fills: %q", reason, hint)
				}
			}
		})
	}
}

func TestWhoHasToSignInIsToldWhere(t *testing.T) {
	hints := newStage(t).Hints()
	for _, reason := range []identity.Reason{identity.Reauthenticate, identity.Suspended} {
		if !strings.Contains(hints[reason], "at "+publicURL+"/-/") {
			t.Errorf("the hint of %s does not name the portal: %q", reason, hints[reason])
		}
	}
}
