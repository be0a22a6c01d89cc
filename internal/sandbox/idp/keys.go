package idp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// The signature algorithms.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// keys is what the provider signs with now, and what it signed with before.
type keys struct {
	current  map[string]jose.JSONWebKey // by algorithm
	previous []jose.JSONWebKey          // still published, so that tokens issued before a rotation verify
}

func newKeys() (*keys, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("idp: making an RSA key: %w", err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("idp: making an EC key: %w", err)
	}
	return &keys{current: map[string]jose.JSONWebKey{
		RS256: {Key: rsaKey, KeyID: "rs-" + rand.Text(), Algorithm: RS256, Use: "sig"},
		ES256: {Key: ecKey, KeyID: "es-" + rand.Text(), Algorithm: ES256, Use: "sig"},
	}}, nil
}

// RotateKeys makes new keys and signs with them from now on. The keys before them stay published until the next rotation
// or ForgetOldKeys.
func (p *Provider) RotateKeys() error {
	fresh, err := newKeys()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh.previous = []jose.JSONWebKey{p.keys.current[RS256], p.keys.current[ES256]}
	p.keys = fresh
	return nil
}

// ForgetOldKeys stops publishing the keys before the last rotation, as after a key was compromised.
func (p *Provider) ForgetOldKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = &keys{current: p.keys.current}
}

// signingKey is the key tokens are signed with now.
func (p *Provider) signingKey(alg string) jose.JSONWebKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys.current[alg]
}

// published is the key set as the world sees it: public keys only.
func (p *Provider) published() jose.JSONWebKeySet {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, key := range append([]jose.JSONWebKey{p.keys.current[RS256], p.keys.current[ES256]}, p.keys.previous...) {
		set.Keys = append(set.Keys, key.Public())
	}
	return set
}

// keySet answers with the published keys. A real provider lets them be cached; no-store here would only hide a client
// that fetches too often, so the answer says what real ones say.
func (p *Provider) keySet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, p.published())
}
