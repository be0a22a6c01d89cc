package portal_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/portal"
)

var buckets = []limiter.BucketState{
	{Owner: "platform-bot", Scope: "account", Class: "default", Limit: 120, Period: time.Minute, Remaining: 120},
	{Owner: "platform-bot", Scope: "organization:acme", Class: "default", Limit: 120, Period: time.Minute, Remaining: 120},
	{Owner: "platform-bot", Scope: "project:" + payments, Class: "default", Limit: 120, Period: time.Minute, Remaining: 47, Reset: 31 * time.Second,
		Waiting: map[string]int{"payments": 3, "platform": 2, "research": 4},
		Queue: []limiter.Waiting{{Team: "research", Operation: "v1-run-a-query", Since: 50 * time.Second},
			{Team: "payments", Operation: "v1-list-all-branches", Since: 12 * time.Second}, {Team: "payments", Operation: "v1-get-project", Since: 4 * time.Second, Batch: true}},
		Waits: []time.Duration{0, 12 * time.Second, 0, 6 * time.Second}},
	{Owner: "platform-bot", Scope: "project:" + payments, Class: "logs", Operation: "v1-get-project-logs", Limit: 10, Period: time.Hour, Held: true, Reset: 90 * time.Minute, Outsiders: 5},
	{Owner: "platform-bot", Scope: "project:" + billing, Class: "default", Limit: 120, Period: time.Minute, Remaining: 20},
	{Owner: "platform-bot", Scope: "project:../../etc", Class: "default", Limit: 120, Period: time.Minute},
}

func withQuota(c *portal.Config) { c.Quota = func() []limiter.BucketState { return buckets } }

func TestWhoSeesWhichQuota(t *testing.T) {
	s := newStage(t, withQuota)
	for who, want := range map[string][]string{
		"ada":   {"account", "project:" + payments},
		"linus": nil,
		"grace": {"account", "organization:acme", "project:" + payments, "project:" + billing, "project:../../etc"},
	} {
		page := s.signIn(t, who).get("/-/quota")
		page.wants(t, http.StatusOK)
		got := decode[struct{ Buckets []struct{ Scope string } }](t, s.api(t, http.MethodGet, "/-/api/quota", s.bearer(who), ""), http.StatusOK)
		var scopes []string
		for _, b := range got.Buckets {
			scopes = append(scopes, b.Scope)
			page.wants(t, http.StatusOK, ">"+b.Scope+"<")
		}
		if scopes = slices.Compact(scopes); !slices.Equal(scopes, want) {
			t.Errorf("%s sees %v, want %v", who, scopes, want)
		}
	}
}

func TestWhoElseWaitsIsACount(t *testing.T) {
	s := newStage(t, withQuota)
	page := s.signIn(t, "ada").get("/-/quota")
	page.wants(t, http.StatusOK, "47", "left of 120 in 1 minute", "Next window in 31 seconds", "Waiting: payments 3, other teams 6.",
		"Held: Supabase asked to wait, 90 minutes more.", "5 were spent past the gateway", "<meter", "the last tenth of a window is handed out bit by bit")
	page.hides(t, "platform", "research", "platform-bot")
	s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), "").hides(t, "platform", "research")
	s.signIn(t, "grace").get("/-/quota").wants(t, http.StatusOK, "payments 3, platform 2, research 4", "Spent by platform-bot")
}

func TestQuotaOfAProjectThatAGrantReachesThroughItsOrganization(t *testing.T) {
	asked := 0
	s := newStage(t, withQuota, resolving(func(call *catalog.Call) (policy.Target, error) {
		asked++
		return policy.Target{Kind: call.Target.Kind, Project: call.Target.ID, Organization: "acme", Resolved: true}, nil
	}))
	got := s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), "")
	got.wants(t, http.StatusOK, "project:"+billing)
	if asked != 1 {
		t.Errorf("%d look-ups, want one: the rest is known without", asked)
	}
}

func TestQuotaPageDoesNotSpendTheQuota(t *testing.T) {
	asked := 0
	s := newStage(t, resolving(func(*catalog.Call) (policy.Target, error) {
		asked++
		return policy.Target{}, errors.New("down")
	}), func(c *portal.Config) {
		c.Quota = func() (many []limiter.BucketState) {
			for i := range 100 {
				many = append(many, limiter.BucketState{Scope: "project:" + strings.Repeat(string(rune('a'+i%26)), 18) + string(rune('a'+i/26)) + "z", Class: "default", Limit: 1})
			}
			return many
		}
	})
	got := s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), "")
	got.wants(t, http.StatusOK, `{"buckets":[]}`)
	if asked != 1 {
		t.Errorf("%d look-ups at an upstream that is down, want one", asked)
	}
}

func TestOwnRequestsThatWaitAreNamed(t *testing.T) {
	s := newStage(t, withQuota)
	page := s.signIn(t, "ada").get("/-/quota")
	page.wants(t, http.StatusOK, "<code>v1-list-all-branches</code> for payments, 12 seconds so far",
		"<code>v1-get-project</code> for payments, 4 seconds so far, letting others go first", `<li class="rest">and 1 more request`)
	page.hides(t, "v1-run-a-query")
	s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), "").hides(t, "v1-run-a-query")
	s.signIn(t, "grace").get("/-/quota").wants(t, http.StatusOK, "v1-run-a-query")
}

func TestRecentWaitsAreDrawnAndSaid(t *testing.T) {
	s := newStage(t, withQuota)
	page := s.signIn(t, "ada").get("/-/quota")
	page.wants(t, http.StatusOK, `<rect x="5" y="0" width="4" height="30"/><rect x="15" y="15" width="4" height="15"/>`,
		"Longest wait in the last 4 minutes: 12 seconds.")
	if n := strings.Count(page.body, "<svg viewBox=\"0 0 20 30\""); n != 1 {
		t.Errorf("%d sparklines, want one: elsewhere nobody waited", n)
	}
	got := decode[struct {
		Buckets []struct {
			Waits []float64 `json:"waits_seconds"`
			Queue []struct{ Operation string }
		}
	}](t, s.api(t, http.MethodGet, "/-/api/quota", s.bearer("ada"), ""), http.StatusOK)
	if b := got.Buckets[1]; !slices.Equal(b.Waits, []float64{0, 12, 0, 6}) || len(b.Queue) != 2 {
		t.Errorf("as JSON: %+v", b)
	}
}

func TestQuotaPageHasAPartToFetchAnew(t *testing.T) {
	s := newStage(t, withQuota)
	page := s.signIn(t, "ada").get("/-/quota")
	page.wants(t, http.StatusOK, `<div id="live">`, `<button type="button" class="quiet" id="live-toggle" hidden>`, `<a href="/-/quota">Look again</a>`)
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "connect-src 'self'") {
		t.Error("the page may not fetch itself")
	}
}
