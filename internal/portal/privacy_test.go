package portal_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
)

// TestAPersonWithoutRightsSeesNothingOfOthers asks for everything the portal answers, as somebody without a team and as a
// member of one, with others' ids wherever a path or a query takes one. Of what the portal knows of others, nothing may
// come back.
func TestAPersonWithoutRightsSeesNothingOfOthers(t *testing.T) {
	names := map[string]string{"project:" + billing: "The Billing Project", "organization:globex": "Globex Corporation"}
	var routes []portal.Route
	s := newStage(t, withQuota, withAudit(t), withService, func(c *portal.Config) {
		c.Names = func(_ context.Context, caller *identity.Caller) (map[string]string, error) {
			if caller.Subject != "grace" {
				return nil, nil
			}
			return maps.Clone(names), nil
		}
		c.Purge = func(string, string) int { t.Error("purged by somebody without rights"); return 0 }
		routes = portal.Routes(*c)
	})
	grace := s.signIn(t, "grace")
	token := s.tokenID(t, grace.mint("grace’s nightly job", url.Values{"project": {billing}}))
	traces := []string{"grace", "Hopper", "twin", token, "nightly job", billing, "The Billing Project", "globex", "Globex", "platform",
		"policy.yaml:9 teams[0].deny[1]", "gateway-1", "10.0.0.2", "api.supabase.example"}
	for _, text := range traces[:7] { // or there would be nothing to find
		if !strings.Contains(grace.get("/-/admin").body+grace.get("/-/audit").body+grace.get("/-/quota").body, text) {
			t.Errorf("not even an administrator sees %q", text)
		}
	}
	for _, subject := range []string{"linus", "ada"} {
		snooper := snooper{stage: s, browser: s.signIn(t, subject), bearer: s.bearer(subject), token: token, traces: traces}
		for _, route := range routes {
			snooper.ask(t, route)
		}
	}
	if _, err := s.identity.Find(t.Context(), token); err != nil {
		t.Errorf("the token that somebody else asked to revoke: %v", err)
	}
}

// snooper is somebody who looks for what is others'.
type snooper struct {
	stage   *stage
	browser *browser
	bearer  string
	token   string   // another's
	traces  []string // of others
}

// ask makes one route's request in every way that could bring out another's.
func (s snooper) ask(t *testing.T, route portal.Route) {
	t.Helper()
	if strings.HasPrefix(route.Path, "/-/sign-") || route.Path == "/-/callback" {
		return // they end the session, or lead to the provider
	}
	for _, parameter := range []string{s.token, "grace-read"} {
		path := strings.Replace(route.Path, portal.ParameterMark, parameter, 1)
		for _, query := range []url.Values{{}, {"all": {"true"}, "find": {"grace"}}, {"actor": {"grace"}, "team": {"platform"}, "limit": {"1000"}}, {"format": {"csv"}, "actor": {s.token}}} {
			switch {
			case strings.HasPrefix(path, "/-/api/"):
				s.clean(t, route, s.stage.api(t, route.Method, path+"?"+query.Encode(), s.bearer, `{"everything": true}`), parameter)
			case route.Method == http.MethodGet:
				s.clean(t, route, s.browser.get(path+"?"+query.Encode()), parameter)
			default:
				s.clean(t, route, s.browser.post("/-/tokens", path, url.Values{"id": {parameter}, "everything": {"yes"}, "from": {"admin"}}), parameter)
			}
		}
	}
}

// clean looks for others' traces in an answer. What was asked with comes back in forms and faults, and says nothing.
func (s snooper) clean(t *testing.T, route portal.Route, got answer, parameter string) {
	t.Helper()
	text := got.body
	for _, asked := range append([]string{parameter}, "actor="+s.token, "value=\"grace\"", "<option selected>platform") {
		text = strings.ReplaceAll(text, asked, "")
	}
	for _, trace := range s.traces {
		if strings.Contains(text, trace) {
			t.Errorf("%s %s (%d) shows %q", route.Method, got.url, got.status, trace)
		}
	}
}
