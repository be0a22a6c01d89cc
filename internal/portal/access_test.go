package portal_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/problem"
)

func TestFirstPageSaysWhoAndHow(t *testing.T) {
	s := newStage(t)
	got := s.signIn(t, "ada").get("/-/")
	got.wants(t, http.StatusOK, "Ada Lovelace", "ada@acme.example", "payments-eng", "payments",
		"curl -fsS "+s.URL+"/-/profile.yaml", "supabase login", "--api-url&#34;, &#34;"+s.URL+"&#34;", "endpoint = &#34;"+s.URL+"&#34;", "baseUrl: &#39;"+s.URL+"&#39;")
	got.hides(t, "administrator", "no team")
	s.signIn(t, "grace").get("/-/").wants(t, http.StatusOK, "administrator", "Administration")
}

func TestPersonWithoutATeamIsToldWhomToAsk(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "linus")
	b.get("/-/").wants(t, http.StatusOK, "You are in no team yet", "every call you make is refused", "Ask #gateway-help.", "linus@acme.example", "research")
	got := b.get("/-/access")
	got.wants(t, http.StatusOK, "You are in no team")
	got.hides(t, payments, "acme/", "policy.yaml:")
	b.get("/-/tokens").hides(t, payments)
}

func TestProfileFile(t *testing.T) {
	s := newStage(t)
	got := s.api(t, http.MethodGet, "/-/profile.yaml", "", "")
	got.wants(t, http.StatusOK)
	if want := "name: gateway\napi_url: " + s.URL + "\ndashboard_url: " + s.URL + "\nproject_host: supabase.co\n"; got.body != want {
		t.Errorf("the profile is\n%s, want\n%s", got.body, want)
	}
	if portal.CLIProfile(s.URL+"/") != got.body {
		t.Error("a slash at the end of the public URL gets into the profile")
	}
}

func TestAccessShowsGrantsAndNothingOfOtherTeams(t *testing.T) {
	s := newStage(t)
	got := s.signIn(t, "ada").get("/-/access")
	got.wants(t, http.StatusOK, "project "+payments, "organization acme", "v1-get-project", "only what is read or write",
		"May not, whatever else is granted", "v1-pause-a-project", "ask #payments", "policy.yaml:8 teams[0].allow[0]")
	got.hides(t, "platform", "every project")
}

// mayI are questions and what the page and the API must both say.
var mayI = []struct {
	who, method, path, team string
	allow                   bool
	says                    string
}{
	{"ada", "GET", "/v1/projects/" + payments, "", true, "v1-get-project"},
	{"ada", "get", "/v1/projects/" + payments, "", true, "v1-get-project"},
	{"ada", "", "/v1/projects/" + payments, "", true, "v1-get-project"},
	{"ada", "GET", "/v1/projects/" + payments, "platform", false, "none of your teams"},
	{"ada", "POST", "/v1/projects/" + payments + "/pause", "", false, "denied"},
	{"ada", "DELETE", "/v1/projects/" + payments, "", false, "only about what is"},
	{"ada", "GET", "/v1/projects/" + billing + "/secrets", "", false, "Ask #payments"},
	{"linus", "GET", "/v1/projects/" + payments, "", false, "You belong to no team"},
	{"grace", "DELETE", "/v1/projects/" + billing, "", true, "v1-delete-a-project"},
}

func TestMayI(t *testing.T) {
	s := newStage(t)
	browsers := map[string]*browser{"ada": s.signIn(t, "ada"), "linus": s.signIn(t, "linus"), "grace": s.signIn(t, "grace")}
	for _, q := range mayI {
		query := url.Values{"method": {q.method}, "path": {q.path}, "team": {q.team}}.Encode()
		verdict := map[bool]string{true: "<strong>Yes</strong>", false: "<strong>No</strong>"}[q.allow]
		browsers[q.who].get("/-/access?"+query).wants(t, http.StatusOK, verdict, q.says)
		got := s.api(t, http.MethodGet, "/-/api/explain?"+query, s.bearer(q.who), "")
		if found := decode[struct{ Allow bool }](t, got, http.StatusOK); found.Allow != q.allow || !strings.Contains(got.body, q.says) {
			t.Errorf("%s %s %s: %s, want allow %v and %q", q.who, q.method, q.path, got.body, q.allow, q.says)
		}
	}
}

func TestMayITakesAWholeAddress(t *testing.T) {
	s := newStage(t)
	ada := s.signIn(t, "ada")
	for _, site := range []string{s.URL, "https://api.supabase.com"} {
		ada.get("/-/access?path="+url.QueryEscape(site+"/v1/projects/"+payments)).wants(t, http.StatusOK, "<strong>Yes</strong>")
	}
	ada.get("/-/access?path=v1/projects").wants(t, http.StatusOK, `role="alert"`, "&#34;v1/projects&#34; is no path", "as in /v1/projects")
}

func TestMayIOfABodyThatMakesItARead(t *testing.T) {
	s := newStage(t)
	got := s.signIn(t, "ada").get("/-/access?method=POST&path=/v1/projects/" + payments + "/database/query")
	got.wants(t, http.StatusOK, `"read_only": true`, "<strong>yes</strong>")
}

func TestMayIOfWhatIsNotInTheCatalogue(t *testing.T) {
	s := newStage(t)
	s.signIn(t, "ada").get("/-/access?path=/v9/nothing").wants(t, http.StatusOK, `role="alert"`)
	fault := decode[struct{ Code problem.Code }](t, s.api(t, http.MethodGet, "/-/api/explain?path=/v9/nothing", s.bearer("ada"), ""), http.StatusNotFound)
	if fault.Code != problem.UnknownOperation {
		t.Errorf("code %s", fault.Code)
	}
}

func TestMayILooksFactsUp(t *testing.T) {
	ask := "/-/api/explain?path=/v1/projects/" + billing
	t.Run("not at all", func(t *testing.T) {
		s := newStage(t)
		got := decode[struct {
			Allow   bool
			Unknown []string
		}](t, s.api(t, http.MethodGet, ask, s.bearer("ada"), ""), http.StatusOK)
		if got.Allow || !slices.Contains(got.Unknown, "which organization it is in") {
			t.Errorf("answered %+v, want a refusal that says what is not known", got)
		}
	})
	t.Run("found", func(t *testing.T) {
		s := newStage(t, resolving(func(call *catalog.Call) (policy.Target, error) {
			return policy.Target{Kind: call.Target.Kind, Project: call.Target.ID, Organization: "acme", Resolved: true}, nil
		}))
		got := s.api(t, http.MethodGet, ask, s.bearer("ada"), "")
		got.wants(t, http.StatusOK, `"allow":true`, `"organization":"acme"`)
		got.hides(t, `"unknown"`)
	})
	t.Run("upstream is down", func(t *testing.T) {
		s := newStage(t, resolving(func(*catalog.Call) (policy.Target, error) {
			return policy.Target{}, problem.New(http.StatusBadGateway, problem.UpstreamFailed, "Upstream could not be reached.").Because(errors.New("dial"))
		}))
		s.api(t, http.MethodGet, ask, s.bearer("ada"), "").wants(t, http.StatusBadGateway, "upstream_failed")
		s.signIn(t, "ada").get("/-/access?path=/v1/projects/"+billing).wants(t, http.StatusBadGateway, "Upstream could not be reached.")
	})
}

func resolving(find func(*catalog.Call) (policy.Target, error)) func(*portal.Config) {
	return func(c *portal.Config) {
		c.Resolve = func(_ context.Context, _ *identity.Caller, _ string, call *catalog.Call) (policy.Target, error) {
			return find(call)
		}
	}
}

func TestAPIWhoami(t *testing.T) {
	s := newStage(t)
	for who, want := range map[string]string{
		"ada":   `"groups":["payments-eng"],"teams":["payments"],"admin":false`,
		"grace": `"teams":["platform"],"admin":true`,
		"linus": `"teams":[],"admin":false`,
	} {
		s.api(t, http.MethodGet, "/-/api/whoami", s.bearer(who), "").wants(t, http.StatusOK, `"subject":"`+who+`"`, `"issuer":"corp"`, want)
	}
	s.api(t, http.MethodGet, "/-/api/whoami", "", "").wants(t, http.StatusUnauthorized, `"code":"unauthenticated"`)
	s.api(t, http.MethodGet, "/-/api/whoami", "sbp_0000000000000000000000000000000000000000", "").wants(t, http.StatusUnauthorized)
}

func TestAPIAccess(t *testing.T) {
	s := newStage(t)
	got := s.api(t, http.MethodGet, "/-/api/access", s.bearer("ada"), "")
	access := decode[policy.Access](t, got, http.StatusOK)
	if len(access.Teams) != 1 || access.Teams[0].Name != "payments" || len(access.Teams[0].Allow) != 2 {
		t.Errorf("access is %+v", access)
	}
	got.hides(t, "platform")
}
