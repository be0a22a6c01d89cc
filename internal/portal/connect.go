package portal

import (
	"net/http"
	"strings"
)

// connect begins to connect an OAuth credential. The page that answers leads to Supabase by a link, since a form's own
// redirect must not leave this site.
func (p *Portal) connect(v *visit) error {
	if err := v.adminOnly(); err != nil {
		return err
	}
	name := strings.TrimSpace(v.r.PostForm.Get("name"))
	address, err := p.config.Connect(v.r.Context(), name, p.publicURL+connectedURL, v.who())
	if err != nil {
		p.config.Log.Warn("credential not connected", "request_id", v.id(), "credential", name, "error", err)
		return p.showAdmin(v, http.StatusBadRequest, adminView{Fault: "That credential cannot be connected: " + err.Error()})
	}
	return p.showAdmin(v, http.StatusOK, adminView{Agree: address})
}

// connected is where Supabase sends the browser back to, whether or not its person agreed.
func (p *Portal) connected(v *visit) error {
	if err := v.adminOnly(); err != nil {
		return err
	}
	answer := v.r.URL.Query()
	if answer.Get("error") != "" {
		return p.showAdmin(v, http.StatusBadRequest, adminView{Fault: "Nothing was connected: Supabase says that it was not agreed to."})
	}
	err := p.recorded(v, change{operation: appConnected, rule: ruleAdmin, target: accountTarget(), status: http.StatusSeeOther, do: func(c *change) error {
		name, err := p.config.Connected(v.r.Context(), v.who(), answer)
		if name != "" {
			c.detail = "credential " + name
		}
		return err
	}})
	if err != nil {
		p.config.Log.Warn("credential not connected", "request_id", v.id(), "error", err)
		return p.showAdmin(v, http.StatusBadGateway, adminView{Fault: "The credential is not connected: " + err.Error()})
	}
	return v.redirect(adminPath + "?done=connected")
}

// who names the visitor: a subject belongs to its issuer.
func (v *visit) who() string { return v.caller.Issuer + "|" + v.caller.Subject }
