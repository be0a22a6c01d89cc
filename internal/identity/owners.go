package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"corp.example/gateway/internal/state"
)

// ownerRecord is a person or workload that has sessions or minted tokens here. Those hold no groups and no e-mail of
// their own: they take them from this record, so that what the last proof said is true for all of them at once.
type ownerRecord struct {
	Kind      Kind      `json:"kind"`
	Issuer    string    `json:"issuer"`
	Subject   string    `json:"subject"`
	Email     string    `json:"email,omitempty"`
	Name      string    `json:"name,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	Claims    claimSet  `json:"claims,omitempty"`
	Proved    time.Time `json:"proved"`              // when the issuer last vouched for them
	Suspended string    `json:"suspended,omitempty"` // why they may not use the gateway any more; "" while they may

	size int // bytes of the record, once read
}

// ownerKey is one person at one issuer: the same subject at two issuers is two people. Hashing keeps any subject a key.
func ownerKey(issuer, subject string) string { return hashOf(issuer + "\x00" + subject).String() }

// ownerKept is how long an owner's record outlives its last proof: as long as anything may refer to it.
func (s *Service) ownerKept() time.Duration {
	return max(s.cfg.Tokens.MaxAge, s.cfg.Tokens.ReauthenticateAfter, sessionAbsolute)
}

// prove records what an issuer said about its subject at the time at. It lifts a suspension: an issuer that vouches for
// somebody again has taken them back.
func (s *Service) prove(ctx context.Context, c *Caller, at time.Time) error {
	record, err := json.Marshal(ownerRecord{
		Kind: c.Kind, Issuer: c.Issuer, Subject: c.Subject, Email: c.Email, Name: c.Name, Groups: c.Groups,
		Claims: claimSet(c.Claims).durable(), Proved: at.UTC(),
	})
	if err != nil {
		return fmt.Errorf("encoding owner: %w", err)
	}
	return s.store.Put(ctx, tableOwners, ownerKey(c.Issuer, c.Subject), record, at.Add(s.ownerKept()))
}

// ensureOwner makes sure that a token minted for c has an owner's record to refer to. Somebody signed in has one. A
// bearer token is itself a proof, as old as its "iat", and is recorded where it is newer than what is there.
func (s *Service) ensureOwner(ctx context.Context, c *Caller) *Refusal {
	if c.Issuer == "" { // the operator's own
		return nil
	}
	owner, refusal := s.standing(ctx, ownerKey(c.Issuer, c.Subject))
	if refusal != nil && refusal.Reason != Reauthenticate {
		return refusal
	}
	claims := claimSet(c.Claims)
	if _, bearer := claims["exp"]; !bearer { // records hold no "exp", see durable
		return refusal
	}
	at, ok := claims.time("iat")
	if now := time.Now(); !ok || at.IsZero() || at.After(now) {
		at = now
	}
	if owner != nil && !owner.Proved.Before(at) {
		return nil
	}
	if err := s.prove(ctx, c, at); err != nil {
		return &Refusal{Reason: Unavailable, Issuer: c.Issuer, Err: err}
	}
	return nil
}

// Suspend stops every session and minted token of a subject at once, and keeps them stopped until the subject signs in
// again. The reason is for the log.
func (s *Service) Suspend(ctx context.Context, issuer, subject, reason string) error {
	if reason == "" {
		reason = "suspended"
	}
	o, err := s.owner(ctx, ownerKey(issuer, subject))
	if err != nil {
		return fmt.Errorf("suspending a subject of %s: %w", issuer, err)
	}
	o.Suspended = reason
	record, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding owner: %w", err)
	}
	return s.store.Put(ctx, tableOwners, ownerKey(issuer, subject), record, o.Proved.Add(s.ownerKept()))
}

// owner reads a record. state.ErrNotFound comes through.
func (s *Service) owner(ctx context.Context, key string) (*ownerRecord, error) {
	raw, err := s.store.Get(ctx, tableOwners, key)
	if err != nil {
		return nil, err
	}
	var o ownerRecord
	if err := unmarshalNumbers(raw, &o); err != nil {
		return nil, fmt.Errorf("owner record: %w", err)
	}
	o.size = len(raw)
	return &o, nil
}

// standing returns the owner's record where they may still use the gateway.
func (s *Service) standing(ctx context.Context, key string) (*ownerRecord, *Refusal) {
	o, err := s.owner(ctx, key)
	switch {
	case errors.Is(err, state.ErrNotFound): // longer ago than anything may last
		return nil, &Refusal{Reason: Reauthenticate}
	case err != nil:
		return nil, &Refusal{Reason: Unavailable, Err: err}
	case o.Suspended != "":
		return nil, &Refusal{Reason: Suspended, Issuer: o.Issuer, Err: errors.New(o.Suspended)}
	}
	return o, nil
}
