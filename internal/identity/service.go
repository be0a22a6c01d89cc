package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"corp.example/gateway/internal/state"
)

// The tables in the state.
const (
	tableTokens   = "tokens"       // public id → tokenRecord
	tableUses     = "token_uses"   // public id → time and address of last use
	tableOwners   = "owners"       // issuer and subject → ownerRecord
	tableSessions = "sessions"     // hash of the cookie → sessionRecord
	tableSeen     = "session_seen" // hash of the cookie → time of last use
	tableSignIns  = "signins"      // hash of a used state → nothing
	tableLogins   = "cli_logins"   // hash of the CLI's session id → loginRecord
	tableKeys     = "keys"         // name → key made at first use
	tableRefresh  = "refresh"      // issuer and subject → sealed refreshRecord
	tableLeases   = "leases"       // work that one replica does at a time → nothing
)

// Service answers who is asking. It is safe for concurrent use.
type Service struct {
	cfg      Config
	store    state.Store
	byURL    map[string]*issuer // by the exact "iss" claim
	byName   map[string]*issuer
	jwts     *rememberedJWTs
	minted   *rememberedTokens
	failures failures // of bearers
	attempts failures // at verification codes and sign-ins
	hints    map[Reason]string
	uses     *uses
	cookies  cookies
	close    func()
}

// New makes a service that keeps tokens and sessions in store. It talks to no issuer yet: one that is down does not keep
// the gateway from starting.
func New(cfg Config, store state.Store) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg.withDefaults(), store: store,
		byURL: make(map[string]*issuer), byName: make(map[string]*issuer),
		jwts: newRememberedJWTs(), minted: newRememberedTokens(),
		cookies: newCookies(cfg.PublicURL),
		hints:   hintsOf(cfg),
	}
	var faults []error
	for _, c := range s.cfg.Issuers {
		iss, err := newIssuer(c, s.cfg.Log)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.byURL[c.URL], s.byName[c.Name] = iss, iss
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	store.Watch(tableTokens, s.minted.forgetToken)
	store.Watch(tableOwners, s.minted.forgetOwner)
	s.uses = startUses(store, s.cfg.Log)
	s.close = sync.OnceFunc(s.uses.stop)
	return s, nil
}

// Warm reads the keys of every issuer, so that the first token finds them and an issuer that does not answer is heard of
// in the log at the start. It returns when all have been asked, or when ctx ends.
func (s *Service) Warm(ctx context.Context) {
	var asked sync.WaitGroup
	for _, iss := range s.byURL {
		asked.Go(func() { _, _ = iss.known(ctx) }) // what fails is logged there, and tried again when a token needs it
	}
	asked.Wait()
}

// Close records the last uses that are still in memory. The store stays open.
func (s *Service) Close() { s.close() }

// Authenticate returns who is behind a request's Authorization headers, coming from the address remote. The error is a
// *problem.Error: 401, 429 for an address that fails too often, 503 where an issuer or the state cannot be asked. It
// carries a *Refusal for the audit line.
//
// While a credential is remembered, the same *Caller is returned.
func (s *Service) Authenticate(ctx context.Context, authorization []string, remote netip.Addr) (*Caller, error) {
	now := time.Now()
	token, refusal := bearer(authorization)
	if refusal != nil {
		if refusal.Reason == Missing { // nothing was guessed
			return nil, s.refuse(refusal)
		}
		return nil, s.failures.slow(s.refuse(refusal), remote, now)
	}
	hash := hashOf(token)
	minted := looksMinted(token)
	if caller := s.remembered(hash, minted, remote, now); caller != nil {
		return caller, nil
	}
	caller, refusal := s.verify(ctx, token, hash, minted, remote)
	if refusal == nil {
		return caller, nil
	}
	if refusal.Reason == Unavailable { // nobody knows whether it was wrong
		return nil, s.refuse(refusal)
	}
	return nil, s.failures.slow(s.refuse(refusal), remote, now)
}

// Forget forgets whoever was recognised lately: each is verified, or looked up, anew.
func (s *Service) Forget() {
	s.jwts.cache.InvalidateAll()
	s.minted.cache.InvalidateAll()
}

// remembered returns the caller of a credential that was good before. A minted token's word is taken only while a
// revocation would be heard of: otherwise the store is asked at each use.
func (s *Service) remembered(hash tokenHash, minted bool, remote netip.Addr, now time.Time) *Caller {
	switch {
	case !minted:
		return s.jwts.get(hash, now)
	case s.store.Hearing():
		return s.minted.get(hash, remote, now, s.uses)
	}
	return nil
}

// verify judges a credential that is not remembered, and remembers it where it is good.
func (s *Service) verify(ctx context.Context, token string, hash tokenHash, minted bool, remote netip.Addr) (*Caller, *Refusal) {
	switch {
	case minted && !isMinted(token):
		return nil, &Refusal{Reason: Foreign}
	case minted:
		return s.verifyMinted(ctx, hash, remote)
	}
	caller, refusal := s.verifyJWT(ctx, token)
	if refusal != nil {
		return nil, refusal
	}
	size := len(token)
	for _, group := range caller.Groups { // they need not have been in it
		size += len(group)
	}
	return s.jwts.put(hash, caller, size), nil
}

// issuerFor returns an issuer that people may sign in through. An empty name means the only one there is.
func (s *Service) issuerFor(name string) (*issuer, error) {
	if names := s.SignInIssuers(); name == "" && len(names) == 1 {
		name = names[0]
	}
	iss, ok := s.byName[name]
	if !ok || iss.Client == nil {
		return nil, fmt.Errorf("no sign-in through %q: it is one of %s", name, strings.Join(s.SignInIssuers(), ", "))
	}
	return iss, nil
}

// SignInIssuers returns the names of the issuers that people may sign in through, in the order of the configuration.
func (s *Service) SignInIssuers() []string {
	var names []string
	for _, c := range s.cfg.Issuers {
		if c.Client != nil {
			names = append(names, c.Name)
		}
	}
	return names
}
