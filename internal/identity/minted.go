package identity

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"time"

	"corp.example/gateway/internal/state"
)

// verifyMinted looks up a token whose checksum is right, and its owner, and remembers them.
func (s *Service) verifyMinted(ctx context.Context, hash tokenHash, from netip.Addr) (*Caller, *Refusal) {
	seen := s.minted.changes.Load() // before anything is read
	record, err := s.token(ctx, hash.id())
	switch {
	case errors.Is(err, state.ErrNotFound):
		return nil, &Refusal{Reason: UnknownToken}
	case err != nil:
		return nil, &Refusal{Reason: Unavailable, Err: err}
	case subtle.ConstantTimeCompare(record.Hash, hash[:]) != 1: // same id, another token
		return nil, &Refusal{Reason: UnknownToken}
	}
	now := time.Now()
	if !now.Before(record.Expires) { // the store says so first, unless its clock is another machine's
		return nil, &Refusal{Reason: Expired, Token: record.ID}
	}
	entry := &tokenEntry{
		hash: hash, caller: record.caller(), until: earlier(record.Expires, now.Add(rememberToken)), weight: weightOf(0),
	}
	if record.Issuer != "" {
		entry.owner = ownerKey(record.Issuer, record.Subject)
		owner, refusal := s.standing(ctx, entry.owner)
		if refusal == nil && now.Sub(owner.Proved) >= s.cfg.Tokens.ReauthenticateAfter {
			refusal = &Refusal{Reason: Reauthenticate}
		}
		if refusal != nil {
			refusal.Token, refusal.Issuer = record.ID, record.Issuer
			return nil, refusal
		}
		owner.lend(entry.caller)
		entry.weight = weightOf(owner.size)
		entry.until = earlier(entry.until, owner.Proved.Add(s.cfg.Tokens.ReauthenticateAfter))
	}
	s.minted.put(entry, seen)
	s.uses.note(&entry.use, hash.id(), from, record.Expires, now)
	return entry.caller, nil
}

func (r *tokenRecord) caller() *Caller {
	return &Caller{
		Kind: Token, Issuer: r.Issuer, Subject: r.Subject, Email: r.Email, Name: r.Name,
		Teams: r.Teams, Token: r.ID, Limits: r.Limits, Expires: r.Expires,
	}
}

// lend gives a caller who comes in the owner's name what the owner has today.
func (o *ownerRecord) lend(c *Caller) {
	c.Email, c.Name, c.Groups, c.Claims = o.Email, o.Name, o.Groups, o.Claims
}

// unmarshalNumbers decodes a record of the store as decodeClaims decodes a token: numbers keep their digits.
func unmarshalNumbers(raw []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(into)
}
