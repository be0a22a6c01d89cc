package idp

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxForm bounds what a form may send.
const maxForm = 64 << 10

//go:embed page.html
var pageText string

//go:embed style.css
var style []byte

// page is what the provider shows: the people to choose from, or a message.
type page struct {
	Style   string
	Title   string
	Message string
	Action  string
	Fields  [][2]string // hidden, so that the choice comes back with its question
	People  []Person
}

// parameters are those of an authorization request that the page hands on.
var parameters = [...]string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"}

// authorize asks who it is and sends them back with a code (OpenID Connect Core 1.0, section 3.1.2).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.show(w, http.StatusBadRequest, "", page{Title: "Bad request", Message: "The request cannot be read."})
		return
	}
	ask := r.Form
	client, known := p.clients[ask.Get("client_id")]
	// Until the redirect URI is known to be the client's own, nothing may be sent there, errors included.
	if !known || !slices.Contains(client.RedirectURIs, ask.Get("redirect_uri")) {
		p.show(w, http.StatusBadRequest, "", page{Title: "Unknown application", Message: "This client_id and redirect_uri are not registered together."})
		return
	}
	if code, reason := refused(ask, client); code != "" {
		p.back(w, r, ask, url.Values{"error": {code}, "error_description": {reason}})
		return
	}
	person, chosen := p.chosen(r)
	if !chosen {
		if slices.Contains(strings.Fields(ask.Get("prompt")), "none") {
			p.back(w, r, ask, url.Values{"error": {"login_required"}})
			return
		}
		p.choose(w, ask)
		return
	}
	code, err := p.open(&grant{
		client: client.ID, subject: person.Subject, scopes: strings.Fields(ask.Get("scope")), nonce: ask.Get("nonce"),
		redirectURI: ask.Get("redirect_uri"), challenge: ask.Get("code_challenge"),
	})
	if err != nil {
		p.back(w, r, ask, url.Values{"error": {"temporarily_unavailable"}, "error_description": {err.Error()}})
		return
	}
	p.back(w, r, ask, url.Values{"code": {code}})
}

// refused gives the OAuth error of a request that cannot be granted, "" for one that can.
func refused(ask url.Values, client Client) (code, reason string) {
	for name, values := range ask {
		if len(values) > 1 { // RFC 6749 section 3.1
			return "invalid_request", name + " is repeated"
		}
	}
	method := ask.Get("code_challenge_method")
	switch {
	case ask.Get("response_type") != "code":
		return "unsupported_response_type", "use response_type=code"
	case !slices.Contains(strings.Fields(ask.Get("scope")), "openid"):
		return "invalid_scope", "the scope must contain openid"
	case ask.Get("code_challenge") != "" && method != "S256":
		return "invalid_request", "use code_challenge_method=S256"
	case ask.Get("code_challenge") == "" && client.Secret == "":
		return "invalid_request", "a public client must use PKCE"
	}
	return "", ""
}

// chosen is who signs in without being asked further: the button pressed, a hint that names somebody, or SignInAs.
func (p *Provider) chosen(r *http.Request) (Person, bool) {
	if r.Method == http.MethodPost {
		return p.person(r.PostForm.Get("person"))
	}
	if person, ok := p.person(r.Form.Get("login_hint")); ok {
		return person, true
	}
	p.mu.Lock()
	subject := p.signedIn
	p.mu.Unlock()
	return p.person(subject)
}

// choose shows the people.
func (p *Provider) choose(w http.ResponseWriter, ask url.Values) {
	view := page{Title: "Who are you?", Action: p.path + "/authorize"}
	for _, name := range parameters {
		if ask.Has(name) {
			view.Fields = append(view.Fields, [2]string{name, ask.Get(name)})
		}
	}
	p.mu.Lock()
	for _, person := range p.people {
		if !p.left[person.Subject] {
			view.People = append(view.People, person)
		}
	}
	p.mu.Unlock()
	p.show(w, http.StatusOK, ask.Get("redirect_uri"), view)
}

// back sends the browser to the client with the answer. It is called only with a registered redirect URI.
func (p *Provider) back(w http.ResponseWriter, r *http.Request, ask, answer url.Values) {
	answer.Set("iss", p.config.Issuer) // RFC 9207
	if ask.Has("state") {
		answer.Set("state", ask.Get("state"))
	}
	redirect(w, r, ask.Get("redirect_uri"), answer)
}

// redirect adds parameters to a URI and sends the browser there. 303 makes a POST a GET.
func redirect(w http.ResponseWriter, r *http.Request, uri string, add url.Values) {
	target, err := url.Parse(uri)
	if err != nil { // registered by the configuration, so this is its mistake
		http.Error(w, "The registered URI cannot be read.", http.StatusInternalServerError)
		return
	}
	query := target.Query()
	for name, values := range add {
		query[name] = values
	}
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

// show renders a page. Browsers apply form-action to the redirect behind a form too, so the client's origin is in it.
func (p *Provider) show(w http.ResponseWriter, status int, redirectURI string, view page) {
	formAction := "'self'"
	if u, err := url.Parse(redirectURI); err == nil && u.Host != "" {
		formAction += " " + u.Scheme + "://" + u.Host
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; style-src 'self'; form-action %s; frame-ancestors 'none'; base-uri 'none'", formAction))
	w.WriteHeader(status)
	view.Style = p.path + "/style.css"
	p.page.Execute(w, view) // the template is tested; the client may be gone
}

// newPage compiles the page.
func newPage() *template.Template {
	return template.Must(template.New("page").Parse(pageText)) // embedded, so a fault shows in every test
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Write(style) // the client may be gone
}
