package idp

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// userInfo tells of the person behind an access token (OpenID Connect Core 1.0, section 5.3).
func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	claims, ok := p.verify(token)
	expires, _ := claims["exp"].(float64)
	if !ok || !strings.EqualFold(scheme, "Bearer") || time.Now().Unix() >= int64(expires) {
		p.refuseToken(w)
		return
	}
	subject, _ := claims["sub"].(string)
	person, known := p.person(subject)
	if !known {
		p.refuseToken(w)
		return
	}
	writeJSON(w, http.StatusOK, p.fullClaims(person))
}

func (p *Provider) refuseToken(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	refuse(w, http.StatusUnauthorized, "invalid_token", "the access token is not valid, or its owner has left")
}

// verify checks that a token is one of the provider's own, and returns its claims whether or not it has expired.
func (p *Provider) verify(token string) (map[string]any, bool) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{RS256, ES256})
	if err != nil {
		return nil, false
	}
	payload, err := signed.Verify(p.published())
	if err != nil {
		return nil, false
	}
	var claims map[string]any
	return claims, json.Unmarshal(payload, &claims) == nil && claims["iss"] == p.config.Issuer
}

// revoke ends the grant of a refresh token (RFC 7009). An access token says for itself how long it lives.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	p.close(r.PostForm.Get("token"), client.ID)
	w.WriteHeader(http.StatusOK)
}

// endSession signs a person out (OpenID Connect RP-Initiated Logout 1.0): the grant behind the ID token ends.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.show(w, http.StatusBadRequest, "", page{Title: "Bad request", Message: "The request cannot be read."})
		return
	}
	clientID := r.Form.Get("client_id")
	if claims, own := p.verify(r.Form.Get("id_token_hint")); own {
		sid, _ := claims["sid"].(string)
		issuedTo, _ := claims["azp"].(string)
		if clientID == "" {
			clientID = issuedTo
		}
		p.close(sid, issuedTo)
	}
	target := r.Form.Get("post_logout_redirect_uri")
	if target != "" && slices.Contains(p.clients[clientID].RedirectURIs, target) {
		answer := url.Values{}
		if state := r.Form.Get("state"); state != "" {
			answer.Set("state", state)
		}
		redirect(w, r, target, answer)
		return
	}
	p.show(w, http.StatusOK, "", page{Title: "Signed out", Message: "You are signed out. You may close this window."})
}
