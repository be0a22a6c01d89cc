package identity

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/problem"
)

// Reason says why a credential was refused. The set is closed: audit lines and metrics use it.
type Reason string

// The reasons.
const (
	Missing        Reason = "missing"         // no Authorization header
	Malformed      Reason = "malformed"       // not one Bearer credential of a known form
	Foreign        Reason = "foreign"         // looks like a Supabase token that was not made here: a mistake, or a leak
	UnknownToken   Reason = "unknown_token"   // made like ours, but never minted, or revoked
	UnknownIssuer  Reason = "unknown_issuer"  // a JWT from an issuer that is not configured
	BadSignature   Reason = "bad_signature"   // signature, algorithm or key do not fit
	WrongAudience  Reason = "wrong_audience"  // meant for another service
	Expired        Reason = "expired"         // was good
	NotYetValid    Reason = "not_yet_valid"   // will be good
	BadClaims      Reason = "bad_claims"      // signed, but without what identifies somebody
	GroupsOverage  Reason = "groups_overage"  // the issuer left the groups out because there were too many
	Reauthenticate Reason = "reauthenticate"  // its owner has not signed in for too long
	Suspended      Reason = "suspended"       // its owner may not use the gateway any more
	Unavailable    Reason = "unavailable"     // the issuer or the state could not be asked
	SignInState    Reason = "sign_in_state"   // a sign-in that was not begun in this browser, is too old, or was used
	SignInRefused  Reason = "sign_in_refused" // the identity provider said no
	LoginCode      Reason = "login_code"      // "supabase login" polled with an unknown session or a wrong verification code
)

// Refusal is the log's side of a refused credential: it travels as the Err of the *problem.Error, where errors.As finds
// it. It never carries the credential.
type Refusal struct {
	Reason Reason
	Issuer string // the configured issuer it claims to come from, "" where there is none
	Token  string // public id of the minted token, "" where there is none
	Err    error  // further detail, may be nil
}

func (r *Refusal) Error() string {
	text := "credential refused: " + string(r.Reason)
	if r.Issuer != "" {
		text += " (issuer " + r.Issuer + ")"
	}
	if r.Token != "" {
		text += " (token " + r.Token + ")"
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

func (r *Refusal) Unwrap() error { return r.Err }

// hints is what a client is told. It says what to do, and of the check that failed only what a stranger may know:
// anything past the signature is told to somebody who holds a genuine token. {token} and {portal} stand for where the
// person goes, see hintsOf.
var hints = map[Reason]string{
	Missing:        "This gateway needs your company identity: send Authorization: Bearer with a token of the gateway's or of your identity provider's. {token}.",
	Malformed:      "The Authorization header must be given once, as: Bearer TOKEN.",
	Foreign:        "This is not a token of this gateway. If it is a Supabase access token, do not send it here: the gateway holds the upstream credential itself. {token}, and revoke the other if it was not meant to leave its place.",
	UnknownToken:   "This token is not known, or no longer: it may have expired or been revoked. {token}.",
	UnknownIssuer:  "This token does not come from an identity provider that this gateway knows.",
	BadSignature:   "This token is not valid.",
	WrongAudience:  "This token is meant for another service: ask your identity provider for one with this gateway's audience.",
	Expired:        "This token has expired: get a new one.",
	NotYetValid:    "This token is not valid yet: check the clock of the machine that issued it.",
	BadClaims:      "This token does not say whom it stands for, or not in a form that can be read.",
	GroupsOverage:  "Your identity provider left your groups out of the token because there are too many. Ask its administrator to send only the groups assigned to this application.",
	Reauthenticate: "The owner of this token has not signed in for too long: sign in once at {portal}, and it works again.",
	Suspended:      "The owner of this token may not use this gateway any more: their identity provider no longer vouches for them. If it does again, they sign in once at {portal}.",
	SignInState:    "This sign-in was not begun in this browser, is too old, or was already used. Begin again.",
	LoginCode:      "The verification code is wrong or too old. Check it, or run supabase login again.",
	SignInRefused:  "The identity provider did not sign you in. Begin again, or ask its administrator.",
}

// retryUnavailable is when to ask again where the state or an issuer did not answer: most such outages are hiccups.
const retryUnavailable = time.Second

// hintsOf returns the hints of this gateway. Who reads them sits before a terminal, with no link to the portal; and where
// nobody can sign in to one, its operators make the tokens.
func hintsOf(c Config) map[Reason]string {
	portal := c.PublicURL + "/-/"
	token := "Ask the platform team for a token of your own"
	if slices.ContainsFunc(c.Issuers, func(i Issuer) bool { return i.Client != nil }) {
		token = "Make a token of your own at " + portal
	}
	filled := make(map[Reason]string, len(hints))
	for reason, hint := range hints {
		filled[reason] = strings.NewReplacer("{token}", token, "{portal}", portal).Replace(hint)
	}
	return filled
}

// refuse makes the answer for a refused credential: 401, or 503 where it could not be judged.
func (s *Service) refuse(r *Refusal) *problem.Error {
	if r.Reason == Unavailable {
		return unjudged(r)
	}
	p := problem.New(http.StatusUnauthorized, problem.Unauthenticated, "%s", s.hints[r.Reason]).Because(r)
	challenge := "Bearer" // RFC 6750 section 3.1: no error code where no credential was sent
	if r.Reason != Missing {
		challenge = fmt.Sprintf(`Bearer error="invalid_token", error_description="%s"`, r.Reason)
	}
	p.Header = http.Header{"Www-Authenticate": {challenge}}
	return p
}

// unjudged is the answer where nobody knows whether a credential is good.
func unjudged(r *Refusal) *problem.Error {
	p := problem.New(http.StatusServiceUnavailable, problem.IdentityUnavailable,
		"Who is asking cannot be checked at the moment. Try again shortly.").Because(r)
	p.RetryAfter = retryUnavailable
	return p
}
