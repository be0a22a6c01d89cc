package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// OAuthConfig is the OAuth apps that upstream knows, and how their tokens behave.
type OAuthConfig struct {
	Clients map[string]string // client id → client secret; empty: no app is known
	Life    time.Duration     // of an access token; zero: 24 h
	// KeepRefresh lets a refresh token be used again; by default each use replaces it, and the old one is refused.
	KeepRefresh bool
}

// codeLife is how long an authorisation code can be exchanged.
const codeLife = 10 * time.Minute

// apps is what OAuth apps hold. It has a lock of its own, since authentication asks it.
type apps struct {
	config  OAuthConfig
	mu      sync.Mutex
	codes   map[string]grant  // by code
	access  map[string]grant  // by access token
	refresh map[string]string // refresh token → client id
	ended   map[string]bool   // personal tokens that were revoked
}

// grant is something an app may use until it ends.
type grant struct {
	client              string
	redirect, challenge string // of a code
	ends                time.Time
}

func newApps(c OAuthConfig) *apps {
	if c.Life == 0 {
		c.Life = 24 * time.Hour
	}
	return &apps{config: c, codes: make(map[string]grant), access: make(map[string]grant), refresh: make(map[string]string), ended: make(map[string]bool)}
}

// owner is whose quota an app's access token spends: the app's. "" for a token that is unknown or over.
func (a *apps) owner(token string, now time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g, known := a.access[token]; known && now.Before(g.ends) {
		return "app " + g.client
	}
	return ""
}

// Revoke ends a personal token at once, as its owner can in upstream's dashboard.
func (s *Sandbox) Revoke(token string) {
	s.apps.mu.Lock()
	defer s.apps.mu.Unlock()
	s.apps.ended[token] = true
}

// RevokeAccess ends every access token of OAuth apps before its time. Their refresh tokens stay.
func (s *Sandbox) RevokeAccess() {
	s.apps.mu.Lock()
	defer s.apps.mu.Unlock()
	clear(s.apps.access)
}

// revoked reports whether a personal token has been ended.
func (a *apps) revoked(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended[token]
}

func (s *Sandbox) oauthRoutes() []route {
	return []route{
		op("v1-authorize-user", "GET /v1/oauth/authorize", 204, s.authorize),
		op("v1-oauth-authorize-project-claim", "GET /v1/oauth/authorize/project-claim", 204, nothing),
		op("v1-exchange-oauth-token", "POST /v1/oauth/token", 201, s.exchange),
		op("v1-revoke-token", "POST /v1/oauth/revoke", 204, s.revoke),
	}
}

// authorize sends the browser of somebody who agrees at once back to a known app, with a code. To an app it does not
// know it answers 204, which is all that the specification says of this operation.
func (s *Sandbox) authorize(c *call) (any, error) {
	query := c.URL.Query()
	client := query.Get("client_id")
	back, err := url.Parse(query.Get("redirect_uri"))
	if err != nil || query.Get("response_type") == "" || client == "" {
		return nil, refuse(http.StatusBadRequest, "client_id, response_type and redirect_uri are required")
	}
	if _, known := s.config.OAuth.Clients[client]; !known {
		return nil, nil
	}
	code := rand.Text()
	s.apps.mu.Lock()
	defer s.apps.mu.Unlock()
	s.apps.codes[code] = grant{client, query.Get("redirect_uri"), query.Get("code_challenge"), time.Now().Add(codeLife)}
	answer := back.Query()
	answer.Set("code", code)
	if state := query.Get("state"); state != "" {
		answer.Set("state", state)
	}
	back.RawQuery = answer.Encode()
	return redirect(back.String()), nil
}

// exchange gives an app tokens for a code, or for its refresh token.
func (s *Sandbox) exchange(c *call) (any, error) {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Invalid form: %v", err)
	}
	client, ok := s.client(c.Request, form.Get("client_id"), form.Get("client_secret"))
	if !ok {
		return nil, refuse(http.StatusUnauthorized, "Invalid client credentials")
	}
	a := s.apps
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch form.Get("grant_type") {
	case "authorization_code":
		g, known := a.codes[form.Get("code")]
		delete(a.codes, form.Get("code")) // a code works once
		if !known || g.client != client || now.After(g.ends) || g.redirect != form.Get("redirect_uri") || !g.verifies(form.Get("code_verifier")) {
			return nil, refuse(http.StatusBadRequest, "Invalid authorization code")
		}
	case "refresh_token":
		if a.refresh[form.Get("refresh_token")] != client {
			return nil, refuse(http.StatusBadRequest, "Invalid refresh token")
		}
		if a.config.KeepRefresh {
			return a.tokens(client, form.Get("refresh_token"), now), nil
		}
		delete(a.refresh, form.Get("refresh_token"))
	default:
		return nil, refuse(http.StatusBadRequest, "grant_type: use authorization_code or refresh_token")
	}
	return a.tokens(client, rand.Text(), now), nil
}

// tokens makes a new access token beside a refresh token. The caller holds the lock.
func (a *apps) tokens(client, refresh string, now time.Time) doc {
	raw := make([]byte, 20)
	_, _ = rand.Read(raw) // never fails
	access := "sbp_oauth_" + hex.EncodeToString(raw)
	maps.DeleteFunc(a.access, func(_ string, g grant) bool { return now.After(g.ends) })
	a.access[access] = grant{client: client, ends: now.Add(a.config.Life)}
	a.refresh[refresh] = client
	return doc{"access_token": access, "refresh_token": refresh, "expires_in": int(a.config.Life.Seconds()), "token_type": "Bearer"}
}

// verifies reports whether the verifier belongs to the code's challenge (RFC 7636, S256), where it has one.
func (g grant) verifies(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return g.challenge == "" || g.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

// client tells which app asks, by HTTP Basic or by what the body says.
func (s *Sandbox) client(r *http.Request, id, secret string) (string, bool) {
	if basicID, basicSecret, ok := r.BasicAuth(); ok {
		id, secret = basicID, basicSecret
	}
	want, known := s.config.OAuth.Clients[id]
	return id, known && subtle.ConstantTimeCompare([]byte(want), []byte(secret)) == 1
}

func (s *Sandbox) revoke(c *call) (any, error) {
	var request struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	client, ok := s.client(c.Request, request.ClientID, request.ClientSecret)
	if !ok {
		return nil, refuse(http.StatusUnauthorized, "Invalid client credentials")
	}
	s.apps.mu.Lock()
	defer s.apps.mu.Unlock()
	if s.apps.refresh[request.RefreshToken] == client {
		delete(s.apps.refresh, request.RefreshToken)
		maps.DeleteFunc(s.apps.access, func(_ string, g grant) bool { return g.client == client })
	}
	return nil, nil
}
