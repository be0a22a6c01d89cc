package idp_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/sandbox/idp"
)

// desk is a provider spoken to without a network, so that time can be stepped over.
type desk struct{ *idp.Provider }

func newDesk(t *testing.T) desk {
	t.Helper()
	provider, err := idp.New(idp.Config{
		Issuer:  "http://idp.example",
		Clients: []idp.Client{{ID: "gateway", Secret: "s", RedirectURIs: []string{callback}}},
		People:  []idp.Person{ada},
	})
	if err != nil {
		t.Fatal(err)
	}
	return desk{provider}
}

func (d desk) code(t *testing.T) string {
	t.Helper()
	ask := url.Values{"response_type": {"code"}, "client_id": {"gateway"}, "redirect_uri": {callback}, "scope": {"openid offline_access"}, "login_hint": {ada.Subject}}
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, httptest.NewRequest("GET", "/authorize?"+ask.Encode(), nil))
	target, err := url.Parse(answer.Header().Get("Location"))
	if err != nil || target.Query().Get("code") == "" {
		t.Fatalf("answered %d to %v", answer.Code, target)
	}
	return target.Query().Get("code")
}

// redeem sends the pairs to the token endpoint and returns the status and the tokens.
func (d desk) redeem(t *testing.T, pairs ...string) (int, map[string]any) {
	t.Helper()
	form := url.Values{"redirect_uri": {callback}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	ask := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	ask.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ask.SetBasicAuth("gateway", "s")
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, ask)
	var tokens map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &tokens); err != nil {
		t.Fatal(err)
	}
	return answer.Code, tokens
}

func TestCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for _, tt := range []struct {
			wait time.Duration
			want int
		}{{59 * time.Second, 200}, {61 * time.Second, 400}} {
			code := d.code(t)
			time.Sleep(tt.wait)
			if got, _ := d.redeem(t, "grant_type", "authorization_code", "code", code); got != tt.want {
				t.Errorf("a code after %v: %d, want %d", tt.wait, got, tt.want)
			}
		}
	})
}

func TestRefreshTokenExpiresUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, tokens := d.redeem(t, "grant_type", "authorization_code", "code", d.code(t))
		for _, tt := range []struct {
			wait time.Duration
			want int
		}{{29 * 24 * time.Hour, 200}, {29 * 24 * time.Hour, 200}, {31 * 24 * time.Hour, 400}} {
			time.Sleep(tt.wait)
			status, next := d.redeem(t, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
			if status != tt.want {
				t.Errorf("a refresh token unused for %v: %d, want %d", tt.wait, status, tt.want)
			}
			tokens = next
		}
	})
}

func TestUserInfoRefusesExpiredAndForeignTokens(t *testing.T) {
	d, stranger := newDesk(t), newDesk(t)
	for name, token := range map[string]string{
		"expired": d.Token(ada.Subject, "a", idp.Expired()), "stranger's": stranger.Token(ada.Subject, "a"),
		"unsigned": d.Token(ada.Subject, "a", idp.Unsigned()), "unknown person's": d.Token("nobody", "a"), "no": "",
	} {
		ask := httptest.NewRequest("GET", "/userinfo", nil)
		ask.Header.Set("Authorization", "Bearer "+token)
		answer := httptest.NewRecorder()
		d.ServeHTTP(answer, ask)
		if answer.Code != 401 {
			t.Errorf("%s token: %d, want 401", name, answer.Code)
		}
	}
}

func TestFloodOfSignInsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for range 10_000 {
			d.code(t)
		}
		ask := url.Values{"response_type": {"code"}, "client_id": {"gateway"}, "redirect_uri": {callback}, "scope": {"openid"}, "login_hint": {ada.Subject}}
		answer := httptest.NewRecorder()
		d.ServeHTTP(answer, httptest.NewRequest("GET", "/authorize?"+ask.Encode(), nil))
		if target := answer.Header().Get("Location"); !strings.Contains(target, "error=temporarily_unavailable") {
			t.Errorf("one too many was sent to %s", target)
		}
		time.Sleep(2 * time.Minute) // the codes lie unused and end
		d.code(t)
	})
}
