package idp

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Draft is a token before it is signed.
type Draft struct {
	Claims map[string]any
	Header map[string]any // beside alg; "kid" and "typ" are set, a nil value takes one out
	Key    any            // private key, or a byte slice for HMAC; nil: no signature
	Alg    string         // the algorithm the header names and the key signs with; "none" needs no key
}

// Change spoils or adorns a draft.
type Change func(*Draft)

// Token mints a JWT for anybody, known or not, valid but for what the changes spoil. It carries what is known of the
// person. It panics where a change makes it unsignable: that is a mistake in the test.
func (p *Provider) Token(subject, audience string, changes ...Change) string {
	now := time.Now()
	claims := map[string]any{"sub": subject}
	if person, known := p.person(subject); known {
		claims = p.claims(person)
	}
	claims["iss"], claims["aud"], claims["jti"] = p.config.Issuer, audience, rand.Text()
	claims["iat"], claims["exp"] = now.Unix(), now.Add(p.config.TokenTTL).Unix()
	d := p.draft(RS256, claims)
	for _, change := range changes {
		change(d)
	}
	token, err := d.sign()
	if err != nil {
		panic("idp: minting a token: " + err.Error())
	}
	return token
}

// draft prepares claims to be signed by the current key of an algorithm.
func (p *Provider) draft(alg string, claims map[string]any) *Draft {
	key := p.signingKey(alg)
	return &Draft{Claims: claims, Header: map[string]any{"kid": key.KeyID, "typ": "JWT"}, Key: key.Key, Alg: alg}
}

// Claim sets a claim; nil removes it.
func Claim(name string, value any) Change {
	return func(d *Draft) {
		d.Claims[name] = value
		if value == nil {
			delete(d.Claims, name)
		}
	}
}

// Header sets a header parameter; nil removes it.
func Header(name string, value any) Change {
	return func(d *Draft) {
		d.Header[name] = value
		if value == nil {
			delete(d.Header, name)
		}
	}
}

// Expired makes a token whose time was up an hour ago.
func Expired() Change {
	return func(d *Draft) {
		d.Claims["iat"] = time.Now().Add(-2 * time.Hour).Unix()
		d.Claims["exp"] = time.Now().Add(-time.Hour).Unix()
	}
}

// NotYet makes a token that is valid from an hour from now.
func NotYet() Change {
	return func(d *Draft) {
		d.Claims["nbf"] = time.Now().Add(time.Hour).Unix()
		d.Claims["exp"] = time.Now().Add(2 * time.Hour).Unix()
	}
}

// SignedES256 signs with the provider's EC key instead of its RSA key.
func (p *Provider) SignedES256() Change {
	return func(d *Draft) {
		key := p.signingKey(ES256)
		d.Alg, d.Key, d.Header["kid"] = ES256, key.Key, key.KeyID
	}
}

// Unsigned makes the "alg": "none" forgery (RFC 7519, section 6).
func Unsigned() Change {
	return func(d *Draft) { d.Alg, d.Key = "none", nil }
}

// SignedWithPublicKey makes the algorithm confusion forgery: HS256, with the PEM of the provider's public RSA key as the
// secret, under that key's id (RFC 8725, section 2.1).
func (p *Provider) SignedWithPublicKey() Change {
	return func(d *Draft) {
		key := p.signingKey(RS256)
		der, err := x509.MarshalPKIXPublicKey(key.Public().Key)
		if err != nil {
			panic("idp: encoding its own public key: " + err.Error())
		}
		d.Alg, d.Key = "HS256", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
}

// SignedByStranger signs with a key that the provider never had, under the id of its own key.
func SignedByStranger() Change {
	return func(d *Draft) {
		strange, err := newKeys()
		if err != nil {
			panic(err.Error())
		}
		d.Alg, d.Key = RS256, strange.current[RS256].Key
	}
}

// sign gives the compact form (RFC 7515, section 7.1).
func (d *Draft) sign() (string, error) {
	payload, err := json.Marshal(d.Claims)
	if err != nil {
		return "", err
	}
	if d.Alg == "none" { // which no library signs, and rightly
		d.Header["alg"] = d.Alg
		header, err := json.Marshal(d.Header)
		encode := base64.RawURLEncoding.EncodeToString
		return encode(header) + "." + encode(payload) + ".", err
	}
	options := &jose.SignerOptions{}
	for name, value := range d.Header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(d.Alg), Key: d.Key}, options)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// claims is what tokens tell of a person.
func (p *Provider) claims(person Person) map[string]any {
	claims := p.fullClaims(person)
	if _, listed := claims["groups"]; listed && person.GroupsOverage {
		delete(claims, "groups")
		claims["_claim_names"] = map[string]string{"groups": "src1"}
		claims["_claim_sources"] = map[string]any{"src1": map[string]string{"endpoint": p.config.Issuer + "/userinfo"}}
	}
	return claims
}

// fullClaims is what userinfo tells of a person.
func (p *Provider) fullClaims(person Person) map[string]any {
	claims := map[string]any{"sub": person.Subject}
	if person.Name != "" {
		claims["name"] = person.Name
	}
	if person.Email != "" {
		claims["email"], claims["email_verified"] = person.Email, person.EmailVerified
	}
	if person.Groups != nil {
		claims["groups"] = person.Groups
	}
	for name, value := range person.Claims {
		claims[name] = value
	}
	return claims
}
