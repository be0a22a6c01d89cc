package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// leeway is how far an issuer's clock may differ from ours.
const leeway = 30 * time.Second

// keySet verifies one token's signature for go-oidc and remembers what it found, since go-oidc's error is only text.
//
// It stands in for oidc.RemoteKeySet, which reads the issuer's keys again for every bad signature, at any rate, and keeps
// a withdrawn key for as long as no unknown one shows up.
type keySet struct {
	issuer      *issuer
	reads       *reads // what a question to the issuer is taken from
	payload     []byte // once verified
	unavailable error  // the issuer could not be asked whether it has a new key
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(raw, allowed())
	if err != nil {
		return nil, errors.New("not a signed JWT of an allowed algorithm")
	}
	known, err := k.issuer.known(ctx)
	if known == nil {
		k.unavailable = err
		return nil, err
	}
	if k.payload, err = verify(known.keys, signed); err == nil {
		return k.payload, nil
	}
	// Its key may have been rotated in since. The issuer is asked as often as reads allows, whatever arrives here.
	newer, refreshErr := k.issuer.refresh(ctx, known, k.reads)
	if newer != known {
		k.payload, err = verify(newer.keys, signed)
	}
	if errors.Is(err, errUnknownKey) {
		k.unavailable = refreshErr
	}
	return k.payload, err
}

func allowed() []jose.SignatureAlgorithm {
	list := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		list[i] = jose.SignatureAlgorithm(a)
	}
	return list
}

// verifyJWT checks a token of one of the issuers and returns who it stands for.
func (s *Service) verifyJWT(ctx context.Context, raw string) (*Caller, *Refusal) {
	name, err := unverifiedIssuer(raw)
	if err != nil {
		return nil, &Refusal{Reason: Malformed, Err: err}
	}
	iss, ok := s.byURL[name]
	if !ok {
		return nil, &Refusal{Reason: UnknownIssuer, Err: fmt.Errorf("iss is %.200q", name)}
	}
	token, claims, refusal := iss.verify(ctx, raw, iss.Audience, &iss.bearers)
	if refusal == nil && iss.Claims.OverageUserInfo && iss.groupsLeftOut(claims) {
		refusal = iss.addOverage(ctx, raw, token.Subject, claims)
	}
	if refusal != nil {
		return nil, refusal
	}
	caller, refusal := iss.caller(token.Subject, claims)
	if refusal != nil {
		return nil, refusal
	}
	caller.Expires = token.Expiry
	return caller, nil
}

// unverifiedIssuer reads the "iss" claim, which only chooses whose keys have to fit.
func unverifiedIssuer(raw string) (string, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", errors.New("neither a JWT nor a minted token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the JWT's payload is not base64url")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", errors.New("the JWT's payload is not JSON")
	}
	return claims.Issuer, nil
}

// verify checks signature, issuer, audience and times, in this order, so that what is told about a token is told to
// somebody who has a genuine one.
func (i *issuer) verify(ctx context.Context, raw string, audience []string, reads *reads) (*oidc.IDToken, claimSet, *Refusal) {
	refused := func(reason Reason, err error) (*oidc.IDToken, claimSet, *Refusal) {
		return nil, nil, &Refusal{Reason: reason, Issuer: i.Name, Err: err}
	}
	keys := &keySet{issuer: i, reads: reads}
	// Audience and times are checked below: there may be several audiences, and go-oidc has no leeway for "exp" and five
	// minutes for "nbf".
	token, err := oidc.NewVerifier(i.URL, keys, &oidc.Config{
		SupportedSigningAlgs: algorithms, SkipClientIDCheck: true, SkipExpiryCheck: true,
	}).Verify(ctx, raw)
	switch {
	case keys.unavailable != nil:
		return refused(Unavailable, keys.unavailable)
	case keys.payload == nil:
		return refused(BadSignature, errors.New(brief(err)))
	}
	claims, claimsErr := decodeClaims(keys.payload)
	switch {
	case claimsErr != nil:
		return refused(BadClaims, claimsErr)
	case err != nil && i.groupsLeftOut(claims): // go-oidc could not follow the reference either
		return refused(GroupsOverage, nil)
	case err != nil:
		return refused(BadClaims, errors.New(brief(err)))
	case !slices.ContainsFunc(token.Audience, func(a string) bool { return slices.Contains(audience, a) }):
		return refused(WrongAudience, fmt.Errorf("aud is %.200q", token.Audience))
	}
	now := time.Now()
	notBefore, ok := claims.time("nbf")
	switch {
	case !ok:
		return refused(BadClaims, errors.New("nbf is not a number"))
	case now.Before(notBefore.Add(-leeway)):
		return refused(NotYetValid, fmt.Errorf("nbf is %s", notBefore.UTC().Format(time.RFC3339)))
	case !now.Before(token.Expiry.Add(leeway)): // a missing exp is the year 1
		return refused(Expired, fmt.Errorf("exp is %s", token.Expiry.UTC().Format(time.RFC3339)))
	}
	return token, claims, nil
}
