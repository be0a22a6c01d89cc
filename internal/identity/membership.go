package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"

	"corp.example/gateway/internal/state"
)

const (
	// refreshTogether is how many people an issuer is asked about at a time: a thousand of them in some minutes, and no
	// burst that an issuer would throttle.
	refreshTogether = 4
	// refreshJitter spreads replicas and restarts, as a share of the interval.
	refreshJitter = 0.1
	// refreshLease is how long one replica's round keeps the others from theirs, as a share of the interval: less than
	// the shortest pause, so that no round falls out.
	refreshLease = 0.8
	// insistTime is how long the outcome of a refresh is tried to be stored, insistPause lies between two tries. A service
	// that ends waits for it.
	insistTime  = 5 * time.Second
	insistPause = 500 * time.Millisecond

	refreshPurpose = "identity refresh token"
	refreshWork    = "membership"
)

// refreshRecord is what an issuer can be asked with whether somebody is still with the company. It is stored sealed.
type refreshRecord struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Token   string `json:"token"`
}

// refreshes reports whether refresh tokens are of any use here.
func (s *Service) refreshes() bool { return s.cfg.Seal != nil && s.cfg.RefreshMembership > 0 }

// keepRefreshToken stores the refresh token that a sign-in brought, in the place of an earlier one. "" is none: the earlier
// one stays.
func (s *Service) keepRefreshToken(ctx context.Context, c *Caller, token string) error {
	if token == "" || !s.refreshes() {
		return nil
	}
	return s.storeRefreshToken(ctx, s.store.Put, c.Issuer, c.Subject, token)
}

// storeRefreshToken stores the record with put, which is the store's Put or Create.
func (s *Service) storeRefreshToken(ctx context.Context, put func(context.Context, string, string, []byte, time.Time) error,
	issuer, subject, token string) error {
	raw, err := json.Marshal(refreshRecord{Issuer: issuer, Subject: subject, Token: token})
	if err != nil {
		return fmt.Errorf("encoding refresh token: %w", err)
	}
	return put(ctx, tableRefresh, ownerKey(issuer, subject), s.cfg.Seal.Seal(refreshPurpose, raw), time.Now().Add(s.ownerKept()))
}

// RefreshMembership asks the issuers, until ctx ends, about everybody whose refresh token is kept: whether they are still
// with the company, and in which groups. Of several replicas one does so in each round.
func (s *Service) RefreshMembership(ctx context.Context) {
	if !s.refreshes() {
		return
	}
	for {
		jitter := 1 + refreshJitter*(2*rand.Float64()-1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(float64(s.cfg.RefreshMembership) * jitter)):
		}
		if err := s.refreshRound(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("membership could not be refreshed; who is suspended stays so, everybody else goes on", "error", err)
		}
	}
}

// refreshRound asks about everybody once, where no other replica has just done so. The error is the first of perhaps many.
func (s *Service) refreshRound(ctx context.Context) error {
	lease := time.Duration(float64(s.cfg.RefreshMembership) * refreshLease)
	err := s.store.Create(ctx, tableLeases, refreshWork, nil, time.Now().Add(lease))
	if errors.Is(err, state.ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lease) // the next round may be another replica's
	defer cancel()
	var keys []string
	if err := s.store.Scan(ctx, tableRefresh, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		return err
	}
	var (
		group errgroup.Group
		mu    sync.Mutex
		first error
	)
	group.SetLimit(refreshTogether)
	for _, key := range keys {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := s.refreshOne(ctx, key); err != nil {
				mu.Lock()
				defer mu.Unlock()
				first = cmp.Or(first, err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), first)
}

// refreshOne asks about one person. The token is taken out of the store meanwhile: presented twice, an issuer would believe
// it stolen. What ends in between loses the token, and leaves the person to reauthenticate_after.
func (s *Service) refreshOne(ctx context.Context, key string) error {
	sealed, err := s.store.Take(ctx, tableRefresh, key)
	if errors.Is(err, state.ErrNotFound) {
		return nil // a sign-out of everything, or another round
	}
	if err != nil {
		return err
	}
	var record refreshRecord
	plain, err := s.cfg.Seal.Open(refreshPurpose, sealed)
	if err == nil {
		err = json.Unmarshal(plain, &record)
	}
	if err != nil {
		return fmt.Errorf("a refresh token is lost: %w", err)
	}
	next, err := s.ask(ctx, key, record)
	if next == "" {
		return err
	}
	// Where somebody signed in meanwhile, their new token is there already and stays.
	return errors.Join(err, insist(ctx, func(ctx context.Context) error {
		if err := s.storeRefreshToken(ctx, s.store.Create, record.Issuer, record.Subject, next); !errors.Is(err, state.ErrExists) {
			return err
		}
		return nil
	}))
}

// insist repeats what must not be lost to a hiccup of the store, also while the service ends.
func insist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insistTime)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(insistPause):
		}
	}
}

// ask presents a refresh token and returns the one to present next time, "" where there is no next time.
func (s *Service) ask(ctx context.Context, key string, record refreshRecord) (next string, err error) {
	began := time.Now()
	owner, refusal := s.standing(ctx, key)
	if refusal != nil && refusal.Reason == Unavailable {
		return record.Token, refusal
	}
	iss, known := s.byName[record.Issuer]
	if refusal != nil || !known || iss.Client == nil {
		return "", nil // suspended, away for too long, or of an issuer that is no more
	}
	ring, err := iss.known(ctx)
	if ring == nil {
		return record.Token, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, iss.client), issuerTimeout)
	defer cancel()
	tokens, err := s.oauth(iss, ring).TokenSource(ctx, &oauth2.Token{RefreshToken: record.Token}).Token()
	var answered *oauth2.RetrieveError
	switch {
	case errors.As(err, &answered) && answered.ErrorCode == "invalid_grant":
		return "", insist(ctx, func(ctx context.Context) error { return s.leave(ctx, key, record, began) })
	case err != nil: // an outage is no refusal; its text may hold anything
		return record.Token, fmt.Errorf("issuer %s does not answer a refresh as it should", iss.Name)
	}
	caller, refusal := s.refreshed(ctx, iss, ring, tokens, record.Subject)
	if refusal != nil {
		return tokens.RefreshToken, refusal
	}
	if caller == nil {
		caller = &Caller{Kind: owner.Kind, Issuer: record.Issuer, Subject: record.Subject}
		owner.lend(caller)
	}
	return tokens.RefreshToken, s.prove(ctx, caller, began)
}

// refreshed is who the answer to a refresh speaks of, nil where it only says that all is as before (OpenID Connect Core
// section 12.2: an ID token need not come).
func (s *Service) refreshed(ctx context.Context, iss *issuer, ring *ring, tokens *oauth2.Token, subject string) (*Caller, *Refusal) {
	refused := func(reason Reason, err error) (*Caller, *Refusal) {
		return nil, &Refusal{Reason: reason, Issuer: iss.Name, Err: err}
	}
	claims := claimSet{"sub": subject}
	if raw, _ := tokens.Extra("id_token").(string); raw != "" {
		if len(raw) > maxIDTokenBytes {
			return refused(SignInRefused, errors.New("the ID token is too long"))
		}
		token, fresh, refusal := iss.verify(ctx, raw, []string{iss.Client.ID}, &iss.signIns)
		if refusal != nil {
			return nil, refusal
		}
		if token.Subject != subject {
			return refused(SignInRefused, errors.New("the refreshed ID token is about another subject"))
		}
		claims = fresh
	} else if checkEndpoint(ring.provider.UserInfoEndpoint()) != nil {
		return nil, nil
	}
	if err := iss.addUserInfo(ctx, ring, tokens, subject, claims); err != nil {
		return refused(Unavailable, err)
	}
	return iss.caller(subject, claims)
}

// leave suspends somebody whom the issuer no longer vouches for, unless they have signed in since it was asked.
func (s *Service) leave(ctx context.Context, key string, record refreshRecord, asked time.Time) error {
	owner, err := s.owner(ctx, key)
	if errors.Is(err, state.ErrNotFound) || err == nil && owner.Proved.After(asked) {
		return nil
	}
	if err != nil {
		return err
	}
	s.cfg.Log.Warn("an issuer refuses to refresh; the person's tokens and sessions are suspended until they sign in again",
		"issuer", record.Issuer, "subject", record.Subject)
	return s.Suspend(ctx, record.Issuer, record.Subject, "the issuer refuses to refresh")
}
