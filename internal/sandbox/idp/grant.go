package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"time"
)

const (
	codeTTL   = time.Minute // RFC 6749 section 4.1.2 allows ten; a client redeems at once
	maxGrants = 10_000      // a demo has a handful; a flood of sign-ins must not fill the memory
)

// grant is one sign-in: first its code, then its refresh tokens. The text of both is "<grant id>.<secret>", so that a
// secret used a second time still finds its grant, and ends it (RFC 6749 section 4.1.2, RFC 9700 section 4.14.2).
type grant struct {
	client      string
	subject     string
	scopes      []string
	nonce       string
	redirectURI string
	challenge   string // PKCE S256; empty: none was sent
	signedIn    time.Time
	secret      string // of the code, then of the newest refresh token
	redeemed    bool   // the code was used
	expires     time.Time
}

var (
	errTooMany = errors.New("too many sign-ins are open")
	errGrant   = errors.New("unknown, used or expired")
)

// open keeps a new grant and returns its code.
func (p *Provider) open(g *grant) (code string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.grants) >= maxGrants {
		maps.DeleteFunc(p.grants, func(_ string, g *grant) bool { return g.expires.Before(now) })
	}
	if len(p.grants) >= maxGrants {
		return "", errTooMany
	}
	id := rand.Text()
	g.secret, g.signedIn, g.expires = rand.Text(), now, now.Add(codeTTL)
	p.grants[id] = g
	return id + "." + g.secret, nil
}

// redeem uses a code up.
func (p *Provider) redeem(code, client, redirectURI, verifier string) (id string, g grant, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, found, err := p.find(code, client, false)
	if err != nil {
		return "", grant{}, err
	}
	// A code that was shown with the wrong proof is used up as well: whoever holds it is not who asked for it.
	found.redeemed = true
	if found.redirectURI != redirectURI || !provesChallenge(verifier, found.challenge) {
		delete(p.grants, id)
		return "", grant{}, errors.New("redirect_uri or code_verifier is not that of the sign-in")
	}
	found.secret = "" // no refresh token yet
	return id, *found, nil
}

// refresh looks a refresh token up. It stays valid until rotate.
func (p *Provider) refresh(token, client string) (id string, g grant, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, found, err := p.find(token, client, true)
	if err != nil {
		return "", grant{}, err
	}
	return id, *found, nil
}

// rotate replaces a grant's refresh token. A grant that ended meanwhile gets none.
func (p *Provider) rotate(id, from string) (token string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.grants[id]
	if g == nil || g.secret != from { // two at once: only one may win
		return "", errGrant
	}
	g.secret, g.expires = rand.Text(), time.Now().Add(p.config.RefreshTTL)
	return id + "." + g.secret, nil
}

// find returns the grant that a code or refresh token belongs to. The caller holds the lock.
func (p *Provider) find(token, client string, redeemed bool) (string, *grant, error) {
	id, secret, _ := strings.Cut(token, ".")
	g := p.grants[id]
	if g == nil || g.client != client {
		return "", nil, errGrant
	}
	if g.redeemed != redeemed || secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(g.secret)) == 0 || time.Now().After(g.expires) {
		delete(p.grants, id)
		return "", nil, errGrant
	}
	return id, g, nil
}

// close ends the grant of a token, if there is one.
func (p *Provider) close(token, client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, _, _ := strings.Cut(token, ".")
	if g := p.grants[id]; g != nil && g.client == client {
		delete(p.grants, id)
	}
}

// provesChallenge checks a PKCE verifier (RFC 7636, section 4.6).
func provesChallenge(verifier, challenge string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}
