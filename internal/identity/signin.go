package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
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
		return "", refuse(Unavailable, err)
	}
	box, err := s.signInCipher(r.Context())
	if err != nil {
		return "", unavailable("reading the sign-in key", err)
	}
	p := signIn{
		Issuer: iss.Name, State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		ReturnTo: safeReturn(returnTo), Expires: time.Now().Add(signInTime),
	}
	sealed, err := seal(box, s.cookies.signIn.name, p)
	if err != nil {
		return "", err
	}
	s.cookies.signIn.set(w, sealed, signInTime)
	return s.oauth(iss, ring).AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)), nil
}

// Complete ends a sign-in where the identity provider has sent the browser back to CallbackPath: it checks everything,
// starts a new session and returns the path to go to.
func (s *Service) Complete(w http.ResponseWriter, r *http.Request) (returnTo string, err error) {
	p, refusal := s.signInOf(r)
	s.cookies.signIn.clear(w) // whatever comes of it: one try
	if refusal != nil {
		return "", refusal.problem()
	}
	iss, err := s.issuerFor(p.Issuer)
	if err != nil { // reconfigured meanwhile
		return "", refuse(SignInState, err)
	}
	caller, refusal := s.exchange(r.Context(), iss, p, r.URL.Query())
	if refusal == nil {
		refusal = s.useUp(r.Context(), p)
	}
	if refusal != nil {
		refusal.Issuer = iss.Name
		return "", refusal.problem()
	}
	if err := s.prove(r.Context(), caller, time.Now()); err != nil {
		return "", unavailable("recording the sign-in", err)
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
	if err := unseal(box, s.cookies.signIn.name, s.cookies.signIn.get(r), &p); err != nil {
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

// exchange trades the code for tokens and returns who they speak of.
func (s *Service) exchange(ctx context.Context, iss *issuer, p *signIn, query url.Values) (*Caller, *Refusal) {
	ring, err := iss.known(ctx)
	if ring == nil {
		return nil, &Refusal{Reason: Unavailable, Err: err}
	}
	code := query.Get("code")
	switch {
	case query.Has("error"):
		return nil, &Refusal{Reason: SignInRefused, Err: fmt.Errorf("it answered %.100q", query.Get("error"))}
	case query.Has("iss") && query.Get("iss") != iss.URL: // RFC 9207: an answer of another issuer, mixed up
		return nil, &Refusal{Reason: SignInState, Err: errors.New("answered by another issuer")}
	case len(query["code"]) != 1 || code == "":
		return nil, &Refusal{Reason: SignInState, Err: errors.New("not exactly one code")}
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, iss.client), issuerTimeout)
	defer cancel()
	tokens, err := s.oauth(iss, ring).Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return nil, exchangeRefusal(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" || len(raw) > maxIDTokenBytes {
		return nil, &Refusal{Reason: SignInRefused, Err: errors.New("no ID token came with the code")}
	}
	token, claims, refusal := iss.verify(ctx, raw, []string{iss.Client.ID})
	if refusal != nil {
		return nil, refusal
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(p.Nonce)) != 1 {
		return nil, &Refusal{Reason: SignInState, Err: errors.New("the ID token has another nonce")}
	}
	if err := iss.addUserInfo(ctx, ring, tokens, token.Subject, claims); err != nil {
		return nil, &Refusal{Reason: Unavailable, Err: err}
	}
	return iss.caller(token.Subject, claims)
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

// addUserInfo asks the issuer's userinfo endpoint for what the ID token lacks: many issuers keep e-mail and groups out of
// it (OpenID Connect Core section 5.4). Nothing the ID token says is replaced.
func (i *issuer) addUserInfo(ctx context.Context, ring *ring, tokens *oauth2.Token, subject string, claims claimSet) error {
	_, hasGroups := claims[i.Claims.Groups]
	_, hasEmail := claims[i.Claims.Email]
	if hasGroups && hasEmail || checkEndpoint(ring.provider.UserInfoEndpoint()) != nil {
		return nil
	}
	info, err := ring.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return fmt.Errorf("userinfo: %s", brief(err))
	}
	if info.Subject != subject { // section 5.3.2: must be checked
		return errors.New("userinfo is about another subject")
	}
	var more claimSet
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("userinfo: %s", brief(err))
	}
	if hasEmail {
		delete(more, "email_verified") // it speaks of its own address
	} else {
		delete(claims, "email_verified")
	}
	for name, value := range more {
		if _, present := claims[name]; !present {
			claims[name] = value
		}
	}
	return nil
}

func (s *Service) oauth(iss *issuer, ring *ring) *oauth2.Config {
	scopes := []string{oidc.ScopeOpenID, "profile", "email"}
	if ring.groupScope {
		scopes = append(scopes, "groups")
	}
	return &oauth2.Config{
		ClientID: iss.Client.ID, ClientSecret: iss.Client.Secret, Endpoint: ring.provider.Endpoint(), Scopes: scopes,
		RedirectURL: strings.TrimSuffix(s.cfg.PublicURL, "/") + CallbackPath,
	}
}
