package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// maxOverages bounds how many callers may wait for one issuer's userinfo endpoint at a time: a fleet of jobs that begin
// together must not become as many questions.
const maxOverages = 16

// errUserInfoRefused says that the endpoint does not take the token: asking again would not help.
var errUserInfoRefused = errors.New("userinfo refuses the token")

// userInfo is what the issuer's userinfo endpoint says of the subject (OpenID Connect Core section 5.3).
func userInfo(ctx context.Context, ring *ring, tokens *oauth2.Token, subject string) (claimSet, error) {
	info, err := ring.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		// What follows the status is the answer's body, which may hold anything, the token too.
		status, _, _ := strings.Cut(brief(err), ": ")
		if strings.HasPrefix(status, "40") {
			return nil, fmt.Errorf("%w: %s", errUserInfoRefused, status)
		}
		return nil, fmt.Errorf("userinfo: %s", status)
	}
	if info.Subject != subject { // section 5.3.2: must be checked
		return nil, errors.New("userinfo is about another subject")
	}
	var claims claimSet
	if err := info.Claims(&claims); err != nil {
		return nil, errors.New("userinfo is no JSON object")
	}
	return claims, nil
}

// addUserInfo asks the issuer's userinfo endpoint for what the ID token lacks: many issuers keep e-mail and groups out of
// it (OpenID Connect Core section 5.4). Nothing the ID token says is replaced.
func (i *issuer) addUserInfo(ctx context.Context, ring *ring, tokens *oauth2.Token, subject string, claims claimSet) error {
	_, hasGroups := claims[i.Claims.Groups]
	_, hasEmail := claims[i.Claims.Email]
	if hasGroups && hasEmail || checkEndpoint(ring.provider.UserInfoEndpoint()) != nil {
		return nil
	}
	more, err := userInfo(ctx, ring, tokens, subject)
	if err != nil {
		return err
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

// addOverage fetches the groups that a bearer token refers to instead of listing them. The token itself is the credential:
// nobody learns more than its holder could. They are remembered with it.
func (i *issuer) addOverage(ctx context.Context, raw, subject string, claims claimSet) *Refusal {
	refused := func(reason Reason, err error) *Refusal { return &Refusal{Reason: reason, Issuer: i.Name, Err: err} }
	ring, err := i.known(ctx)
	if ring == nil {
		return refused(Unavailable, err)
	}
	if checkEndpoint(ring.provider.UserInfoEndpoint()) != nil {
		return refused(GroupsOverage, errors.New("the issuer has no userinfo endpoint"))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, i.client), issuerTimeout)
	defer cancel()
	select {
	case i.overages <- struct{}{}:
		defer func() { <-i.overages }()
	case <-ctx.Done():
		return refused(Unavailable, errors.New("too many ask for groups at userinfo"))
	}
	info, err := userInfo(ctx, ring, &oauth2.Token{AccessToken: raw, TokenType: "Bearer"}, subject)
	switch {
	case errors.Is(err, errUserInfoRefused):
		return refused(GroupsOverage, err)
	case err != nil:
		return refused(Unavailable, err)
	}
	groups, present := info[i.Claims.Groups]
	if !present {
		return refused(GroupsOverage, errors.New("userinfo does not say the groups either"))
	}
	claims[i.Claims.Groups] = groups
	return nil
}
