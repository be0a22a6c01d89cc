package portal_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"corp.example/gateway/internal/portal"
)

func TestAnAdministratorConnectsAnOAuthApp(t *testing.T) {
	const agree = "https://api.supabase.example/v1/oauth/authorize?state=s"
	var begun, finished []string
	s := newStage(t, withService, func(c *portal.Config) {
		c.Connect = func(_ context.Context, name, redirect, who string) (string, error) {
			begun = append(begun, name+" "+redirect+" "+who)
			if name != "app" {
				return "", errors.New("there is no such app")
			}
			return agree, nil
		}
		c.Connected = func(_ context.Context, who string, answer url.Values) (string, error) {
			finished = append(finished, who+" "+answer.Get("code"))
			if answer.Get("code") != "good" {
				return "", errors.New("upstream refused the code")
			}
			return "app", nil
		}
	})

	ada := s.signIn(t, "ada")
	ada.post("/-/tokens", "/-/admin/connect", url.Values{"name": {"app"}}).wants(t, http.StatusForbidden, "administrators")
	ada.get("/-/admin/connected?state=s&code=good").wants(t, http.StatusForbidden, "administrators")
	if begun != nil || finished != nil {
		t.Fatalf("done for somebody else: %v %v", begun, finished)
	}

	grace := s.signIn(t, "grace")
	grace.post("/-/admin", "/-/admin/connect", url.Values{"name": {"app"}}).wants(t, http.StatusOK, "Go on to Supabase", agree)
	if want := "app " + s.URL + "/-/admin/connected corp|grace"; len(begun) != 1 || begun[0] != want {
		t.Errorf("begun %q, want %q", begun, want)
	}
	grace.post("/-/admin", "/-/admin/connect", url.Values{"name": {"other"}}).wants(t, http.StatusBadRequest, "there is no such app", `role="alert"`)
	grace.get("/-/admin/connected?error=access_denied").wants(t, http.StatusBadRequest, "was not agreed to")
	grace.get("/-/admin/connected?state=s&code=bad").wants(t, http.StatusBadGateway, "upstream refused the code")
	grace.get("/-/admin/connected?state=s&code=good").wants(t, http.StatusOK, "The credential is connected")
	if strings.Join(finished, ", ") != "corp|grace bad, corp|grace good" {
		t.Errorf("finished %q", finished)
	}
	records := s.audit.records(t)
	if len(records) != 4 {
		t.Fatalf("%d records, want an intent and an outcome of each answer that came with a code", len(records))
	}
	if last := records[3]; last.Operation != "gateway-credential-connect" || last.Detail != "credential app" || last.Outcome != "ok" || strings.Contains(last.Path, "good") {
		t.Errorf("recorded %+v", last)
	}
}
