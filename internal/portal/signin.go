package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// signInView is the page a stranger sees.
type signInView struct {
	Note    string // why they see it, where that is not plain
	CLI     bool   // they came from "supabase login"
	Buttons []signInButton
}

type signInButton struct{ Issuer, Path string }

// showSignIn answers a stranger, in the place of the page they asked for.
func (p *Portal) showSignIn(v *visit, reason error) error {
	view := signInView{CLI: v.path == cliLoginPath}
	var refusal *identity.Refusal
	if errors.As(reason, &refusal) {
		switch refusal.Reason {
		case identity.Suspended:
			view.Note = "Your account may not use this gateway any more. If that is a mistake, ask whoever runs your sign-in; once they have you back, sign in again."
		case identity.Reauthenticate:
			view.Note = "You have not signed in for a long time. Sign in again to go on."
		}
	}
	if !v.reads() {
		view.Note = "Your session has ended, so nothing was done. Sign in and do it again."
	}
	for _, issuer := range p.config.Identity.SignInIssuers() {
		query := url.Values{"issuer": {issuer}, "return": {v.returnPath()}}
		view.Buttons = append(view.Buttons, signInButton{issuer, signInPath + "?" + query.Encode()})
	}
	status := http.StatusUnauthorized
	v.w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 section 11.6.1; browsers show the page
	if v.path == homePath {
		status = http.StatusOK // here it is what was asked for
		v.w.Header().Del("WWW-Authenticate")
	}
	return p.show(v, status, "signin", "Sign in", view)
}

// returnPath is where to go on after the sign-in. The query is encoded anew, since clients leave more characters as they
// are than a return path may hold; identity checks it.
func (v *visit) returnPath() string {
	if !v.reads() {
		return homePath
	}
	if query := v.r.URL.Query().Encode(); query != "" {
		return v.path + "?" + query
	}
	return v.path
}

// signIn sends the browser to the identity provider. It is a link and no form: a page's policy on where forms may lead
// would hold for the redirect too.
func (p *Portal) signIn(v *visit) error {
	if strings.EqualFold(v.r.Header.Get("Sec-Fetch-Site"), "cross-site") {
		return v.redirect(homePath) // nobody else's page begins a sign-in here: it shows the button instead
	}
	query := v.r.URL.Query()
	to, err := p.config.Identity.Begin(v.w, v.r, query.Get("issuer"), query.Get("return"))
	if err != nil {
		return err
	}
	return v.redirect(to)
}

// callback is where the identity provider sends the browser back to.
func (p *Portal) callback(v *visit) error {
	to, err := p.config.Identity.Complete(v.w, v.r, p.config.TrustedProxies.Of(v.r))
	if err != nil {
		return err
	}
	return v.redirect(to)
}

// signOut ends the session, and then the one at the identity provider where it offers that. The page leads there by
// itself: a redirect of the form's answer would be held to where forms may lead.
func (p *Portal) signOut(v *visit) error {
	onward, err := p.config.Identity.End(v.w, v.r)
	if err != nil {
		return err
	}
	v.session, v.caller = nil, nil
	if onward != homePath {
		v.w.Header().Set("Refresh", "0; url="+onward)
	}
	return p.show(v, http.StatusOK, "signedout", "Signed out", onward)
}

// problemView is the page for an error.
type problemView struct {
	Message string
	Missing []string
}

// headings are what problems are called on pages.
var headings = map[int]string{
	http.StatusBadRequest:            "That cannot be done",
	http.StatusUnauthorized:          "Not signed in",
	http.StatusForbidden:             "Not allowed",
	http.StatusNotFound:              "Nothing here",
	http.StatusMethodNotAllowed:      "Not this way",
	http.StatusRequestEntityTooLarge: "Too much at once",
	http.StatusTooManyRequests:       "Too many attempts",
	http.StatusServiceUnavailable:    "Not at the moment",
}

// showProblem answers with a page that says what is wrong and what to do.
func (p *Portal) showProblem(v *visit, answer *problem.Error) error {
	for name, values := range answer.Header {
		v.w.Header()[name] = values
	}
	heading := headings[answer.Status]
	if heading == "" {
		heading = "Something went wrong"
	}
	return p.show(v, answer.Status, "problem", heading, problemView{answer.Message, answer.Missing})
}
