package identity

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
)

const (
	// maxTokensPerOwner keeps a script that mints in a loop from filling the store.
	maxTokensPerOwner = 100
	maxNameBytes      = 128
	// maxLimits bounds each list of a Restriction, so that a record stays small.
	maxLimits = 100
)

// MintRequest asks for a minted token.
type MintRequest struct {
	// Owner is who the token stands for: the caller that asks for it, or Operator for the command line.
	Owner   *Caller
	Name    string      // for people, to tell tokens apart
	Expires time.Time   // zero: as long as tokens.max_age allows
	Limits  Restriction // what it gives up of its owner's rights
}

// TokenInfo is what is known of a minted token. It does not hold the token, which nobody can show again.
type TokenInfo struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Issuer   string      `json:"issuer,omitempty"` // "" for one created on the command line
	Subject  string      `json:"subject"`
	Email    string      `json:"email,omitempty"`  // at minting
	Groups   []string    `json:"groups,omitempty"` // at minting
	Teams    []string    `json:"teams,omitempty"`  // --team on the command line
	Limits   Restriction `json:"limits"`
	Created  time.Time   `json:"created"`
	Expires  time.Time   `json:"expires"`
	LastUsed time.Time   `json:"last_used,omitzero"` // zero: never; exact to some seconds

	// LastUsedFrom is the address of that use; zero: not known.
	LastUsedFrom netip.Addr `json:"last_used_from,omitzero"`
}

// OwnedBy reports whether the token stands for the caller, or for the same owner as the token that c came with.
func (i TokenInfo) OwnedBy(c *Caller) bool { return i.Issuer == c.Issuer && i.Subject == c.Subject }

// tokenRecord is what the store keeps.
type tokenRecord struct {
	TokenInfo
	Hash []byte `json:"hash"` // SHA-256 of the token
}

// Operator is the owner of tokens created on the command line: a name of the operator's choice, and the teams it is in.
// Its e-mail counts as verified, since the operator says so.
func Operator(subject, email string, teams []string) *Caller {
	return &Caller{Kind: Token, Subject: subject, Email: email, Teams: teams}
}

// Mint makes a token and returns it with what is known of it. The token itself is not kept: this is the only time it is
// seen. An error that says what is wrong with the request is a *problem.Error.
func (s *Service) Mint(ctx context.Context, r MintRequest) (secret string, info TokenInfo, err error) {
	secret, record, err := s.prepare(ctx, r)
	if err != nil {
		return "", TokenInfo{}, err
	}
	if err := s.activate(ctx, record); err != nil {
		return "", TokenInfo{}, err
	}
	return secret, record.TokenInfo, nil
}

// prepare makes a token that works once activate has stored its record, and records the proof its owner came with.
func (s *Service) prepare(ctx context.Context, r MintRequest) (string, *tokenRecord, error) {
	now := time.Now()
	if r.Expires.IsZero() {
		r.Expires = now.Add(s.cfg.Tokens.MaxAge)
	}
	if err := s.checkRequest(r, now); err != nil {
		return "", nil, err
	}
	if err := s.checkCount(ctx, r.Owner); err != nil {
		return "", nil, err
	}
	if refusal := s.ensureOwner(ctx, r.Owner); refusal != nil {
		return "", nil, s.refuse(refusal)
	}
	secret := newSecret()
	hash := hashOf(secret)
	return secret, &tokenRecord{Hash: hash[:], TokenInfo: TokenInfo{
		ID: hash.id().String(), Name: strings.TrimSpace(r.Name),
		Issuer: r.Owner.Issuer, Subject: r.Owner.Subject, Email: r.Owner.Email, Groups: r.Owner.Groups,
		Teams: r.Owner.Teams, Limits: r.Limits, Created: now.UTC().Truncate(time.Second), Expires: r.Expires.UTC(),
	}}, nil
}

func (s *Service) activate(ctx context.Context, record *tokenRecord) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding token: %w", err)
	}
	if err := s.store.Create(ctx, tableTokens, record.ID, raw, record.Expires); err != nil {
		return unavailable("storing the token", err)
	}
	return nil
}

func (s *Service) checkRequest(r MintRequest, now time.Time) error {
	invalid := func(format string, args ...any) error {
		return problem.New(http.StatusBadRequest, problem.BadRequest, format, args...)
	}
	o := r.Owner
	switch name := strings.TrimSpace(r.Name); {
	case o.Token != "":
		// It could outlive the token it came from, or get around what that gave up.
		return problem.New(http.StatusForbidden, problem.Denied, "A minted token cannot make another: sign in to the portal for that.")
	case o.Subject == "" || len(o.Subject) > maxSubjectBytes:
		return invalid("A token needs a subject of 1 to %d bytes: whom it stands for.", maxSubjectBytes)
	case name == "" || len(name) > maxNameBytes || strings.ContainsFunc(name, unicode.IsControl):
		return invalid("A token needs a name of 1 to %d bytes without control characters.", maxNameBytes)
	case !r.Expires.After(now):
		return invalid("The token would have expired already.")
	case r.Expires.After(now.Add(s.cfg.Tokens.MaxAge + time.Minute)): // the minute is the form's way here
		return invalid("A token may live for %s at most (identity.tokens.max_age).", days(s.cfg.Tokens.MaxAge))
	case len(r.Limits.Scopes) > maxLimits || len(r.Limits.Projects) > maxLimits:
		return invalid("A token may be limited to at most %d scopes and %d projects.", maxLimits, maxLimits)
	case slices.Contains(r.Limits.Scopes, "") || slices.Contains(r.Limits.Projects, ""):
		return invalid("A token cannot be limited to a scope or project without a name.")
	}
	return nil
}

func (s *Service) checkCount(ctx context.Context, owner *Caller) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	count := 0
	for _, info := range all {
		if info.OwnedBy(owner) {
			count++
		}
	}
	if count >= maxTokensPerOwner {
		return problem.New(http.StatusBadRequest, problem.BadRequest,
			"There are already %d tokens of the same owner: revoke some first.", count)
	}
	return nil
}

// List returns the live tokens of all owners, newest first.
func (s *Service) List(ctx context.Context) ([]TokenInfo, error) {
	used := make(map[string][]byte)
	err := s.store.Scan(ctx, tableUses, func(id string, value []byte) error {
		used[id] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return nil, unavailable("listing tokens", err)
	}
	var infos []TokenInfo
	err = s.store.Scan(ctx, tableTokens, func(id string, value []byte) error {
		var record tokenRecord
		if err := json.Unmarshal(value, &record); err != nil {
			return fmt.Errorf("record of token %s: %w", id, err)
		}
		record.LastUsed, record.LastUsedFrom = parseLastUse(used[id])
		infos = append(infos, record.TokenInfo)
		return nil
	})
	if err != nil {
		return nil, unavailable("listing tokens", err)
	}
	slices.SortFunc(infos, func(a, b TokenInfo) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return infos, nil
}

// Find returns what is known of a token, given itself or its public id. An unknown one is state.ErrNotFound.
func (s *Service) Find(ctx context.Context, tokenOrID string) (TokenInfo, error) {
	id, ok := idOf(tokenOrID)
	if !ok {
		return TokenInfo{}, state.ErrNotFound
	}
	record, err := s.token(ctx, id)
	if err != nil {
		return TokenInfo{}, err
	}
	return record.TokenInfo, nil
}

// Revoke ends a token, given itself or its public id, in this process and every other, before it returns. An unknown one
// is state.ErrNotFound. Who may revoke whose is the caller's business.
func (s *Service) Revoke(ctx context.Context, tokenOrID string) (TokenInfo, error) {
	info, err := s.Find(ctx, tokenOrID)
	if err != nil {
		return TokenInfo{}, err
	}
	if err := s.store.Delete(ctx, tableTokens, info.ID); err != nil {
		return TokenInfo{}, unavailable("revoking the token", err)
	}
	return info, nil
}

func idOf(tokenOrID string) (tokenID, bool) {
	tokenOrID = strings.TrimSpace(tokenOrID)
	if isMinted(tokenOrID) {
		return hashOf(tokenOrID).id(), true
	}
	return parseID(tokenOrID)
}

// token reads a record. state.ErrNotFound comes through.
func (s *Service) token(ctx context.Context, id tokenID) (*tokenRecord, error) {
	raw, err := s.store.Get(ctx, tableTokens, id.String())
	if errors.Is(err, state.ErrNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, unavailable("reading the token", err)
	}
	var record tokenRecord
	if err := json.Unmarshal(raw, &record); err != nil {
		return nil, fmt.Errorf("record of token %s: %w", id, err)
	}
	return &record, nil
}

// unavailable is a 503 for a store that does not answer.
func unavailable(doing string, err error) error {
	return unjudged(&Refusal{Reason: Unavailable, Err: fmt.Errorf("%s: %w", doing, err)})
}

// days writes a duration as people configure it.
func days(d time.Duration) string {
	switch {
	case d == 24*time.Hour:
		return "1 day"
	case d > 0 && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
