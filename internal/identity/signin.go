package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
)

const (
	// CallbackPath is where the identity provider sends the browser back to. It is registered there as
	// server.public_url + CallbackPath.
	CallbackPath = "/-/callback"

	// signInTime is how long a sign-in may take, with a second factor and a forgotten password.
	signInTime = 10 * time.Minute

	// maxIDTokenBytes bounds an ID token, which does not travel in a header and so may be larger than a bearer token.
	maxIDTokenBytes = 64 << 10
)

// signIn is a sign-in in progress. It lives in a sealed cookie and nowhere else, so that a stranger who begins a million
// of them leaves nothing here, and that only the browser that began one can finish it.
type signIn struct {
	Issuer   string    `json:"i"`
	State    string    `json:"s"` // comes back with the browser
	Nonce    string    `json:"n"` // comes back inside the ID token
	Verifier string    `json:"v"` // PKCE, RFC 7636: shown to the issuer when the code is exchanged
	ReturnTo string    `json:"r"`
	Expires  time.Time `json:"e"`
}

// Begin starts a sign-in through the named issuer ("" where there is only one) and returns the URL to send the browser
// to. returnTo is the path to end at; what is not a page of ours becomes the portal's first.
func (s *Service) Begin(w http.ResponseWriter, r *http.Request, issuerName, returnTo string) (string, error) {
	iss, err := s.issuerFor(issuerName)
	if err != nil {
		return "", problem.New(http.StatusBadRequest, problem.BadRequest, "There is no sign-in of that name here.").Because(err)
	}
	ring, err := iss.known(r.Context())
	if ring == nil {
		return "", s.refuse(&Refusal{Reason: Unavailable, Err: err})
	}
	box, err := s.signInCipher(r.Context())
	if err != nil {
		return "", unavailable("reading the sign-in key", err)
	}
	p := signIn{
		Issuer: iss.Name, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		ReturnTo: safeReturn(returnTo), Expires: time.Now().Add(signInTime),
	}
	sealed, err := sealCookie(box, s.cookies.signIn.name, p)
	if err != nil {
		return "", err
	}
	s.cookies.signIn.set(w, sealed, signInTime)
	options := []oauth2.AuthCodeOption{oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)}
	if iss.Client.Prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", iss.Client.Prompt))
	}
	return s.oauth(iss, ring).AuthCodeURL(p.State, options...), nil
}

// Complete ends a sign-in where the identity provider has sent the browser, at the address remote, back to CallbackPath:
// it checks everything, starts a new session and returns the path to go to.
func (s *Service) Complete(w http.ResponseWriter, r *http.Request, remote netip.Addr) (returnTo string, err error) {
	p, refusal := s.signInOf(r)
	s.cookies.signIn.clear(w) // whatever comes of it: one try
	if refusal != nil {
		return "", s.refuse(refusal)
	}
	// From here on each try costs the issuer a question.
	if err := s.attempts.barred(remote, time.Now()); err != nil {
		return "", err
	}
	iss, err := s.issuerFor(p.Issuer)
	if err != nil { // reconfigured meanwhile
		return "", s.refuse(&Refusal{Reason: SignInState, Err: err})
	}
	caller, refreshToken, refusal := s.exchange(r.Context(), iss, p, r.URL.Query())
	if refusal == nil {
		refusal = s.useUp(r.Context(), p)
	}
	if refusal != nil {
		refusal.Issuer = iss.Name
		if refusal.Reason == Unavailable {
			return "", s.refuse(refusal)
		}
		return "", s.attempts.slow(s.refuse(refusal), remote, time.Now())
	}
	if err := s.prove(r.Context(), caller, time.Now()); err != nil {
		return "", unavailable("recording the sign-in", err)
	}
	if err := s.keepRefreshToken(r.Context(), caller, refreshToken); err != nil {
		return "", unavailable("keeping the refresh token", err)
	}
	if err := s.startSession(w, r, caller); err != nil {
		return "", unavailable("starting the session", err)
	}
	return p.ReturnTo, nil
}

// signInOf returns the sign-in that this browser began and the identity provider answers to.
func (s *Service) signInOf(r *http.Request) (*signIn, *Refusal) {
	refused := func(text string) (*signIn, *Refusal) {
		return nil, &Refusal{Reason: SignInState, Err: errors.New(text)}
	}
	box, err := s.signInCipher(r.Context())
	if err != nil {
		return nil, &Refusal{Reason: Unavailable, Err: err}
	}
	var p signIn
	if err := unsealCookie(box, s.cookies.signIn.name, s.cookies.signIn.get(r), &p); err != nil {
		return refused("no sign-in was begun in this browser")
	}
	query := r.URL.Query()
	switch {
	case len(query["state"]) != 1 || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(p.State)) != 1:
		return refused("state is not the one of this browser's sign-in")
	case !time.Now().Before(p.Expires):
		return refused("begun too long ago")
	}
	return &p, nil
}

// useUp makes sure that a sign-in ends once. It comes after the exchange, so that only somebody with a good code makes
// the store remember anything.
func (s *Service) useUp(ctx context.Context, p *signIn) *Refusal {
	err := s.store.Create(ctx, tableSignIns, hashOf(p.State).String(), nil, p.Expires)
	switch {
	case errors.Is(err, state.ErrExists):
		return &Refusal{Reason: SignInState, Err: errors.New("used before")}
	case err != nil:
		return &Refusal{Reason: Unavailable, Err: err}
	}
	return nil
}

// exchange trades the code for tokens and returns who they speak of, and the refresh token where one came.
func (s *Service) exchange(ctx context.Context, iss *issuer, p *signIn, query url.Values) (*Caller, string, *Refusal) {
	refused := func(reason Reason, err error) (*Caller, string, *Refusal) {
		return nil, "", &Refusal{Reason: reason, Err: err}
	}
	ring, err := iss.known(ctx)
	if ring == nil {
		return refused(Unavailable, err)
	}
	code := query.Get("code")
	switch {
	case query.Has("error"):
		return refused(SignInRefused, fmt.Errorf("it answered %.100q", query.Get("error")))
	case query.Has("iss") && query.Get("iss") != iss.URL: // RFC 9207: an answer of another issuer, mixed up
		return refused(SignInState, errors.New("answered by another issuer"))
	case len(query["code"]) != 1 || code == "":
		return refused(SignInState, errors.New("not exactly one code"))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, iss.client), issuerTimeout)
	defer cancel()
	tokens, err := s.oauth(iss, ring).Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return nil, "", exchangeRefusal(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" || len(raw) > maxIDTokenBytes {
		return refused(SignInRefused, errors.New("no ID token came with the code"))
	}
	token, claims, refusal := iss.verify(ctx, raw, []string{iss.Client.ID}, &iss.signIns)
	if refusal != nil {
		return nil, "", refusal
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(p.Nonce)) != 1 {
		return refused(SignInState, errors.New("the ID token has another nonce"))
	}
	if err := iss.addUserInfo(ctx, ring, tokens, token.Subject, claims); err != nil {
		return refused(Unavailable, err)
	}
	caller, refusal := iss.caller(token.Subject, claims)
	return caller, tokens.RefreshToken, refusal
}

// exchangeRefusal tells a code that the issuer does not take from an issuer that does not answer. The text holds the
// error's name only: its body may hold anything.
func exchangeRefusal(err error) *Refusal {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode < 500 {
		return &Refusal{Reason: SignInRefused,
			Err: fmt.Errorf("exchanging the code: status %d, error %.100q", answered.Response.StatusCode, answered.ErrorCode)}
	}
	return &Refusal{Reason: Unavailable, Err: errors.New("exchanging the code: the issuer did not answer as it should")}
}

func (s *Service) oauth(iss *issuer, ring *ring) *oauth2.Config {
	scopes := []string{oidc.ScopeOpenID, "profile", "email"}
	if ring.groupScope {
		scopes = append(scopes, "groups")
	}
	if ring.offlineScope && s.refreshes() {
		scopes = append(scopes, oidc.ScopeOfflineAccess)
	}
	return &oauth2.Config{
		ClientID: iss.Client.ID, ClientSecret: iss.Client.Secret, Endpoint: ring.provider.Endpoint(), Scopes: scopes,
		RedirectURL: strings.TrimSuffix(s.cfg.PublicURL, "/") + CallbackPath,
	}
}
