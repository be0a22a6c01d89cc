package portal

import (
	"cmp"
	"net/http"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// homeView is the first page.
type homeView struct {
	Caller  *identity.Caller
	Name    string
	Ends    time.Time // of the session
	Teams   []policy.TeamAccess
	Admin   bool
	Example string // for somebody without a team: what a call of theirs is answered
	Contact string // whom somebody without a team should ask, "" where the policy does not say
	Clients []client
}

func (p *Portal) home(v *visit) error {
	access := v.rules.Access(v.caller, v.now)
	view := homeView{
		Caller: v.caller, Name: nameOf(v.caller), Ends: v.session.Expires, Teams: access.Teams, Admin: access.Admin, Clients: p.clients(),
		Contact: v.rules.Contact(),
	}
	if len(access.Teams) == 0 {
		// The refusal is the one they will meet, and it names whom to ask.
		if op := p.config.Catalog.Lookup("v1-list-all-projects"); op != nil {
			view.Example = v.rules.Decide(v.caller, "", policy.Request{Op: op}, v.now).Reason
		}
	}
	return p.show(v, http.StatusOK, "home", "Home", view)
}

// nameOf is how a caller is called on pages.
func nameOf(c *identity.Caller) string { return cmp.Or(c.Name, c.Email, c.Subject) }
