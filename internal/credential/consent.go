package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"corp.example/gateway/internal/state"
)

const (
	// consentsTable keeps what was begun and waits for a person to agree, sealed, by the hash of its state: whichever
	// replica the browser comes back to can finish it.
	consentsTable = "credential-consents"
	// ConsentWithin is how long that takes at most: to sign in upstream, perhaps to ask somebody.
	ConsentWithin = 15 * time.Minute
	sealedConsent = "credential consent"
)

// ErrNoConsent says that an answer belongs to nothing that was begun by the same person within the time.
var ErrNoConsent = errors.New("this belongs to no authorization that you began within the last 15 minutes: begin again")

// consent is an authorization that waits.
type consent struct {
	Name     string `json:"name"`
	Who      string `json:"who"`
	Redirect string `json:"redirect"`
	State    string `json:"state"`
	Verifier string `json:"verifier"`
}

// Connect begins to connect the OAuth app of a credential for a person, and returns where that person agrees. The answer
// with which upstream sends the browser back to redirect is for Connected.
func (s *Set) Connect(ctx context.Context, name, redirect, who string) (url string, err error) {
	c := s.named(name)
	if c == nil {
		return "", fmt.Errorf("there is no OAuth app among the credentials that is called %.60q", name)
	}
	organization := ""
	if len(c.config.Organizations) == 1 {
		organization = c.config.Organizations[0]
	}
	flow := c.config.App.Authorize(redirect, organization)
	plain, err := json.Marshal(consent{Name: name, Who: who, Redirect: redirect, State: flow.state, Verifier: flow.verifier})
	if err != nil {
		return "", fmt.Errorf("connecting %s: %w", name, err)
	}
	vault := c.config.App.Vault
	if err := vault.store.Put(ctx, consentsTable, consentKey(flow.state), vault.keys.Seal(sealedConsent, plain), time.Now().Add(ConsentWithin)); err != nil {
		return "", fmt.Errorf("connecting %s: %w", name, err)
	}
	return flow.URL, nil
}

// Connected finishes what the same person began, and returns the credential's name. An answer works once.
func (s *Set) Connected(ctx context.Context, who string, answer url.Values) (name string, err error) {
	var vault *Vault
	for _, c := range s.narrowestFirst {
		if c.OAuth() {
			vault = c.config.App.Vault
		}
	}
	if vault == nil {
		return "", ErrNoConsent
	}
	sealed, err := vault.store.Take(ctx, consentsTable, consentKey(answer.Get("state")))
	if errors.Is(err, state.ErrNotFound) {
		return "", ErrNoConsent
	}
	if err != nil {
		return "", err
	}
	plain, err := vault.keys.Open(sealedConsent, sealed)
	if err != nil {
		return "", err
	}
	var begun consent
	if err := json.Unmarshal(plain, &begun); err != nil {
		return "", fmt.Errorf("reading an authorization: %w", err)
	}
	c := s.named(begun.Name)
	if begun.Who != who || c == nil {
		return "", ErrNoConsent
	}
	flow := &Authorization{app: c.config.App, redirect: begun.Redirect, state: begun.State, verifier: begun.Verifier}
	return begun.Name, flow.Finish(ctx, begun.Name, answer)
}

// named is the OAuth app's credential of that name, nil without one.
func (s *Set) named(name string) *Credential {
	for _, c := range s.narrowestFirst {
		if c.OAuth() && c.Name() == name {
			return c
		}
	}
	return nil
}

func consentKey(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}
