package idp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"corp.example/gateway/internal/sandbox/idp"
)

const callback = "https://gateway.corp.example/-/callback"

var ada = idp.Person{
	Subject: "u-ada", Email: "ada@corp.example", EmailVerified: true, Name: "Ada <b>Lovelace</b>",
	Groups: []string{"payments-eng"}, Claims: map[string]any{"department": "Engines"},
}

// stage is a provider that listens, with two people and three clients.
type stage struct {
	*idp.Provider
	browser *http.Client // does not follow redirects
	oidc    *oidc.Provider
}

func newStage(t *testing.T) *stage {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	provider, err := idp.New(idp.Config{
		Issuer: "http://" + server.Listener.Addr().String() + "/idp",
		Clients: []idp.Client{
			{ID: "gateway", Secret: "s3cret/&", RedirectURIs: []string{callback}, Audience: "supabase-gateway"},
			{ID: "es", Secret: "s", RedirectURIs: []string{callback}, Alg: idp.ES256},
			{ID: "cli", RedirectURIs: []string{callback}},
		},
		People: []idp.Person{ada, {Subject: "u-bob", Email: "bob@corp.example", Name: "Bob"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = provider
	server.Start()
	t.Cleanup(server.Close)
	discovered, err := oidc.NewProvider(t.Context(), provider.Issuer())
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &stage{provider, &http.Client{CheckRedirect: noRedirects}, discovered}
}

func (s *stage) config(id, secret string, scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: id, ClientSecret: secret, Endpoint: s.oidc.Endpoint(), RedirectURL: callback,
		Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
	}
}

// get follows nothing and returns the answer with its body.
func (s *stage) get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := s.browser.Get(url)
	return read(t, resp, err)
}

func read(t *testing.T, resp *http.Response, err error) (*http.Response, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// signIn asks for a code with the hint and returns what the client is told.
func (s *stage) signIn(t *testing.T, c *oauth2.Config, hint string, options ...oauth2.AuthCodeOption) url.Values {
	t.Helper()
	options = append(options, oauth2.SetAuthURLParam("login_hint", hint))
	resp, body := s.get(t, c.AuthCodeURL("state-1", options...))
	target, err := resp.Location()
	if err != nil {
		t.Fatalf("sign-in as %s: %s: %s", hint, resp.Status, body)
	}
	if got := target.Query(); !strings.HasPrefix(target.String(), callback+"?") || got.Get("state") != "state-1" || got.Get("iss") != s.Issuer() {
		t.Fatalf("sent back to %s", target)
	}
	return target.Query()
}

// exchange signs in and redeems the code.
func (s *stage) exchange(t *testing.T, c *oauth2.Config, hint string) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	code := s.signIn(t, c, hint, oidc.Nonce("n-1"), oauth2.S256ChallengeOption(verifier)).Get("code")
	token, err := c.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("exchange: %v", err)
	}
	return token
}

func (s *stage) verify(t *testing.T, audience, token string) (*oidc.IDToken, map[string]any) {
	t.Helper()
	verified, err := s.oidc.VerifierContext(t.Context(), &oidc.Config{ClientID: audience}).Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return verified, claims
}

func TestSignIn(t *testing.T) {
	s := newStage(t)
	for _, tt := range []struct {
		client, secret string
		style          oauth2.AuthStyle
		audience       string // of the access token
		alg            string
	}{
		{"gateway", "s3cret/&", oauth2.AuthStyleInHeader, "supabase-gateway", `"alg":"RS256"`},
		{"gateway", "s3cret/&", oauth2.AuthStyleInParams, "supabase-gateway", `"alg":"RS256"`},
		{"es", "s", oauth2.AuthStyleInHeader, "es", `"alg":"ES256"`},
		{"cli", "", oauth2.AuthStyleInParams, "cli", `"alg":"RS256"`},
	} {
		t.Run(tt.client, func(t *testing.T) {
			c := s.config(tt.client, tt.secret, "email")
			c.Endpoint.AuthStyle = tt.style
			token := s.exchange(t, c, "ada@corp.example")
			id, claims := s.verify(t, tt.client, token.Extra("id_token").(string))
			if id.Subject != ada.Subject || id.Nonce != "n-1" || claims["email"] != ada.Email || claims["email_verified"] != true || claims["department"] != "Engines" {
				t.Errorf("ID token says %v", claims)
			}
			_, claims = s.verify(t, tt.audience, token.AccessToken)
			if groups, _ := claims["groups"].([]any); len(groups) != 1 || groups[0] != "payments-eng" {
				t.Errorf("access token says %v", claims)
			}
			if token.RefreshToken != "" {
				t.Errorf("a refresh token without offline_access")
			}
			info, err := s.oidc.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
			if err != nil || info.Subject != ada.Subject || info.Email != ada.Email {
				t.Errorf("userinfo = %+v, %v", info, err)
			}
		})
	}
}

func TestPage(t *testing.T) {
	s := newStage(t)
	ask := s.config("gateway", "s3cret/&").AuthCodeURL(`"><script>alert(1)</script>`, oidc.Nonce("n"))
	resp, body := s.get(t, ask)
	policy := resp.Header.Get("Content-Security-Policy")
	want := "default-src 'none'; style-src 'self'; form-action 'self' https://gateway.corp.example; frame-ancestors 'none'; base-uri 'none'"
	if resp.StatusCode != 200 || policy != want {
		t.Errorf("page: %s, policy %q, want %q", resp.Status, policy, want)
	}
	for _, text := range []string{`value="u-ada"`, `value="u-bob"`, "Ada &lt;b&gt;", "payments-eng", `href="/idp/style.css"`} {
		if !strings.Contains(body, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "style=") {
		t.Errorf("the page carries a script or inline style:\n%s", body)
	}
	if resp, body := s.get(t, strings.Replace(ask[:strings.Index(ask, "?")], "/authorize", "/style.css", 1)); resp.StatusCode != 200 || !strings.Contains(body, "button") {
		t.Errorf("style sheet: %s", resp.Status)
	}

	// Pressing a button hands the question back with the answer.
	question, _ := url.Parse(ask)
	form := question.Query()
	form.Set("person", "u-bob")
	resp, err := s.browser.PostForm(strings.Split(ask, "?")[0], form)
	resp, _ = read(t, resp, err)
	target, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther || target.Query().Get("code") == "" || target.Query().Get("state") != form.Get("state") {
		t.Errorf("pressed: %s, %v", resp.Status, target)
	}
}

func TestSignInAsNeedsNoPage(t *testing.T) {
	s := newStage(t)
	c := s.config("gateway", "s3cret/&")
	silent := oauth2.SetAuthURLParam("prompt", "none")
	if got := s.signIn(t, c, "", silent).Get("error"); got != "login_required" {
		t.Errorf("prompt=none without anybody signed in = %q, want login_required", got)
	}
	s.SignInAs("u-bob")
	if s.signIn(t, c, "", silent).Get("code") == "" {
		t.Errorf("no code for the one who is signed in")
	}
}

func TestAuthorizeRefusals(t *testing.T) {
	s := newStage(t)
	good := url.Values{"response_type": {"code"}, "client_id": {"gateway"}, "redirect_uri": {callback}, "scope": {"openid"}, "login_hint": {"u-ada"}}
	for _, tt := range []struct {
		name  string
		set   url.Values
		error string // "" where nothing may be sent back
	}{
		{"unknown client", url.Values{"client_id": {"nobody"}}, ""},
		{"foreign redirect", url.Values{"redirect_uri": {"https://evil.example/"}}, ""},
		{"longer redirect", url.Values{"redirect_uri": {callback + "/x"}}, ""},
		{"no redirect", url.Values{"redirect_uri": {""}}, ""},
		{"implicit flow", url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		{"no openid", url.Values{"scope": {"email"}}, "invalid_scope"},
		{"plain PKCE", url.Values{"code_challenge": {"x"}, "code_challenge_method": {"plain"}}, "invalid_request"},
		{"PKCE without method", url.Values{"code_challenge": {"x"}}, "invalid_request"},
		{"public client without PKCE", url.Values{"client_id": {"cli"}}, "invalid_request"},
		{"repeated parameter", url.Values{"scope": {"openid", "openid"}}, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask := url.Values{}
			for _, values := range []url.Values{good, tt.set} {
				for name, value := range values {
					ask[name] = value
				}
			}
			resp, _ := s.get(t, s.oidc.Endpoint().AuthURL+"?"+ask.Encode())
			target, err := resp.Location()
			switch {
			case tt.error == "" && (resp.StatusCode != 400 || err == nil):
				t.Errorf("answered %s and sent to %v, want 400 and nowhere", resp.Status, target)
			case tt.error != "" && (err != nil || target.Query().Get("error") != tt.error || target.Query().Has("code")):
				t.Errorf("answered %s and sent to %v, want error %s", resp.Status, target, tt.error)
			}
		})
	}
}

func TestDown(t *testing.T) {
	s := newStage(t)
	s.SetDown(true)
	before := s.Requests(idp.Discovery)
	if _, err := oidc.NewProvider(t.Context(), s.Issuer()); err == nil {
		t.Errorf("discovery works while down")
	}
	if got := s.Requests(idp.Discovery); got != before+1 {
		t.Errorf("counted %d requests, want %d", got, before+1)
	}
	s.SetDown(false)
	if _, err := oidc.NewProvider(t.Context(), s.Issuer()); err != nil {
		t.Errorf("discovery after the outage: %v", err)
	}
}

func TestConfigFaultsAreToldTogether(t *testing.T) {
	_, err := idp.New(idp.Config{
		Issuer:  "http://127.0.0.1:9",
		Clients: []idp.Client{{ID: "a"}, {ID: "a"}, {ID: "b", Alg: "none"}},
		People:  []idp.Person{{Subject: "x"}, {Subject: "x"}, {}},
	})
	for _, text := range []string{`client "a"`, `client "b"`, `person "x"`, `person ""`} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v lacks %s", err, text)
		}
	}
	if _, err := idp.New(idp.Config{Issuer: "corp"}); err == nil {
		t.Errorf("an issuer that is no URL is accepted")
	}
}
