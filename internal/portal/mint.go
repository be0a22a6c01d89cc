package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
	"corp.example/gateway/internal/strictyaml"
)

// tokenRequest is what the form and the API ask for.
type tokenRequest struct {
	Name      string   `json:"name"`
	ExpiresIn string   `json:"expires_in"` // 12h or 90d, as in the configuration; "": as long as may be
	Team      string   `json:"team"`
	Scopes    []string `json:"scopes"`
	Projects  []string `json:"projects"`
}

// defaultExpiry is long enough to be no nuisance, and short enough that a forgotten token ends by itself.
const defaultExpiry = "30d"

// expiry is one choice of the form.
type expiry struct{ Value, Text string }

// expiries are the choices up to the longest there is.
func (p *Portal) expiries() []expiry {
	const day = 24 * time.Hour
	var choices []expiry
	for _, c := range []struct {
		length time.Duration
		text   string
	}{{time.Hour, "1 hour"}, {12 * time.Hour, "12 hours"}, {day, "1 day"}, {7 * day, "7 days"}, {30 * day, "30 days"}, {90 * day, "90 days"}} {
		if c.length < p.config.MaxTokenAge {
			choices = append(choices, expiry{strictyaml.Duration(c.length).String(), c.text})
		}
	}
	longest := strictyaml.Duration(p.config.MaxTokenAge).String()
	text := longest
	if days := p.config.MaxTokenAge / day; p.config.MaxTokenAge%day == 0 {
		text = count(int(days), "day")
	}
	return append(choices, expiry{longest, text + ", the longest there is"})
}

// mint makes a token for the caller; status is what the caller is told then.
func (p *Portal) mint(v *visit, asked tokenRequest, status int) (*createdToken, error) {
	request := identity.MintRequest{
		Owner: v.caller, Name: asked.Name, Limits: identity.Restriction{Team: asked.Team, Scopes: asked.Scopes, Projects: asked.Projects},
	}
	if asked.ExpiresIn != "" {
		var length strictyaml.Duration
		if err := length.UnmarshalText([]byte(asked.ExpiresIn)); err != nil {
			return nil, problem.New(http.StatusBadRequest, problem.BadRequest, "The expiry %s.", err)
		}
		request.Expires = v.now.Add(time.Duration(length))
	}
	if err := p.checkLimits(v, request.Limits); err != nil {
		return nil, err
	}
	var secret string
	var info identity.TokenInfo
	err := p.recorded(v, change{operation: tokenCreated, rule: ruleOwn, target: accountTarget(), detail: describe("", request.Name, request.Limits), status: status,
		do: func(c *change) (err error) {
			secret, info, err = p.config.Identity.Mint(v.r.Context(), request)
			c.detail = describe(info.ID, request.Name, request.Limits)
			return err
		}})
	if err != nil {
		return nil, err
	}
	p.config.Log.Info("token created", "request_id", v.id(), "token", info.ID, "issuer", info.Issuer, "subject", info.Subject, "expires", info.Expires)
	return &createdToken{secret, info}, nil
}

// accountTarget is what a record is about that concerns no project or organization.
func accountTarget() audit.Target { return audit.Target{Kind: catalog.Account.String()} }

// describe says in a record which token it is and what it gave up.
func describe(id, name string, limits identity.Restriction) string {
	text := strings.TrimSpace(fmt.Sprintf("token %s %q", id, name))
	if limits.Team != "" {
		text += ", as team " + limits.Team
	}
	if len(limits.Scopes) > 0 {
		text += ", scopes " + strings.Join(limits.Scopes, " ")
	}
	if len(limits.Projects) > 0 {
		text += ", projects " + strings.Join(limits.Projects, " ")
	}
	return text
}

// checkLimits refuses limits that name nothing, or a team that is not the caller's.
func (p *Portal) checkLimits(v *visit, limits identity.Restriction) error {
	if teams := v.rules.Teams(v.caller); limits.Team != "" && !slices.Contains(teams, limits.Team) {
		return invalidQuery("%.100q is none of your teams.", limits.Team)
	}
	return CheckLimits(p.config.Catalog, limits)
}

// CheckLimits refuses scopes and projects that there are not: a token that a typing mistake left without any right would be
// a riddle. "gateway token create" asks it, too.
func CheckLimits(cat *catalog.Catalog, limits identity.Restriction) error {
	known := slices.Concat(cat.Scopes(), cat.Permissions())
	for _, name := range limits.Scopes {
		if !namesSome(name, known) {
			suggestion := ""
			if near := strictyaml.Nearest(name[:min(len(name), 100)], slices.Values(known)); near != "" {
				suggestion = " Did you mean " + near + "?"
			}
			return invalidQuery("There is no scope or permission %.100q.%s", name, suggestion)
		}
	}
	for _, ref := range limits.Projects {
		if call, err := cat.Parse(http.MethodGet, "/v1/projects/"+ref); err != nil || call.Target.ID != ref {
			return invalidQuery("%.100q is no project reference: it is the word of twenty letters in the project's address.", ref)
		}
	}
	return nil
}

// namesSome reports whether a scope, or a pattern with "*" as policies have it, names any of the known ones.
func namesSome(pattern string, known []string) bool {
	if strings.ContainsAny(pattern, `?[\/`) { // would mean something to path.Match
		return false
	}
	return slices.ContainsFunc(known, func(name string) bool {
		matched, err := path.Match(pattern, name)
		return matched && err == nil
	})
}

// tokensOf lists the tokens that the caller may see as theirs.
func (p *Portal) tokensOf(v *visit) ([]identity.TokenInfo, error) {
	all, err := p.config.Identity.List(v.r.Context())
	return slices.DeleteFunc(all, func(info identity.TokenInfo) bool { return !owns(v.caller, info) }), err
}

// owns reports whether a token is the caller's to see and revoke. One that was made for less than its owner's rights is
// in other hands than the owner's, an agent's or a job's, and knows of itself only.
func owns(c *identity.Caller, info identity.TokenInfo) bool {
	if limited(c) {
		return info.ID == c.Token
	}
	return info.OwnedBy(c)
}

func limited(c *identity.Caller) bool {
	return c.Limits.Team != "" || len(c.Limits.Scopes) > 0 || len(c.Limits.Projects) > 0
}

// revoke ends a token of the caller's, or anybody's for an administrator. Another's is answered like none at all.
// status is what the client is told where it is done.
func (p *Portal) revoke(v *visit, id string, status int) error {
	unknown := problem.New(http.StatusNotFound, problem.UnknownOperation, "There is no such token of yours. It may have been revoked or have ended already.")
	info, err := p.findToken(v.r.Context(), id)
	if errors.Is(err, state.ErrNotFound) {
		return unknown
	}
	if err != nil {
		return err
	}
	if !owns(v.caller, info) && !v.rules.Admin(v.caller) {
		return unknown
	}
	rule := ruleOwn
	if !owns(v.caller, info) {
		rule = ruleAdmin
	}
	err = p.recorded(v, change{operation: tokenRevoked, rule: rule, target: accountTarget(), detail: describe(info.ID, info.Name, info.Limits), status: status,
		do: func(*change) error {
			_, err := p.config.Identity.Revoke(v.r.Context(), info.ID)
			if errors.Is(err, state.ErrNotFound) {
				return nil // somebody else was faster, or its time is over
			}
			return err
		}})
	if err != nil {
		return err
	}
	p.config.Log.Info("token revoked", "request_id", v.id(), "token", info.ID, "issuer", info.Issuer, "subject", info.Subject,
		"by_issuer", v.caller.Issuer, "by_subject", v.caller.Subject)
	return nil
}

// findToken returns a token by its public id. The token itself is not taken: it would stand in addresses and histories.
func (p *Portal) findToken(ctx context.Context, id string) (identity.TokenInfo, error) {
	info, err := p.config.Identity.Find(ctx, id)
	if err == nil && info.ID != id {
		err = state.ErrNotFound
	}
	return info, err
}
