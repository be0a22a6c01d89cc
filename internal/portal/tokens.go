package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// tokensView is the page of one's own tokens.
type tokensView struct {
	Tokens   []identity.TokenInfo
	Created  *createdToken
	Fault    string // why the form was refused
	Asked    tokenRequest
	Notice   string
	Expiries []expiry
	Teams    []string
	Scopes   []string // the catalogue's
	Projects []string // those to choose from
	Names    names
}

// createdToken is a token at the one moment it can be shown.
type createdToken struct {
	Secret string
	Info   identity.TokenInfo
}

func (p *Portal) tokens(v *visit) error {
	view := tokensView{Asked: tokenRequest{ExpiresIn: defaultExpiry}}
	if v.r.URL.Query().Get("done") == "revoked" {
		view.Notice = "The token is revoked. Whatever still uses it is refused from now on."
	}
	return p.showTokens(v, http.StatusOK, view)
}

// showTokens fills in what every form of the page needs.
func (p *Portal) showTokens(v *visit, status int, view tokensView) (err error) {
	if view.Tokens, err = p.tokensOf(v); err != nil {
		return err
	}
	view.Expiries, view.Teams = p.expiries(), v.rules.Teams(v.caller)
	view.Names, view.Scopes = p.names(v), p.config.Catalog.Scopes()
	view.Projects = p.offeredProjects(v, view.Names)
	return p.show(v, status, "tokens", "Tokens", view)
}

// createToken answers the form with the token itself, not with a redirect: there is nowhere it could be kept.
func (p *Portal) createToken(v *visit) error {
	asked := tokenRequest{
		Name: v.r.PostForm.Get("name"), ExpiresIn: v.r.PostForm.Get("expires_in"), Team: v.r.PostForm.Get("team"),
		Scopes:   append(v.r.PostForm["scope"], words(v.r.PostForm.Get("more_scopes"))...),
		Projects: append(v.r.PostForm["project"], words(v.r.PostForm.Get("more_projects"))...),
	}
	created, err := p.mint(v, asked, http.StatusOK)
	if err == nil {
		return p.showTokens(v, http.StatusOK, tokensView{Created: created, Asked: tokenRequest{ExpiresIn: defaultExpiry}})
	}
	if fault := problem.From(err); fault.Status == http.StatusBadRequest {
		return p.showTokens(v, fault.Status, tokensView{Fault: fault.Message, Asked: asked})
	}
	return err
}

// revokeToken ends a token and goes back to the list it was pressed in.
func (p *Portal) revokeToken(v *visit) error {
	if err := p.revoke(v, v.r.PostForm.Get("id"), http.StatusSeeOther); err != nil {
		return err
	}
	if v.r.PostForm.Get("from") == "admin" {
		kept := url.Values{"done": {"revoked"}}
		if find := v.r.PostForm.Get("find"); find != "" {
			kept.Set("find", find)
		}
		return v.redirect(adminPath + "?" + kept.Encode() + "#tokens")
	}
	return v.redirect(tokensPath + "?done=revoked")
}

// words splits what was typed into a field for several.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

// offeredProjects are the projects to choose from: those the caller sees by name, and those that its grants name.
func (p *Portal) offeredProjects(v *visit, known names) []string {
	var refs []string
	for _, project := range known.Projects() {
		refs = append(refs, project.ID)
	}
	refs = refs[:min(len(refs), maxNamed)]
	for _, ref := range p.grantedProjects(v) {
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// grantedProjects are the projects that the caller's grants name.
func (p *Portal) grantedProjects(v *visit) []string {
	var refs []string
	for _, team := range v.rules.Access(v.caller, v.now).Teams {
		for _, grant := range team.Allow {
			refs = append(refs, grant.Projects...)
		}
	}
	slices.Sort(refs)
	return slices.DeleteFunc(slices.Compact(refs), func(ref string) bool { return ref == "*" })
}

// Chosen report what a refused form had chosen, so that it need not be filled in again.
func (v tokensView) ChosenScope(name string) bool  { return slices.Contains(v.Asked.Scopes, name) }
func (v tokensView) ChosenProject(ref string) bool { return slices.Contains(v.Asked.Projects, ref) }

// MoreScopes and MoreProjects are what was typed beside what the form offers.
func (v tokensView) MoreScopes() string   { return beside(v.Asked.Scopes, v.Scopes) }
func (v tokensView) MoreProjects() string { return beside(v.Asked.Projects, v.Projects) }

func beside(chosen, offered []string) string {
	var rest []string
	for _, name := range chosen {
		if !slices.Contains(offered, name) {
			rest = append(rest, name)
		}
	}
	return strings.Join(rest, " ")
}
