package portal

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// parameters are those in the address of a call. A name that is not known, or given twice, is refused: what is misspelt
// must not be answered as if it had not been asked.
func (v *visit) parameters(known ...string) (url.Values, error) {
	values := v.r.URL.Query()
	for name, given := range values {
		switch {
		case len(known) == 0:
			return nil, invalidQuery("%.40q is no parameter: this address takes none.", name)
		case !slices.Contains(known, name):
			return nil, invalidQuery("%.40q is no parameter: there are %s.", name, strings.Join(known, ", "))
		case len(given) > 1:
			return nil, invalidQuery("%s is given %d times.", name, len(given))
		}
	}
	return values, nil
}

// decode reads the body, one JSON object whose fields into has, and says in the client's words what is wrong with it.
func (v *visit) decode(into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(v.w, v.r.Body, maxForm))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			return invalidQuery("The body goes on after its JSON object.")
		}
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown { // there is no type for it
		return invalidQuery("The body has a field %.40s: there are %s.", name, strings.Join(fieldsOf(into), ", "))
	}
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.As(err, &kind) && kind.Field == "":
		return invalidQuery("The body must be a JSON object, with %s.", strings.Join(fieldsOf(into), ", "))
	case kind != nil:
		return invalidQuery("The body's %s must not be a %s.", kind.Field, kind.Value)
	}
	return unreadable(err)
}

// fieldsOf are the JSON names in a pointer to a struct.
func fieldsOf(into any) (names []string) {
	t := reflect.TypeOf(into).Elem()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}

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
	if _, err := v.parameters(); err != nil {
		return err
	}
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
	if _, err := v.parameters(); err != nil {
		return err
	}
	known := p.names(v)
	return v.json(http.StatusOK, struct {
		policy.Access
		Contact       string  `json:"contact,omitempty"` // whom somebody without a team should ask
		Projects      []named `json:"projects"`          // what the caller sees by name
		Organizations []named `json:"organizations"`
	}{v.rules.Access(v.caller, v.now), v.rules.Contact(), known.Projects(), known.Organizations()})
}

func (p *Portal) apiExplain(v *visit) error {
	if _, err := v.parameters("method", "path", "team"); err != nil {
		return err
	}
	found, err := p.explain(v, questionOf(v.r))
	if err != nil {
		return err
	}
	return v.json(http.StatusOK, found)
}

// apiTokens lists the caller's tokens; ?all=true is everybody's, for administrators.
func (p *Portal) apiTokens(v *visit) error {
	values, err := v.parameters("all")
	if err != nil {
		return err
	}
	list := p.tokensOf
	switch all := values.Get("all"); all {
	case "", "false":
	case "true":
		list = p.allTokens
	default:
		return invalidQuery("all: true or false, not %.20q.", all)
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
	if err := v.decode(&asked); err != nil {
		return err
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
