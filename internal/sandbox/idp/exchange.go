package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// token answers RFC 6749, section 3.2.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		p.exchangeCode(w, client, r.PostForm)
	case "refresh_token":
		p.exchangeRefresh(w, client, r.PostForm)
	case "client_credentials":
		p.exchangeCredentials(w, client, r.PostForm)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "use authorization_code, refresh_token or client_credentials")
	}
}

// authenticate finds out which client asks (RFC 6749, section 2.3), or answers the error.
func (p *Provider) authenticate(w http.ResponseWriter, r *http.Request) (Client, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return Client{}, false
	}
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		// Both are form-encoded inside Basic: RFC 6749 section 2.3.1.
		var errID, errSecret error
		id, errID = url.QueryUnescape(user)
		secret, errSecret = url.QueryUnescape(password)
		if errID != nil || errSecret != nil {
			id = ""
		}
	}
	client, known := p.clients[id]
	if !known || subtle.ConstantTimeCompare([]byte(client.Secret), []byte(secret)) == 0 {
		w.Header().Set("WWW-Authenticate", `Basic realm="idp"`)
		refuse(w, http.StatusUnauthorized, "invalid_client", "the client is unknown or its secret is wrong")
		return Client{}, false
	}
	return client, true
}

func (p *Provider) exchangeCode(w http.ResponseWriter, client Client, form url.Values) {
	id, g, err := p.redeem(form.Get("code"), client.ID, form.Get("redirect_uri"), form.Get("code_verifier"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "the code: "+err.Error())
		return
	}
	p.issue(w, client, id, g)
}

func (p *Provider) exchangeRefresh(w http.ResponseWriter, client Client, form url.Values) {
	id, g, err := p.refresh(form.Get("refresh_token"), client.ID)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token: "+err.Error())
		return
	}
	g.nonce = "" // OpenID Connect Core 1.0 section 12.2: it belongs to the sign-in
	p.issue(w, client, id, g)
}

// issue answers with the tokens of a grant: what is known of the person now, not at sign-in.
func (p *Provider) issue(w http.ResponseWriter, client Client, id string, g grant) {
	person, known := p.person(g.subject)
	if !known {
		refuse(w, http.StatusBadRequest, "invalid_grant", "the person has left")
		return
	}
	answer := map[string]any{
		"access_token": p.accessToken(client, g.subject, p.claims(person), g.scopes),
		"id_token":     p.idToken(client, id, g, p.claims(person)),
		"token_type":   "Bearer", "expires_in": int(p.config.TokenTTL.Seconds()), "scope": strings.Join(g.scopes, " "),
	}
	if slices.Contains(g.scopes, "offline_access") {
		refresh, err := p.rotate(id, g.secret)
		if err != nil {
			refuse(w, http.StatusBadRequest, "invalid_grant", "the refresh token: "+err.Error())
			return
		}
		answer["refresh_token"] = refresh
	}
	writeJSON(w, http.StatusOK, answer)
}

// exchangeCredentials issues a token for the client itself, a workload.
func (p *Provider) exchangeCredentials(w http.ResponseWriter, client Client, form url.Values) {
	if client.Secret == "" {
		refuse(w, http.StatusBadRequest, "unauthorized_client", "a public client has no credentials")
		return
	}
	scopes := strings.Fields(form.Get("scope"))
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": p.accessToken(client, client.ID, map[string]any{"sub": client.ID}, scopes),
		"token_type":   "Bearer", "expires_in": int(p.config.TokenTTL.Seconds()), "scope": strings.Join(scopes, " "),
	})
}

// accessToken makes a JWT access token (RFC 9068).
func (p *Provider) accessToken(client Client, subject string, claims map[string]any, scopes []string) string {
	claims["aud"], claims["client_id"], claims["scope"] = client.Audience, client.ID, strings.Join(scopes, " ")
	return p.seal(client, claims, "at+jwt")
}

// idToken makes an ID token (OpenID Connect Core 1.0, section 2).
func (p *Provider) idToken(client Client, session string, g grant, claims map[string]any) string {
	claims["aud"], claims["azp"], claims["sid"], claims["auth_time"] = client.ID, client.ID, session, g.signedIn.Unix()
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	return p.seal(client, claims, "JWT")
}

// seal adds what every token has, and signs it.
func (p *Provider) seal(client Client, claims map[string]any, kind string) string {
	now := time.Now()
	claims["iss"], claims["iat"], claims["jti"] = p.config.Issuer, now.Unix(), rand.Text()
	claims["exp"] = now.Add(p.config.TokenTTL).Unix()
	d := p.draft(client.Alg, claims)
	d.Header["typ"] = kind
	token, err := d.sign()
	if err != nil { // its own key and plain claims: only a Person with unmarshalable claims comes here
		panic("idp: signing: " + err.Error())
	}
	return token
}

// refuse answers an OAuth error (RFC 6749, section 5.2).
func refuse(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
