package portal

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/problem"
)

// cliView is the page that "supabase login" opens.
type cliView struct {
	Session   string
	PublicKey string
	TokenName string
	Code      string // the verification code, once agreed
}

// linkView is the page for people whose CLI shows a link to somewhere else.
type linkView struct {
	Link  string // as it was pasted
	Fault string // why it leads nowhere
}

// maxPastedLink bounds what is looked at: a link has some 300 characters.
const maxPastedLink = 4096

// pasteLink asks for the link that "supabase login" shows: version 3.1 puts supabase.com in front of it, whatever the
// profile says.
func (p *Portal) pasteLink(v *visit) error {
	return p.show(v, http.StatusOK, "clilink", "Sign in the Supabase CLI", linkView{})
}

// followLink leads from a pasted link to the same one here.
func (p *Portal) followLink(v *visit) error {
	pasted := v.r.PostForm.Get("link")
	here, ok := loginLinkHere(pasted)
	if !ok {
		return p.show(v, http.StatusBadRequest, "clilink", "Sign in the Supabase CLI", linkView{Link: pasted,
			Fault: "This is not the link that supabase login shows. Copy all of it, from https:// to its end, over all the lines it takes."})
	}
	return v.redirect(here)
}

// loginLinkHere is the address at this gateway of the login that a link, or its end, speaks of. Of the link nothing is taken
// over but what the login page itself checks, so that it leads nowhere else.
func loginLinkHere(pasted string) (path string, ok bool) {
	if len(pasted) > maxPastedLink {
		return "", false
	}
	text := strings.Join(strings.Fields(pasted), "") // terminals break long lines
	before, query, found := strings.Cut(text, "?")
	if !found || !strings.HasSuffix(before, cliLoginPath) {
		return "", false
	}
	values, err := url.ParseQuery(query)
	if err != nil || identity.CheckLoginLink(values.Get("session_id"), values.Get("public_key")) != nil {
		return "", false
	}
	kept := url.Values{}
	for _, name := range []string{"session_id", "public_key", "token_name"} {
		if value := values.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	return cliLoginPath + "?" + kept.Encode(), true
}

// askCLI asks whether it was this person who ran "supabase login": the link may have been sent by somebody else, who
// would get the token if they were told the code.
func (p *Portal) askCLI(v *visit) error {
	query := v.r.URL.Query()
	if err := identity.CheckLoginLink(query.Get("session_id"), query.Get("public_key")); err != nil {
		return problem.New(http.StatusBadRequest, problem.BadRequest, "This login link is not complete. Run supabase login again and open the whole link.").Because(err)
	}
	return p.show(v, http.StatusOK, "cli", "Sign in the Supabase CLI",
		cliView{Session: query.Get("session_id"), PublicKey: query.Get("public_key"), TokenName: query.Get("token_name")})
}

// agreeCLI lets the CLI have a token and shows the code to type there.
func (p *Portal) agreeCLI(v *visit) error {
	sent := v.r.PostForm
	var code string
	err := p.recorded(v, change{operation: tokenCreated, rule: ruleOwn, target: accountTarget(), status: http.StatusOK,
		detail: fmt.Sprintf("token %q, which supabase login fetches with a code", sent.Get("token_name")),
		do: func(*change) (err error) {
			code, err = p.config.Identity.BeginCLI(v.r.Context(), sent.Get("session_id"), sent.Get("public_key"), sent.Get("token_name"), v.caller)
			return err
		}})
	if err != nil {
		return err
	}
	return p.show(v, http.StatusOK, "cli", "Sign in the Supabase CLI", cliView{Code: code, TokenName: sent.Get("token_name")})
}

// pollCLI is the CLI fetching its token with the code. It comes without any other proof.
func (p *Portal) pollCLI(v *visit) error {
	answer, err := p.config.Identity.PollCLI(v.r.Context(), v.parameter, v.r.URL.Query().Get("device_code"), p.config.TrustedProxies.Of(v.r))
	if err != nil {
		return err
	}
	return v.json(http.StatusOK, answer)
}
