package identity_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
)

// Many providers tell e-mail and groups at userinfo only, and all do where there are too many groups for the token.
func TestUserInfoFillsWhatTheIDTokenLacks(t *testing.T) {
	crowd := idp.Person{Subject: "eve-3", Email: "eve@corp.example", EmailVerified: true, Groups: []string{"a", "b"}, GroupsOverage: true}
	s := newStageAlone(t)
	s.corp.Put(crowd)
	b := s.browser()
	b.signIn(t, crowd)
	session, err := b.session(t)
	if err != nil || !slices.Equal(session.Caller.Groups, crowd.Groups) {
		t.Errorf("session %+v, %v, want the groups of userinfo", session, err)
	}
	// The same token as a bearer has no userinfo to ask.
	s.refused(t, s.corp.Token(crowd.Subject, audience), identity.GroupsOverage)

	for name, c := range map[string]struct {
		info map[string]any
		want string
	}{
		"an address that is verified":       {map[string]any{"sub": "x", "email": "x@corp.example", "email_verified": true}, "x@corp.example"},
		"an address that is not":            {map[string]any{"sub": "x", "email": "x@corp.example", "email_verified": false}, ""},
		"an address without a word of that": {map[string]any{"sub": "x", "email": "x@corp.example"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := signInWithUserInfo(t, c.info, idp.Claim("email_verified", true)); err != nil || got.Caller.Email != c.want {
				t.Errorf("the e-mail is %+v, %v, want %q", got, err, c.want)
			}
		})
	}
	t.Run("another subject", func(t *testing.T) {
		_, err := signInWithUserInfo(t, map[string]any{"sub": "root", "groups": []string{"admin"}})
		wantRefusal(t, err, http.StatusServiceUnavailable, identity.Unavailable)
	})
	t.Run("nothing is replaced", func(t *testing.T) {
		got, err := signInWithUserInfo(t, map[string]any{"sub": "x", "groups": []string{"admin"}}, idp.Claim("groups", []string{"staff"}))
		if err != nil || !slices.Equal(got.Caller.Groups, []string{"staff"}) {
			t.Errorf("session %+v, %v, want the ID token's groups", got, err)
		}
	})
}

// signInWithUserInfo signs in the subject x, of whom the provider's userinfo says what is given.
func signInWithUserInfo(t *testing.T, info map[string]any, changes ...idp.Change) (*identity.Session, error) {
	t.Helper()
	s := newStage(t)
	b := s.browser()
	at := b.begin(t, "/-/")
	back := b.atProvider(t, at, ada)
	token := s.corp.Token("x", clientID, append(changes, idp.Claim("nonce", at.Query().Get("nonce")))...)
	send := func(w http.ResponseWriter, body map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	}
	s.UseTransport("corp", inProcess{instead(instead(s.corp,
		"/userinfo", func(w http.ResponseWriter, _ *http.Request) { send(w, info) }),
		"/token", func(w http.ResponseWriter, _ *http.Request) {
			send(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": token})
		})})
	if _, err := b.complete(t, back); err != nil {
		return nil, err
	}
	return b.session(t)
}
