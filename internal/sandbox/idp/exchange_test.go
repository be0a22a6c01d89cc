package idp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// oauthError gives the OAuth error code in err.
func oauthError(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return refused.ErrorCode
	}
	return ""
}

func TestCodeIsWorthNothingToOthers(t *testing.T) {
	s := newStage(t)
	verifier := oauth2.GenerateVerifier()
	other := s.config("es", "s")
	elsewhere := s.config("gateway", "s3cret/&")
	elsewhere.RedirectURL = "https://evil.example/"
	wrongSecret := s.config("gateway", "guess")
	for _, tt := range []struct {
		name   string
		redeem func(ctx context.Context, code string) error
		want   string
	}{
		{"wrong verifier", func(ctx context.Context, code string) error {
			_, err := s.config("gateway", "s3cret/&").Exchange(ctx, code, oauth2.VerifierOption("guess"))
			return err
		}, "invalid_grant"},
		{"no verifier", func(ctx context.Context, code string) error {
			_, err := s.config("gateway", "s3cret/&").Exchange(ctx, code)
			return err
		}, "invalid_grant"},
		{"other client", func(ctx context.Context, code string) error {
			_, err := other.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			return err
		}, "invalid_grant"},
		{"other redirect URI", func(ctx context.Context, code string) error {
			_, err := elsewhere.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			return err
		}, "invalid_grant"},
		{"wrong secret", func(ctx context.Context, code string) error {
			_, err := wrongSecret.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			return err
		}, "invalid_client"},
		{"guessed code", func(ctx context.Context, code string) error {
			_, err := s.config("gateway", "s3cret/&").Exchange(ctx, code[:30]+".guess", oauth2.VerifierOption(verifier))
			return err
		}, "invalid_grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code := s.signIn(t, s.config("gateway", "s3cret/&"), "u-ada", oauth2.S256ChallengeOption(verifier)).Get("code")
			if got := oauthError(tt.redeem(t.Context(), code)); got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCodeReuseEndsTheGrant(t *testing.T) {
	s := newStage(t)
	c := s.config("gateway", "s3cret/&", oidc.ScopeOfflineAccess)
	code := s.signIn(t, c, "u-ada").Get("code")
	token, err := c.Exchange(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exchange(t.Context(), code); oauthError(err) != "invalid_grant" {
		t.Errorf("second use of a code: %v", err)
	}
	if _, err := refresh(t, c, token.RefreshToken); oauthError(err) != "invalid_grant" {
		t.Errorf("refresh after its code was used twice: %v", err)
	}
}

func refresh(t *testing.T, c *oauth2.Config, token string) (*oauth2.Token, error) {
	t.Helper()
	return c.TokenSource(t.Context(), &oauth2.Token{RefreshToken: token}).Token()
}

func TestRefreshRotatesAndTellsNews(t *testing.T) {
	s := newStage(t)
	c := s.config("gateway", "s3cret/&", oidc.ScopeOfflineAccess)
	first := s.exchange(t, c, "u-ada")
	moved := ada
	moved.Groups = []string{"platform"}
	s.Put(moved)
	second, err := refresh(t, c, first.RefreshToken)
	if err != nil || second.RefreshToken == first.RefreshToken {
		t.Fatalf("refresh = %v, rotated %t", err, second.RefreshToken != first.RefreshToken)
	}
	id, claims := s.verify(t, "gateway", second.Extra("id_token").(string))
	if groups, _ := claims["groups"].([]any); len(groups) != 1 || groups[0] != "platform" || id.Nonce != "" {
		t.Errorf("after the move the ID token says %v", claims)
	}
	if _, err := refresh(t, c, first.RefreshToken); oauthError(err) != "invalid_grant" {
		t.Errorf("reuse of a rotated token: %v", err)
	}
	if _, err := refresh(t, c, second.RefreshToken); oauthError(err) != "invalid_grant" {
		t.Errorf("the grant lives on after a reuse: %v", err)
	}
}

func TestLeave(t *testing.T) {
	s := newStage(t)
	c := s.config("gateway", "s3cret/&", oidc.ScopeOfflineAccess)
	token := s.exchange(t, c, "u-ada")
	code := s.signIn(t, c, "u-ada").Get("code")
	s.Leave("u-ada")
	if _, err := refresh(t, c, token.RefreshToken); oauthError(err) != "invalid_grant" {
		t.Errorf("refresh after leaving: %v", err)
	}
	if _, err := c.Exchange(t.Context(), code); oauthError(err) != "invalid_grant" {
		t.Errorf("a code from before leaving: %v", err)
	}
	if _, err := s.oidc.UserInfo(t.Context(), oauth2.StaticTokenSource(token)); err == nil {
		t.Errorf("userinfo still knows who left")
	}
	if _, body := s.get(t, c.AuthCodeURL("s", oauth2.SetAuthURLParam("login_hint", "u-ada"))); strings.Contains(body, "u-ada") || !strings.Contains(body, "u-bob") {
		t.Errorf("the page still offers who left")
	}
	s.Put(ada)
	if s.signIn(t, c, "u-ada").Get("code") == "" {
		t.Errorf("who came back cannot sign in")
	}
}

func TestRevokeAndSignOut(t *testing.T) {
	s := newStage(t)
	c := s.config("gateway", "s3cret/&", oidc.ScopeOfflineAccess)
	end := map[string]func(*oauth2.Token){
		"revoke": func(token *oauth2.Token) {
			resp, err := s.browser.PostForm(s.Issuer()+"/revoke", url.Values{"client_id": {"gateway"}, "client_secret": {"s3cret/&"}, "token": {token.RefreshToken}})
			if resp, _ := read(t, resp, err); resp.StatusCode != 200 {
				t.Errorf("revoke: %s", resp.Status)
			}
		},
		"end_session": func(token *oauth2.Token) {
			query := url.Values{"id_token_hint": {token.Extra("id_token").(string)}, "post_logout_redirect_uri": {callback}, "state": {"out"}}
			resp, _ := s.get(t, s.Issuer()+"/end_session?"+query.Encode())
			if target := resp.Header.Get("Location"); target != callback+"?state=out" {
				t.Errorf("signed out to %q", target)
			}
		},
	}
	for name, act := range end {
		token := s.exchange(t, c, "u-ada")
		act(token)
		if _, err := refresh(t, c, token.RefreshToken); oauthError(err) != "invalid_grant" {
			t.Errorf("refresh after %s: %v", name, err)
		}
	}
	// Anybody can make such a link: it must lead nowhere else.
	resp, _ := s.get(t, s.Issuer()+"/end_session?client_id=gateway&post_logout_redirect_uri=https://evil.example/")
	if resp.StatusCode != 200 || resp.Header.Get("Location") != "" {
		t.Errorf("foreign sign-out URI: %s to %q", resp.Status, resp.Header.Get("Location"))
	}
}

func TestClientCredentials(t *testing.T) {
	s := newStage(t)
	ask := func(id, secret string) (*http.Response, string) {
		resp, err := s.browser.PostForm(s.Issuer()+"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}})
		return read(t, resp, err)
	}
	resp, body := ask("gateway", "s3cret/&")
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	if id, _ := s.verify(t, "supabase-gateway", answer.AccessToken); id.Subject != "gateway" {
		t.Errorf("subject %q", id.Subject)
	}
	if resp, _ := ask("cli", ""); resp.StatusCode != 400 {
		t.Errorf("public client: %s", resp.Status)
	}
}
