package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeys bounds a key set. Issuers have two to ten; a token without a key id is tried against all that fit.
	maxKeys = 64
	// minRSABits is what RFC 7518 section 3.3 asks for.
	minRSABits = 2048
)

// algorithms are the signatures we take: all asymmetric. With HS256 the public key would be a password, and "none" is
// none.
var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// key is one public key of an issuer.
type key struct {
	id        string
	algorithm string // the only one it may be used with, "" where its issuer does not say
	public    any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// parseKeys reads a key set (RFC 7517 section 5). Keys of an unknown or unwanted kind are left out, as it demands.
func parseKeys(body []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d are read", len(set.Keys), maxKeys)
	}
	var keys []key
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err != nil || k.Use == "enc" || !asymmetric(k.Key) {
			continue
		}
		keys = append(keys, key{id: k.KeyID, algorithm: k.Algorithm, public: k.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it that can verify a signature")
	}
	return keys, nil
}

func asymmetric(public any) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// Why a signature could not be verified. Only for an unknown key does it matter whether the issuer can be asked.
var (
	errUnknownKey = errors.New("the issuer is not known to have the key")
	errNoKeyFits  = errors.New("no key of the issuer fits the signature")
)

// verify returns the signed payload. The key id only ever selects among the issuer's own keys; keys, certificates and
// URLs in the token's header ("jwk", "x5c", "jku", "x5u") are not looked at.
func verify(keys []key, signed *jose.JSONWebSignature) ([]byte, error) {
	if len(signed.Signatures) != 1 {
		return nil, errors.New("not exactly one signature")
	}
	header, failure := signed.Signatures[0].Protected, errUnknownKey
	for _, k := range keys {
		if header.KeyID != "" && header.KeyID != k.id {
			continue
		}
		failure = errNoKeyFits
		if k.algorithm != "" && k.algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(k.public); err == nil {
			return payload, nil
		}
	}
	return nil, failure
}
