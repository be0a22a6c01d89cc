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
	Service
	Process process

	PolicyFile, PolicyVersion, CatalogVersion string
	Teams                                     int
	Operations                                int
	Tokens                                    []identity.TokenInfo
	All                                       int          // tokens there are
	Find                                      string       // what the list is narrowed to
	Done                                      string       // what was asked for before and is done: connected, purged, revoked
	Fault                                     string       // why a credential is not connected
	Purge                                     purgeRequest // as it was asked for,
	PurgeFault                                string       // and why that cannot be
	Agree                                     string       // where the administrator agrees that an OAuth app is connected
	CanConnect                                bool
	Names                                     names
}

// maxTokensShown keeps the page of a company with thousands of tokens readable; the search finds the rest.
const maxTokensShown = 200

func (p *Portal) admin(v *visit) error { return p.showAdmin(v, http.StatusOK, adminView{}) }

// showAdmin answers with the page. What was asked for before, and how that went, is in view already.
func (p *Portal) showAdmin(v *visit, status int, view adminView) error {
	all, err := p.allTokens(v)
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	view.Service, view.Process, view.CanConnect = p.config.Service(v.r.Context()), thisProcess(), p.config.Connect != nil
	view.PolicyFile, view.PolicyVersion, view.CatalogVersion = v.rules.File(), v.rules.Version(), p.config.Catalog.Version()
	view.Teams, view.Operations = len(v.rules.TeamNames()), len(p.config.Catalog.Operations())
	view.Find, view.All, view.Names = strings.TrimSpace(query.Get("find")), len(all), p.names(v)
	view.Tokens = slices.DeleteFunc(all, func(info identity.TokenInfo) bool { return !mentions(info, view.Find) })
	view.Tokens = view.Tokens[:min(len(view.Tokens), maxTokensShown)]
	view.Done = query.Get("done")
	return p.show(v, status, "admin", "Administration", view)
}

// Offered are the projects that the form for the cache suggests.
func (v adminView) Offered() []named {
	all := v.Names.Projects()
	return all[:min(len(all), maxNamed)]
}

// Unconnected are the OAuth apps that somebody has to connect.
func (v adminView) Unconnected() (names []string) {
	for _, c := range v.Credentials {
		if c.Kind == OAuthCredential && !c.Healthy {
			names = append(names, c.Name)
		}
	}
	return names
}

// connectCommand is the command that connects an OAuth app.
func connectCommand(name string) snippet {
	return snippet{"connect-" + name, "Connect " + name, "gateway credential connect " + name + " --config gateway.yaml"}
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
