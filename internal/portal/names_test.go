package portal_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
)

// calling names things for everybody; who may know them is the proxy's to say.
func calling(names map[string]string) func(*portal.Config) {
	return func(c *portal.Config) {
		c.Names = func(context.Context, *identity.Caller) (map[string]string, error) { return maps.Clone(names), nil }
	}
}

func TestNamesBesideReferences(t *testing.T) {
	s := newStage(t, withQuota, withAudit(t), calling(map[string]string{
		"project:" + payments: "Payments", "organization:acme": "Acme Corporation",
	}))
	ada := s.signIn(t, "ada")
	ada.get("/-/access").wants(t, http.StatusOK, "<bdi>Payments</bdi></th><td data-label=\"What\">project", "<bdi>Acme Corporation</bdi></th><td data-label=\"What\">organization",
		"project <bdi>Payments</bdi> "+payments, "organization <bdi>Acme Corporation</bdi> acme")
	ada.get("/-/quota").wants(t, http.StatusOK, "<bdi>Payments</bdi> <span class=\"scope\">project:"+payments)
	ada.get("/-/audit").wants(t, http.StatusOK, "<bdi>Payments</bdi><br><code>"+payments)
	ada.mint("limited", url.Values{"project": {payments}})
	ada.get("/-/tokens").wants(t, http.StatusOK, `value="`+payments+`"> <span><bdi>Payments</bdi>`, "project <bdi>Payments</bdi> "+payments)

	type thing struct{ ID, Name string }
	access := decode[struct{ Projects, Organizations []thing }](t, s.api(t, http.MethodGet, "/-/api/access", s.bearer("ada"), ""), http.StatusOK)
	if len(access.Projects) != 1 || access.Projects[0] != (thing{payments, "Payments"}) || len(access.Organizations) != 1 {
		t.Errorf("as JSON: %+v", access)
	}
	s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), "").wants(t, http.StatusOK, `"name":"Payments"`)
}

func TestProjectPickerOffersWhatIsSeenWithoutAGrantByName(t *testing.T) {
	s := newStage(t, calling(map[string]string{"project:" + billing: "Billing"}))
	s.signIn(t, "grace").get("/-/tokens").wants(t, http.StatusOK, `value="`+billing+`"`, "Billing")
}

func TestHostileNames(t *testing.T) {
	s := newStage(t, calling(map[string]string{
		"project:" + payments: `"><script>alert(1)</script>`, "project:" + billing: strings.Repeat("ü", 500),
	}))
	ada := s.signIn(t, "ada")
	for _, page := range []string{"/-/access", "/-/tokens"} {
		got := ada.get(page)
		got.wants(t, http.StatusOK, "&lt;script&gt;", strings.Repeat("ü", 79)+"…")
		got.hides(t, "<script>alert", strings.Repeat("ü", 80))
	}
}

func TestPagesDoWithoutNames(t *testing.T) {
	s := newStage(t, withQuota, func(c *portal.Config) {
		c.Names = func(ctx context.Context, _ *identity.Caller) (map[string]string, error) {
			if deadline, bounded := ctx.Deadline(); !bounded || time.Until(deadline) > 5*time.Second {
				t.Error("a page waits for names as long as they take")
			}
			return map[string]string{"organization:acme": "Acme"}, errors.New("upstream is down")
		}
	})
	ada := s.signIn(t, "ada")
	ada.get("/-/access").wants(t, http.StatusOK, "project "+payments, "<bdi>Acme</bdi>")
	ada.get("/-/quota").wants(t, http.StatusOK, ">project:"+payments+"<")
	ada.get("/-/tokens").wants(t, http.StatusOK, payments)
}

func TestWithoutATeamTheContactIsNamed(t *testing.T) {
	s := newStage(t)
	linus := s.signIn(t, "linus")
	linus.get("/-/").wants(t, http.StatusOK, "Ask <strong>#gateway-help</strong>")
	linus.get("/-/access").wants(t, http.StatusOK, "Ask <strong>#gateway-help</strong>")
	s.api(t, http.MethodGet, "/-/api/access", s.bearer("linus"), "").wants(t, http.StatusOK, `"contact":"#gateway-help"`)
}
