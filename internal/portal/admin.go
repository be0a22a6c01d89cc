package portal

import (
	"net/http"
	"slices"
	"strings"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// adminView is the page of the service's state.
type adminView struct {
	PolicyFile, PolicyVersion, CatalogVersion string
	Teams                                     int
	Operations                                int
	Credentials                               []Credential
	Tokens                                    []identity.TokenInfo
	All                                       int    // tokens there are
	Find                                      string // what the list is narrowed to
	Notice                                    string
}

// maxTokensShown keeps the page of a company with thousands of tokens readable; the search finds the rest.
const maxTokensShown = 200

func (p *Portal) admin(v *visit) error {
	all, err := p.allTokens(v)
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	view := adminView{
		PolicyFile: v.rules.File(), PolicyVersion: v.rules.Version(), CatalogVersion: p.config.Catalog.Version(),
		Teams: len(v.rules.TeamNames()), Operations: len(p.config.Catalog.Operations()),
		Find: strings.TrimSpace(query.Get("find")), All: len(all),
	}
	view.Tokens = slices.DeleteFunc(all, func(info identity.TokenInfo) bool { return !mentions(info, view.Find) })
	view.Tokens = view.Tokens[:min(len(view.Tokens), maxTokensShown)]
	if p.config.Credentials != nil {
		view.Credentials = p.config.Credentials()
	}
	if query.Get("done") == "revoked" {
		view.Notice = "The token is revoked."
	}
	return p.show(v, http.StatusOK, "admin", "Administration", view)
}

// allTokens lists everybody's tokens, for administrators.
func (p *Portal) allTokens(v *visit) ([]identity.TokenInfo, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	return p.config.Identity.List(v.r.Context())
}

func (v *visit) adminOnly() error {
	if v.rules.Admin(v.caller) {
		return nil
	}
	return problem.New(http.StatusForbidden, problem.Denied, "This is for the administrators of the gateway: the members of a team with admin: true in its policy.")
}

func mentions(info identity.TokenInfo, text string) bool {
	return text == "" || slices.ContainsFunc([]string{info.ID, info.Name, info.Subject, info.Email, info.Issuer}, func(field string) bool {
		return strings.Contains(strings.ToLower(field), strings.ToLower(text))
	})
}
