package portal_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/portal"
)

// withService makes the portal show a service with a fault of every kind.
func withService(c *portal.Config) {
	at := time.Date(2026, 3, 31, 14, 5, 9, 0, time.UTC)
	c.Service = func(context.Context) portal.Service {
		return portal.Service{
			Version: "v1.2.3", Started: at, Upstream: portal.Upstream{URL: "https://api.supabase.example", At: at}, AuditFault: "the disk is full",
			Policy: portal.PolicyState{Loaded: at, Tried: at.Add(time.Hour), Fault: "policy.yaml:3: unknown scope <b>"},
			Replicas: []portal.Replica{
				{Name: "gateway-0:8443", Address: "10.0.0.1:8443", Version: "v1.2.3", Started: at, This: true},
				{Name: "gateway-1:8443", Address: "10.0.0.2:8443", Version: "v1.2.2", Started: at, Said: at, Faults: []string{"audit: the volume is <b>gone</b>"}},
			},
			Redis: &portal.Redis{Fault: "dial tcp: connection refused"},
			Credentials: []portal.Credential{
				{Name: "shared", Kind: portal.TokenCredential, Owner: "platform-bot", Healthy: true, Expires: time.Now().AddDate(1, 0, 0)},
				{Name: "spare", Kind: portal.TokenCredential, Owner: "platform-bot", Healthy: true, Expires: time.Now().Add(24 * time.Hour)},
				{Name: "old", Kind: portal.TokenCredential, Owner: "other-bot", Fault: "upstream refuses the token: renew it", Expires: at},
				{Name: "app", Kind: portal.OAuthCredential, Owner: "app", Fault: "not connected"},
			},
			Cache:   portal.CacheState{Bytes: 3 << 20, Most: 256 << 20, Entries: 41},
			Shadows: []portal.Shadow{{Rule: "policy.yaml:9 teams[0].deny[1]", Calls: 7, Last: at}},
		}
	}
}

func TestAdministrationShowsTheService(t *testing.T) {
	s := newStage(t, withService)
	page := s.signIn(t, "grace").get("/-/admin")
	page.wants(t, http.StatusOK,
		"v1.2.3", "31 Mar 2026, 14:05 UTC", "goroutines",
		"https://api.supabase.example", "gave no answer", "cannot record, so writes are refused", "the disk is full",
		"not taken up", "unknown scope &lt;b&gt;", "policy.yaml", "2 teams",
		"gateway-0:8443", "the one that answers you", "gateway-1:8443", "10.0.0.2:8443", "v1.2.2", "audit: the volume is &lt;b&gt;gone",
		"does not answer", "connection refused",
		"shared", "personal access token", "good", "spare", "soon", "old", "cannot be used", "upstream refuses the token: renew it", "ended",
		"OAuth app", "renewed by itself", "gateway credential connect app --config",
		"41 answers in 3 MiB of 256 MiB", "policy.yaml:9 teams[0].deny[1]", "refused 7 calls")
	got := decode[portal.Service](t, s.api(t, http.MethodGet, "/-/api/admin", s.bearer("grace"), ""), http.StatusOK)
	page.hides(t, "credential connect old") // a token is replaced in its file
	if got.Version != "v1.2.3" || got.Upstream.At.IsZero() || len(got.Credentials) != 4 || len(got.Replicas) != 2 || got.Redis == nil || got.Shadows[0].Calls != 7 {
		t.Errorf("as JSON: %+v", got)
	}
}

func TestAdministrationIsForAdministrators(t *testing.T) {
	s := newStage(t, withService, func(c *portal.Config) {
		c.Purge = func(string, string) int { t.Error("purged by somebody else"); return 0 }
	})
	ada := s.signIn(t, "ada")
	for _, got := range []answer{
		ada.get("/-/admin"), s.api(t, http.MethodGet, "/-/api/admin", s.bearer("ada"), ""),
		ada.post("/-/tokens", "/-/admin/purge", url.Values{"everything": {"yes"}}),
	} {
		got.wants(t, http.StatusForbidden, "administrators")
		got.hides(t, "platform-bot", "v1.2.3")
	}
	if records := s.audit.records(t); len(records) != 0 {
		t.Errorf("%d records of what was not done", len(records))
	}
}

func TestPurge(t *testing.T) {
	var purged []string
	s := newStage(t, func(c *portal.Config) {
		c.Purge = func(project, operation string) int { purged = append(purged, project+"|"+operation); return 3 }
	})
	grace := s.signIn(t, "grace")
	purge := func(fields url.Values) answer { return grace.post("/-/admin", "/-/admin/purge", fields) }
	for _, wrong := range []struct {
		fields url.Values
		says   string
	}{
		{url.Values{}, "one of the two"},
		{url.Values{"project": {payments}, "operation": {"v1-get-project"}}, "one of the two"},
		{url.Values{"project": {payments}, "everything": {"yes"}}, "one of the two"},
		{url.Values{"project": {"payments"}}, "no project reference"},
		{url.Values{"operation": {"v1-get-projcet"}}, "no operation &#34;v1-get-projcet&#34; in the catalogue. Did you mean v1-get-project?"},
	} {
		got := purge(wrong.fields)
		got.wants(t, http.StatusBadRequest, wrong.says, `role="alert"`)
		for _, field := range []string{"project", "operation"} {
			if typed := wrong.fields.Get(field); typed != "" { // is kept, and said to be at fault
				got.wants(t, http.StatusBadRequest, `value="`+typed+`" aria-invalid="true" aria-describedby="purge-fault"`)
			}
		}
	}
	if purged != nil {
		t.Fatalf("purged %v by requests that make no sense", purged)
	}
	purge(url.Values{"project": {" " + payments + " "}}).wants(t, http.StatusOK, "cached answers are forgotten")
	purge(url.Values{"operation": {"v1-get-project"}}).wants(t, http.StatusOK, "cached answers are forgotten")
	purge(url.Values{"everything": {"yes"}}).wants(t, http.StatusOK, "cached answers are forgotten")
	if want := []string{payments + "|", "|v1-get-project", "|"}; !slices.Equal(purged, want) {
		t.Errorf("purged %v, want %v", purged, want)
	}
	records := s.audit.records(t)
	if len(records) != 6 {
		t.Fatalf("%d records, want an intent and an outcome of each of three", len(records))
	}
	intent, outcome := records[0], records[1]
	if intent.Operation != "gateway-cache-purge" || intent.Caller.Subject != "grace" || intent.Target.Project != payments || intent.Path != "/-/admin/purge" {
		t.Errorf("the intent is %+v", intent)
	}
	if outcome.ID != intent.ID || outcome.Detail != "project "+payments+": 3 answers forgotten" || outcome.Outcome != "ok" || outcome.Status != http.StatusSeeOther {
		t.Errorf("the outcome is %+v", outcome)
	}
}

func TestTokensLeaveRecords(t *testing.T) {
	s := newStage(t)
	ada, grace := s.signIn(t, "ada"), s.signIn(t, "grace")
	secret := ada.mint("laptop", url.Values{"project": {payments}})
	id := s.tokenID(t, secret)
	grace.post("/-/admin", "/-/tokens/revoke", url.Values{"id": {id}, "from": {"admin"}}).wants(t, http.StatusOK, "The token is revoked")
	ada.post("/-/tokens", "/-/tokens", url.Values{"name": {""}}).wants(t, http.StatusBadRequest)

	type line struct {
		phase                             audit.Phase
		subject, operation, outcome, rule string
	}
	own, admin := "built in: everybody may make and revoke tokens of their own", "built in: administrators of the gateway may"
	want := []line{
		{audit.Intent, "ada", "gateway-token-create", "", own}, {audit.Outcome, "ada", "gateway-token-create", "ok", own},
		{audit.Intent, "grace", "gateway-token-revoke", "", admin}, {audit.Outcome, "grace", "gateway-token-revoke", "ok", admin},
		{audit.Intent, "ada", "gateway-token-create", "", own}, {audit.Outcome, "ada", "gateway-token-create", "bad_request", own},
	}
	var got []line
	for _, r := range s.audit.records(t) {
		got = append(got, line{r.Phase, r.Caller.Subject, r.Operation, r.Outcome, r.Decision.Rule})
		if strings.Contains(r.Detail, secret) {
			t.Errorf("a record holds the token: %s", r.Detail)
		}
		if r.Phase == audit.Outcome && r.Outcome == "ok" && !strings.Contains(r.Detail, id+` "laptop", projects `+payments) {
			t.Errorf("%s does not say which token: %q", r.Operation, r.Detail)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("records\n%v\nwant\n%v", got, want)
	}
}

func TestNothingIsChangedThatCannotBeRecorded(t *testing.T) {
	purged := false
	s := newStage(t, func(c *portal.Config) { c.Purge = func(string, string) int { purged = true; return 0 } })
	ada, grace := s.signIn(t, "ada"), s.signIn(t, "grace")
	id := s.tokenID(t, ada.mint("kept", nil))
	if err := s.audit.log.Close(); err != nil {
		t.Fatal(err)
	}
	ada.post("/-/tokens", "/-/tokens", url.Values{"name": {"second"}}).wants(t, http.StatusServiceUnavailable)
	ada.post("/-/tokens", "/-/tokens/revoke", url.Values{"id": {id}}).wants(t, http.StatusServiceUnavailable)
	grace.post("/-/admin", "/-/admin/purge", url.Values{"everything": {"yes"}}).wants(t, http.StatusServiceUnavailable)
	list := ada.get("/-/tokens")
	list.wants(t, http.StatusOK, "kept")
	list.hides(t, "second")
	if purged {
		t.Error("purged without a record")
	}
}

func TestLastUseShowsItsAddress(t *testing.T) {
	s := newStage(t)
	ada := s.signIn(t, "ada")
	secret := ada.mint("laptop", nil)
	s.api(t, http.MethodGet, "/-/api/whoami", secret, "").wants(t, http.StatusOK)
	s.identity.Close() // writes what is noted
	ada.get("/-/tokens").wants(t, http.StatusOK, "from 127.0.0.1")
	s.api(t, http.MethodGet, "/-/api/tokens", s.bearer("ada"), "").wants(t, http.StatusOK, `"last_used_from":"127.0.0.1"`)
}
