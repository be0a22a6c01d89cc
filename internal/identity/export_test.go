package identity

import (
	"context"
	"net/http"
)

// UseTransport has an issuer's requests answered by next, so that tests need no network and can step over time.
func (s *Service) UseTransport(issuer string, next http.RoundTripper) {
	client := s.byName[issuer].client
	transport := client.Transport.(bounded) // what bounds the answers stays
	transport.next = next
	client.Transport = transport
}

// AskLate asks an issuer for its keys as one does who looked for them before they were there.
func (s *Service) AskLate(ctx context.Context, issuer string) error {
	iss := s.byName[issuer]
	_, err := iss.refresh(ctx, nil, &iss.signIns)
	return err
}

// Remembered counts the credentials that would be recognised without a look at anything.
func (s *Service) Remembered() int {
	s.jwts.cache.CleanUp()
	s.minted.cache.CleanUp()
	return s.jwts.cache.EstimatedSize() + s.minted.cache.EstimatedSize()
}

// CountedAddresses is how many addresses have failed lately.
func (s *Service) CountedAddresses() int {
	s.failures.mu.Lock()
	defer s.failures.mu.Unlock()
	return len(s.failures.byAddress)
}

// Hints are what clients are told, by reason.
func (s *Service) Hints() map[Reason]string { return s.hints }

// Bearer, IsMinted and SafeReturn give the parsers to tables and fuzz tests.
func Bearer(authorization []string) (string, bool) {
	token, refusal := bearer(authorization)
	return token, refusal == nil
}
func IsMinted(token string) bool       { return isMinted(token) }
func NewSecret() string                { return newSecret() }
func SafeReturn(path string) string    { return safeReturn(path) }
func OwnerKey(issuer, s string) string { return ownerKey(issuer, s) }

const (
	RefetchAfter    = refetchAfter
	MaxOverages     = maxOverages
	RingAge         = ringAge
	RememberJWT     = rememberJWT
	RememberToken   = rememberToken
	BackoffMax      = backoffMax
	Leeway          = leeway
	FailuresFree    = failuresFree
	FailuresTable   = failuresTable
	FailureDrain    = failureDrain
	UseEvery        = useEvery
	SessionIdle     = sessionIdle
	SessionAbsolute = sessionAbsolute
	SignInTime      = signInTime
	LoginTime       = loginTime
	LoginTries      = loginTries
	MaxLogins       = maxLogins
	MaxTokens       = maxTokensPerOwner
	MaxBearerBytes  = maxBearerBytes
	MaxIssuerBytes  = maxIssuerBytes
	DefaultTokenAge = DefaultMaxAge
	Home            = home
)

// Drain is how long an address needs to be forgotten.
const Drain = failuresMax * failureDrain
