package portal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
)

func TestTokenIsShownOnceAndWorks(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	secret := b.mint("laptop", url.Values{"expires_in": {"7d"}})
	list := b.get("/-/tokens")
	list.wants(t, http.StatusOK, "laptop", "all that its owner may", "never")
	list.hides(t, secret)
	me := decode[map[string]any](t, s.api(t, http.MethodGet, "/-/api/whoami", secret, ""), http.StatusOK)
	if me["subject"] != "ada" || me["kind"] != "token" {
		t.Errorf("the token is %v, want ada's", me)
	}
	expires, err := time.Parse(time.RFC3339, me["expires"].(string))
	if left := time.Until(expires); err != nil || left > 7*24*time.Hour || left < 7*24*time.Hour-time.Hour {
		t.Errorf("it expires in %v, want 7 days", left)
	}
}

func TestTokenThatMayLess(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	secret := b.mint("agent", url.Values{
		"team": {"payments"}, "scope": {"projects:read"}, "more_scopes": {"database:*, infra_disk_config_read"}, "project": {payments},
	})
	limits := decode[struct{ Limits identity.Restriction }](t, s.api(t, http.MethodGet, "/-/api/whoami", secret, ""), http.StatusOK).Limits
	if limits.Team != "payments" || len(limits.Scopes) != 3 || len(limits.Projects) != 1 {
		t.Errorf("its limits are %+v", limits)
	}
	b.get("/-/tokens").wants(t, http.StatusOK, "as team payments", "database:*", "project "+payments)
}

func TestTokenFormSaysWhatIsWrong(t *testing.T) {
	s := newStage(t, func(c *portal.Config) { c.MaxTokenAge = 10 * 24 * time.Hour })
	b := s.signIn(t, "ada")
	b.mint("listed", nil)
	b.get("/-/tokens").wants(t, http.StatusOK, `<option value="7d">`, `<option value="10d">10 days, the longest there is`)
	for _, c := range []struct {
		fields url.Values
		says   string
	}{
		{url.Values{"name": {""}}, "needs a name"},
		{url.Values{"name": {"x"}, "expires_in": {"soon"}}, "&#34;soon&#34; is no duration"},
		{url.Values{"name": {"x"}, "expires_in": {"1000d"}}, "90 days at most"},
		{url.Values{"name": {"x"}, "expires_in": {"0s"}}, "expired already"},
		{url.Values{"name": {"x"}, "team": {"platform"}}, "none of your teams"},
		{url.Values{"name": {"x"}, "more_scopes": {"databse:read"}}, "Did you mean database:read?"},
		{url.Values{"name": {"x"}, "more_scopes": {"[a-z]*"}}, "no scope or permission"},
		{url.Values{"name": {"x"}, "more_projects": {"payments"}}, "no project reference"},
		{url.Values{"name": {"x"}, "more_projects": {"../v1"}}, "no project reference"},
	} {
		got := b.post("/-/tokens", "/-/tokens", c.fields)
		got.wants(t, http.StatusBadRequest, c.says, `role="alert"`)
		if strings.Index(got.body, "Make a token") > strings.Index(got.body, "Your tokens") {
			t.Errorf("what is wrong with %v stands below the list, where nobody sees it", c.fields)
		}
		got.hides(t, "sbp_")
	}
	kept := b.post("/-/tokens", "/-/tokens", url.Values{"name": {"kept"}, "expires_in": {"7d"}, "scope": {"auth:read"}, "more_projects": {payments, "nonsense"}, "more_scopes": {"x:y"}})
	kept.wants(t, http.StatusBadRequest, `value="kept"`, `value="7d" selected`, `value="auth:read" checked`, `value="x:y"`, "<details open>")
}

// TestTokenNamesKeepTheirDirection has a name that would turn the rest of its sentence around.
func TestTokenNamesKeepTheirDirection(t *testing.T) {
	s := newStage(t)
	const turned = "\u202egnol-eno"
	ada, isolated := s.signIn(t, "ada"), "<bdi>"+turned+"</bdi>"
	ada.post("/-/tokens", "/-/tokens", url.Values{"name": {turned}}).wants(t, http.StatusOK, "“"+isolated+"”", "<th scope=\"row\">"+isolated)
	s.signIn(t, "grace").get("/-/admin").wants(t, http.StatusOK, isolated)
}

func TestRevoke(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	secret := b.mint("laptop", nil)
	got := b.post("/-/tokens", "/-/tokens/revoke", url.Values{"id": {s.tokenID(t, secret)}})
	got.wants(t, http.StatusOK, "The token is revoked", "You have none")
	s.api(t, http.MethodGet, "/-/api/whoami", secret, "").wants(t, http.StatusUnauthorized)
	b.post("/-/tokens", "/-/tokens/revoke", url.Values{"id": {"nonsense"}}).wants(t, http.StatusNotFound, "no such token of yours")
}

func TestTokenItselfIsNoNameForIt(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	secret := b.mint("laptop", nil)
	got := b.post("/-/tokens", "/-/tokens/revoke", url.Values{"id": {secret}})
	got.wants(t, http.StatusNotFound)
	got.hides(t, secret)
}

func TestTokensOfOthers(t *testing.T) {
	s := newStage(t)
	ada, bob, grace := s.signIn(t, "ada"), s.signIn(t, "bob"), s.signIn(t, "grace")
	secret := ada.mint("ada's laptop", nil)
	id := s.tokenID(t, secret)

	bob.get("/-/tokens").hides(t, "s laptop", id)
	bob.post("/-/tokens", "/-/tokens/revoke", url.Values{"id": {id}}).wants(t, http.StatusNotFound, "no such token of yours")
	bob.get("/-/admin").wants(t, http.StatusForbidden, "administrators")
	bob.get("/-/").hides(t, "Administration")
	s.api(t, http.MethodGet, "/-/api/whoami", secret, "").wants(t, http.StatusOK)

	grace.get("/-/tokens").hides(t, id)
	grace.get("/-/admin").wants(t, http.StatusOK, id, "ada@acme.example")
	grace.get("/-/admin?find=ADA@").wants(t, http.StatusOK, id, `name="find" value="ADA@">`+"\n<button")
	grace.get("/-/admin?find=nobody").wants(t, http.StatusOK, "None fits")
	grace.post("/-/admin", "/-/tokens/revoke", url.Values{"id": {id}, "from": {"admin"}, "find": {"ada's & co"}}).
		wants(t, http.StatusOK, "The token is revoked", "None fits “ada&#39;s &amp; co”") // the list is what it was
	s.api(t, http.MethodGet, "/-/api/whoami", secret, "").wants(t, http.StatusUnauthorized)
}

func TestLimitedTokenKnowsOfItselfOnly(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	other := s.tokenID(t, b.mint("laptop", nil))
	agent := b.mint("agent", url.Values{"project": {payments}})
	listed := decode[struct{ Tokens []identity.TokenInfo }](t, s.api(t, http.MethodGet, "/-/api/tokens", agent, ""), http.StatusOK).Tokens
	if len(listed) != 1 || listed[0].Name != "agent" {
		t.Errorf("a limited token lists %+v, want itself", listed)
	}
	s.api(t, http.MethodDelete, "/-/api/tokens/"+other, agent, "").wants(t, http.StatusNotFound)
	s.api(t, http.MethodDelete, "/-/api/tokens/"+listed[0].ID, agent, "").wants(t, http.StatusNoContent)
	s.api(t, http.MethodGet, "/-/api/whoami", agent, "").wants(t, http.StatusUnauthorized)
}

func TestAPITokens(t *testing.T) {
	s := newStage(t)
	created := decode[struct {
		Token string `json:"token"`
		ID    string `json:"id"`
		Name  string `json:"name"`
	}](t, s.api(t, http.MethodPost, "/-/api/tokens", s.bearer("ada"), `{"name": "ci", "expires_in": "12h"}`), http.StatusCreated)
	if !strings.HasPrefix(created.Token, "sbp_") || created.Name != "ci" || created.ID == "" {
		t.Fatalf("created %+v", created)
	}
	if got := s.api(t, http.MethodGet, "/-/api/tokens", created.Token, ""); !strings.Contains(got.body, created.ID) || strings.Contains(got.body, created.Token) {
		t.Errorf("the list is %s", got.body)
	}
	for _, wrong := range []struct {
		body, says string
	}{
		{`{"name": "x", "expires": "30d"}`, `field \"expires\": there are name, expires_in, team, scopes, projects.`}, // a mistake, not a wish to ignore
		{`{"name": "x", "expires_in": 30}`, "expires_in must not be a number"},
		{`{"name": "x", "scopes": "auth:read"}`, "scopes must not be a string"},
		{`{"name": `, "cannot be read"},
		{`{"name": "x"} {"name": "y"}`, "goes on after its JSON object"},
		{`{"name": "x"}}`, "cannot be read"},
		{"", "must be a JSON object, with name, expires_in"},
		{`["x"]`, "must be a JSON object, with name, expires_in"},
		{`{"name": "x", "team": "platform"}`, "none of your teams"},
	} {
		s.api(t, http.MethodPost, "/-/api/tokens", s.bearer("ada"), wrong.body).wants(t, http.StatusBadRequest, wrong.says)
	}
	s.api(t, http.MethodPost, "/-/api/tokens", s.bearer("ada"), `{"name": "`+strings.Repeat("x", 70_000)).wants(t, http.StatusRequestEntityTooLarge)
	s.api(t, http.MethodPost, "/-/api/tokens", created.Token, `{"name": "child"}`).wants(t, http.StatusForbidden, "cannot make another")
	s.api(t, http.MethodGet, "/-/api/tokens?all=true", created.Token, "").wants(t, http.StatusForbidden, "administrators")
	s.api(t, http.MethodGet, "/-/api/tokens?all=true", s.bearer("grace"), "").wants(t, http.StatusOK, created.ID)
	s.api(t, http.MethodDelete, "/-/api/tokens/"+created.ID, s.bearer("bob"), "").wants(t, http.StatusNotFound)
	s.api(t, http.MethodDelete, "/-/api/tokens/"+created.ID, s.bearer("ada"), "").wants(t, http.StatusNoContent)
}

// tokenID is the public id of a token.
func (s *stage) tokenID(t *testing.T, secret string) string {
	t.Helper()
	info, err := s.identity.Find(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}
