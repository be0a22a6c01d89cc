package portal

import (
	"encoding/json"
	"net/http"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// whoami is the answer of /-/api/whoami.
type whoami struct {
	Kind    identity.Kind         `json:"kind"`
	Issuer  string                `json:"issuer,omitempty"`
	Subject string                `json:"subject"`
	Email   string                `json:"email,omitempty"`
	Name    string                `json:"name,omitempty"`
	Groups  []string              `json:"groups"`
	Teams   []string              `json:"teams"`
	Admin   bool                  `json:"admin"`
	Token   string                `json:"token,omitempty"`
	Limits  *identity.Restriction `json:"limits,omitempty"`
	Expires time.Time             `json:"expires,omitzero"`
}

func (p *Portal) apiWhoami(v *visit) error {
	c := v.caller
	answer := whoami{
		Kind: c.Kind, Issuer: c.Issuer, Subject: c.Subject, Email: c.Email, Name: c.Name, Groups: nonNil(c.Groups),
		Teams: nonNil(v.rules.Teams(c)), Admin: v.rules.Admin(c), Token: c.Token, Expires: c.Expires,
	}
	if limited(c) {
		answer.Limits = &c.Limits
	}
	return v.json(http.StatusOK, answer)
}

func (p *Portal) apiAccess(v *visit) error {
	known := p.names(v)
	return v.json(http.StatusOK, struct {
		policy.Access
		Contact       string  `json:"contact,omitempty"` // whom somebody without a team should ask
		Projects      []named `json:"projects"`          // what the caller sees by name
		Organizations []named `json:"organizations"`
	}{v.rules.Access(v.caller, v.now), v.rules.Contact(), known.Projects(), known.Organizations()})
}

func (p *Portal) apiExplain(v *visit) error {
	found, err := p.explain(v, questionOf(v.r))
	if err != nil {
		return err
	}
	return v.json(http.StatusOK, found)
}

// apiTokens lists the caller's tokens; ?all=true is everybody's, for administrators.
func (p *Portal) apiTokens(v *visit) error {
	list := p.tokensOf
	if v.r.URL.Query().Get("all") == "true" {
		list = p.allTokens
	}
	tokens, err := list(v)
	if err != nil {
		return err
	}
	if tokens == nil {
		tokens = []identity.TokenInfo{}
	}
	return v.json(http.StatusOK, map[string]any{"tokens": tokens})
}

// apiCreateToken is the only answer that ever holds the token.
func (p *Portal) apiCreateToken(v *visit) error {
	var asked tokenRequest
	decoder := json.NewDecoder(http.MaxBytesReader(v.w, v.r.Body, maxForm))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return unreadable(err)
	}
	created, err := p.mint(v, asked, http.StatusCreated)
	if err != nil {
		return err
	}
	return v.json(http.StatusCreated, struct {
		Token string `json:"token"`
		identity.TokenInfo
	}{created.Secret, created.Info})
}

func (p *Portal) apiRevokeToken(v *visit) error {
	if err := p.revoke(v, v.parameter, http.StatusNoContent); err != nil {
		return err
	}
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}
