package portal

import (
	"fmt"
	"net/http"

	"corp.example/gateway/internal/problem"
)

// cliView is the page that "supabase login" opens.
type cliView struct {
	Session   string
	PublicKey string
	TokenName string
	Code      string // the verification code, once agreed
}

// askCLI asks whether it was this person who ran "supabase login": the link may have been sent by somebody else, who
// would get the token if they were told the code.
func (p *Portal) askCLI(v *visit) error {
	query := v.r.URL.Query()
	if query.Get("session_id") == "" || query.Get("public_key") == "" {
		return problem.New(http.StatusBadRequest, problem.BadRequest, "This login link is not complete. Run supabase login again and open the whole link.")
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
