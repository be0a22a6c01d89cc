package sandbox_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/sandbox"
)

const callback = "https://gateway.example/callback"

// oauthTokens is what the token operation answers.
type oauthTokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Life    int    `json:"expires_in"`
}

// consent goes to the authorisation page and gives the code that it sends back.
func consent(t *testing.T, s *sandbox.Sandbox, verifier string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {appID}, "response_type": {"code"}, "redirect_uri": {callback}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/oauth/authorize?"+query.Encode(), nil))
	back, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusSeeOther || !strings.HasPrefix(back.String(), callback) || back.Query().Get("state") != "s" {
		t.Fatalf("authorize: %d, location %q", w.Code, w.Header().Get("Location"))
	}
	return back.Query().Get("code")
}

// exchange asks for tokens with the app's credentials by HTTP Basic.
func exchange(s *sandbox.Sandbox, secret string, form url.Values) (int, oauthTokens) {
	r := httptest.NewRequest("POST", "/v1/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", urlForm)
	r.SetBasicAuth(appID, secret)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var tokens oauthTokens
	_ = json.Unmarshal(w.Body.Bytes(), &tokens) // an error has none
	return w.Code, tokens
}

func withCode(code, verifier string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
}

func withRefresh(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// works reports whether an access token is accepted.
func works(s *sandbox.Sandbox, access string) bool {
	r := httptest.NewRequest("GET", "/v1/projects", nil)
	r.Header.Set("Authorization", "Bearer "+access)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code == http.StatusOK
}

func TestAnAppGetsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSandbox(t)
		status, first := exchange(s, appSecret, withCode(consent(t, s, "v"), "v"))
		if status != http.StatusCreated || !works(s, first.Access) || first.Life != 24*3600 {
			t.Fatalf("first tokens: %d %+v", status, first)
		}
		status, second := exchange(s, appSecret, withRefresh(first.Refresh))
		if status != http.StatusCreated || !works(s, second.Access) || second.Refresh == first.Refresh {
			t.Errorf("second tokens: %d %+v", status, second)
		}
		if status, _ := exchange(s, appSecret, withRefresh(first.Refresh)); status != http.StatusBadRequest {
			t.Errorf("a replaced refresh token: %d", status)
		}
		time.Sleep(24 * time.Hour)
		if works(s, second.Access) {
			t.Error("an access token works after its time")
		}
	})
}

func TestARefreshTokenMayStay(t *testing.T) {
	s := newSandbox(t, func(c *sandbox.Config) { c.OAuth.KeepRefresh = true })
	_, first := exchange(s, appSecret, withCode(consent(t, s, "v"), "v"))
	for range 2 {
		if status, next := exchange(s, appSecret, withRefresh(first.Refresh)); status != http.StatusCreated || next.Refresh != first.Refresh {
			t.Errorf("refresh: %d %+v", status, next)
		}
	}
}

func TestACodeIsGoodOnce(t *testing.T) {
	s := newSandbox(t)
	used := consent(t, s, "v")
	exchange(s, appSecret, withCode(used, "v"))
	other := withCode(consent(t, s, "v"), "v")
	other.Set("redirect_uri", "https://elsewhere.example")
	for name, test := range map[string]struct {
		secret string
		form   url.Values
		want   int
	}{
		"used again":        {appSecret, withCode(used, "v"), http.StatusBadRequest},
		"wrong verifier":    {appSecret, withCode(consent(t, s, "v"), "w"), http.StatusBadRequest},
		"other redirect":    {appSecret, other, http.StatusBadRequest},
		"made up":           {appSecret, withCode("x", "v"), http.StatusBadRequest},
		"wrong secret":      {"wrong", withCode(consent(t, s, "v"), "v"), http.StatusUnauthorized},
		"made-up refresh":   {appSecret, withRefresh("x"), http.StatusBadRequest},
		"no refresh token":  {appSecret, withRefresh(""), http.StatusBadRequest},
		"no kind of grant":  {appSecret, url.Values{}, http.StatusBadRequest},
		"broken parameters": {appSecret, url.Values{"grant_type": {"%"}}, http.StatusBadRequest},
	} {
		if status, _ := exchange(s, test.secret, test.form); status != test.want {
			t.Errorf("%s: %d, want %d", name, status, test.want)
		}
	}
}

func TestRevokedTokensEnd(t *testing.T) {
	s := newSandbox(t)
	_, tokens := exchange(s, appSecret, withCode(consent(t, s, "v"), "v"))
	body, _ := json.Marshal(map[string]string{"client_id": appID, "client_secret": appSecret, "refresh_token": tokens.Refresh})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/v1/oauth/revoke", strings.NewReader(string(body))))
	if w.Code != http.StatusNoContent || works(s, tokens.Access) {
		t.Errorf("revoke: %d, the access token works: %t", w.Code, works(s, tokens.Access))
	}
	if status, _ := exchange(s, appSecret, withRefresh(tokens.Refresh)); status != http.StatusBadRequest {
		t.Errorf("a revoked refresh token: %d", status)
	}
}

func TestTokensCanBeEndedWhileItRuns(t *testing.T) {
	s := newSandbox(t)
	_, tokens := exchange(s, appSecret, withCode(consent(t, s, "v"), "v"))
	s.RevokeAccess()
	status, next := exchange(s, appSecret, withRefresh(tokens.Refresh))
	if works(s, tokens.Access) || status != http.StatusCreated || !works(s, next.Access) {
		t.Errorf("the access token works: %t; its refresh token: %d", works(s, tokens.Access), status)
	}
	if !works(s, token) {
		t.Fatal("the personal token does not work")
	}
	if s.Revoke(token); works(s, token) || !works(s, next.Access) {
		t.Error("revoking the personal token does something else")
	}
}
