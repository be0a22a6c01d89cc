package portal

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// maxForm bounds a form or a JSON body: the largest is a token with every limit filled in.
const maxForm = 64 << 10

// visit is one request and what is known of it so far.
type visit struct {
	w         http.ResponseWriter
	r         *http.Request
	path      string // as it came
	parameter string // last segment of a path that has one
	session   *identity.Session
	caller    *identity.Caller // nil: a stranger
	rules     *policy.Policy   // in force when the request came
	now       time.Time
}

// id is the request's id, which the server has put on the answer.
func (v *visit) id() string { return v.w.Header().Get("X-Request-Id") }

// reads reports whether the request asks for a page and changes nothing.
func (v *visit) reads() bool { return v.r.Method == http.MethodGet || v.r.Method == http.MethodHead }

// isAPI reports whether errors are answered as JSON.
func (v *visit) isAPI() bool {
	return strings.HasPrefix(v.path, apiPath) || strings.HasPrefix(v.path, cliPollPath)
}

// ServeHTTP answers one request. It is the only place where errors become answers.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, path: r.URL.EscapedPath(), rules: p.config.Policy(), now: time.Now()}
	if err := p.serve(v); err != nil {
		p.fail(v, err)
	}
}

func (p *Portal) serve(v *visit) error {
	found, parameter, err := p.find(v.r.Method, v.path)
	if err != nil {
		return err
	}
	v.parameter = parameter
	if err := p.admit(v, found.who); err != nil {
		return err
	}
	return found.serve(v)
}

// admit makes sure that who comes is who the route asks for.
func (p *Portal) admit(v *visit, asked who) (err error) {
	switch asked {
	case person, form:
		if v.session, err = p.config.Identity.Session(v.r); err != nil {
			return signInFirst(err)
		}
		v.caller = v.session.Caller
	case bearer:
		v.caller, err = p.config.Identity.Authenticate(v.r.Context(), v.r.Header["Authorization"], p.config.TrustedProxies.Of(v.r))
	}
	if err == nil && asked == form {
		err = p.checkForm(v)
	}
	return err
}

// checkForm refuses a form that no page of this session sent: first by what the browser says of where it comes from,
// then by the token that only such a page holds.
func (p *Portal) checkForm(v *visit) error {
	if err := p.origins.Check(v.r); err != nil {
		return problem.New(http.StatusForbidden, problem.CSRF,
			"This form was sent by another site, so nothing was done. Open the portal and do it there.").Because(err)
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return unreadable(err)
	}
	return v.session.CheckCSRF(v.r.PostForm.Get("csrf"))
}

// unreadable is the answer to a body that is too long or broken.
func unreadable(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, "At most %d bytes are taken here.", long.Limit).Because(err)
	}
	return problem.New(http.StatusBadRequest, problem.BadRequest, "What was sent cannot be read: %v.", err)
}

// signedOut is an error that the sign-in page answers.
type signedOut struct{ error }

func (e signedOut) Unwrap() error { return e.error }

// signInFirst marks what signing in would mend.
func signInFirst(err error) error {
	if problem.From(err).Status == http.StatusUnauthorized {
		return signedOut{err}
	}
	return err
}

// fail answers with an error: a page for people, JSON for tools.
func (p *Portal) fail(v *visit, err error) {
	answer := problem.From(err)
	switch {
	case answer.Status >= 500:
		p.config.Log.Error("portal", "request_id", v.id(), "method", v.r.Method, "error", err)
	case !errors.As(err, &signedOut{}):
		p.config.Log.Info("portal refused", "request_id", v.id(), "method", v.r.Method, "error", err)
	}
	if v.isAPI() {
		problem.Write(v.w, v.id(), err)
		return
	}
	if errors.As(err, &signedOut{}) {
		err = p.showSignIn(v, err)
	} else {
		err = p.showProblem(v, answer)
	}
	if err != nil { // not even this page can be made; its template is at fault
		p.config.Log.Error("portal", "request_id", v.id(), "error", err)
		problem.Write(v.w, v.id(), err)
	}
}

// redirect sends the browser to a path of ours, or to where identity says. 303 makes a POST a GET.
func (v *visit) redirect(to string) error {
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

func toHome(v *visit) error { return v.redirect(homePath) }
