package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/sandbox/idp"
)

func TestAGoodBearerToken(t *testing.T) {
	s := newStage(t)
	token := s.corp.Token(ada.Subject, audience)
	got := s.good(t, token)
	if got.Kind != identity.Person || got.Issuer != "corp" || got.Subject != "ada-1" || got.Email != "ada@corp.example" || got.Name != "Ada" {
		t.Errorf("caller is %s %s %s %q %q", got.Kind, got.Issuer, got.Subject, got.Email, got.Name)
	}
	if want := []string{"payments-eng", "staff"}; !slices.Equal(got.Groups, want) {
		t.Errorf("groups are %q, want %q", got.Groups, want)
	}
	if got.Token != "" || got.Teams != nil || got.Claims["aud"] != audience {
		t.Errorf("token %q, teams %q, claims %v", got.Token, got.Teams, got.Claims)
	}
	if again := s.good(t, token); again != got {
		t.Error("the remembered token has another *Caller")
	}
	if other := s.good(t, s.corp.Token(ada.Subject, audience, s.corp.SignedES256())); other == got || other.Subject != got.Subject {
		t.Error("another token of the same person is not its own caller")
	}
}

func TestForgedTokens(t *testing.T) {
	s := newStage(t)
	forge := func(changes ...idp.Change) string { return s.corp.Token(ada.Subject, audience, changes...) }
	good := forge()
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString

	for name, c := range map[string]struct {
		token string
		want  identity.Reason
	}{
		"alg none":                       {forge(idp.Unsigned()), identity.BadSignature},
		"alg None":                       {encode([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".", identity.BadSignature},
		"HS256 with the public key":      {forge(s.corp.SignedWithPublicKey()), identity.BadSignature},
		"signed by a stranger":           {forge(idp.SignedByStranger()), identity.BadSignature},
		"signed by nobody":               {parts[0] + "." + parts[1] + ".", identity.BadSignature},
		"another payload":                {parts[0] + "." + encode([]byte(`{"iss":"`+corpURL+`","sub":"root"}`)) + "." + parts[2], identity.BadSignature},
		"another audience":               {s.corp.Token(ada.Subject, "billing"), identity.WrongAudience},
		"no audience":                    {forge(idp.Claim("aud", nil)), identity.WrongAudience},
		"audience that begins like ours": {s.corp.Token(ada.Subject, audience+"-2"), identity.WrongAudience},
		"another issuer":                 {forge(idp.Claim("iss", "https://evil.example")), identity.UnknownIssuer},
		"issuer with a slash":            {forge(idp.Claim("iss", corpURL+"/")), identity.UnknownIssuer},
		"issuer in other case":           {forge(idp.Claim("iss", strings.ToUpper(corpURL))), identity.UnknownIssuer},
		"no issuer":                      {forge(idp.Claim("iss", nil)), identity.UnknownIssuer},
		"expired":                        {forge(idp.Expired()), identity.Expired},
		"no expiry":                      {forge(idp.Claim("exp", nil)), identity.Expired},
		"future nbf":                     {forge(idp.NotYet()), identity.NotYetValid},
		"nbf that is no time":            {forge(idp.Claim("nbf", "tomorrow")), identity.BadClaims},
		"no subject":                     {forge(idp.Claim("sub", nil)), identity.BadClaims},
		"empty subject":                  {forge(idp.Claim("sub", "")), identity.BadClaims},
		"subject that breaks lines":      {forge(idp.Claim("sub", "ada\nroot")), identity.BadClaims},
		"endless subject":                {forge(idp.Claim("sub", strings.Repeat("a", 2000))), identity.BadClaims},
		"kid of another key":             {forge(idp.Header("kid", "es")), identity.BadSignature},
		"kid as a path":                  {forge(idp.Header("kid", "../../../../dev/null")), identity.BadSignature},
		"kid as SQL":                     {forge(idp.Header("kid", "x' UNION SELECT 'key")), identity.BadSignature},
		"kid of the EC key for RS256":    {forge(s.corp.SignedES256(), func(d *idp.Draft) { d.Header["kid"] = "rs" }), identity.BadSignature},
		"a payload that is no JSON":      {parts[0] + "." + encode([]byte("hello")) + "." + parts[2], identity.Malformed},
		"two parts":                      {parts[0] + "." + parts[1], identity.Malformed},
		"five parts, as if encrypted":    {good + ".a.b", identity.Malformed},
		"a word":                         {"hello", identity.Malformed},
		"groups left out, with a hint":   {forge(idp.Claim("groups", nil), idp.Claim("hasgroups", true)), identity.GroupsOverage},
		"groups by reference":            {forge(idp.Claim("groups", nil), idp.Claim("_claim_names", map[string]any{"groups": "s"}), idp.Claim("_claim_sources", map[string]any{"s": map[string]any{"endpoint": "https://graph.example"}})), identity.GroupsOverage},
		"groups by reference to nowhere": {forge(idp.Claim("groups", nil), idp.Claim("_claim_names", map[string]any{"groups": "s"})), identity.GroupsOverage},
	} {
		t.Run(name, func(t *testing.T) { s.refused(t, c.token, c.want) })
	}
	s.good(t, good)
}

// A key that is no signature key, or too weak to be one, verifies nothing although the issuer publishes it.
func TestKeySetsWithKeysThatMustNotBeUsed(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	symmetric := []byte("a symmetric key that everybody can read")
	strong, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		published jose.JSONWebKey
		sign      any
		algorithm string
		want      identity.Reason // "" where it is good
	}{
		"weak RSA":        {jose.JSONWebKey{Key: weak.Public(), KeyID: "k"}, weak, "RS256", identity.BadSignature},
		"symmetric":       {jose.JSONWebKey{Key: symmetric, KeyID: "k"}, symmetric, "HS256", identity.BadSignature},
		"for encryption":  {jose.JSONWebKey{Key: strong.Public(), KeyID: "k", Use: "enc"}, strong, "ES256", identity.BadSignature},
		"other algorithm": {jose.JSONWebKey{Key: strong.Public(), KeyID: "k", Algorithm: "ES384"}, strong, "ES256", identity.BadSignature},
		"good":            {jose.JSONWebKey{Key: strong.Public(), KeyID: "k"}, strong, "ES256", ""},
		"good, no kid":    {jose.JSONWebKey{Key: strong.Public()}, strong, "ES256", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			// A second key keeps the set from being empty, which is another fault.
			set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{c.published, {Key: other.Public(), KeyID: "other"}}}
			s.UseTransport("corp", inProcess{instead(s.corp, "/jwks", func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(set)
			})})
			token := s.corp.Token(ada.Subject, audience, func(d *idp.Draft) {
				d.Alg, d.Key, d.Header["kid"] = c.algorithm, c.sign, c.published.KeyID
				if c.published.KeyID == "" {
					delete(d.Header, "kid")
				}
			})
			if c.want == "" {
				s.good(t, token)
				return
			}
			s.refused(t, token, c.want)
		})
	}
}

// A token that brings its own key, or says where to get it, is verified with the issuer's all the same.
func TestKeysInTheHeaderAreNotLookedAt(t *testing.T) {
	s := newStage(t)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]idp.Change{
		"jwk": idp.Header("jwk", jose.JSONWebKey{Key: own.Public(), KeyID: "own"}),
		"jku": idp.Header("jku", "https://evil.example/jwks"),
		"x5u": idp.Header("x5u", "https://evil.example/cert"),
	} {
		t.Run(name, func(t *testing.T) {
			s.refused(t, s.corp.Token(ada.Subject, audience, change, func(d *idp.Draft) {
				d.Alg, d.Key, d.Header["kid"] = "ES256", own, "own"
			}), identity.BadSignature)
		})
	}
}

func TestTimesHaveALeewayAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		at := func(claim string, offset time.Duration) string {
			return s.corp.Token(ada.Subject, audience, idp.Claim(claim, time.Now().Add(offset).Unix()))
		}
		s.good(t, at("exp", -identity.Leeway+time.Second))
		s.refused(t, at("exp", -identity.Leeway-time.Second), identity.Expired)
		s.good(t, at("nbf", identity.Leeway-time.Second))
		s.refused(t, at("nbf", identity.Leeway+2*time.Second), identity.NotYetValid)
	})
}

func TestARememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		expires := time.Now().Add(time.Minute)
		token := s.corp.Token(ada.Subject, audience, idp.Claim("exp", expires.Unix()))
		s.good(t, token)
		time.Sleep(time.Until(expires) - time.Second)
		s.good(t, token)
		time.Sleep(time.Second + identity.Leeway)
		s.refused(t, token, identity.Expired)
	})
}

// Tokens that live for days are looked at again: their key may have been withdrawn.
func TestAWithdrawnKeyStopsWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageAlone(t)
		token := s.corp.Token(ada.Subject, audience, idp.Claim("exp", time.Now().Add(240*time.Hour).Unix()))
		s.good(t, token)
		if err := s.corp.RotateKeys(); err != nil {
			t.Fatal(err)
		}
		s.corp.ForgetOldKeys()
		time.Sleep(identity.RememberJWT + time.Second)
		_, _ = s.bearer(t, token) // the old keys serve while the new ones are read
		synctest.Wait()
		time.Sleep(identity.RememberJWT + time.Second)
		s.refused(t, token, identity.BadSignature)
	})
}

func TestClaimsFromHostileHands(t *testing.T) {
	s := newStage(t)
	caller := func(changes ...idp.Change) *identity.Caller {
		return s.good(t, s.corp.Token(ada.Subject, audience, changes...))
	}
	for name, c := range map[string]struct {
		groups any
		want   []string
	}{
		"one empty":        {[]any{""}, nil},
		"blank":            {[]any{" ", "\t"}, nil},
		"empty among some": {[]any{"", "staff", ""}, []string{"staff"}},
		"not strings":      {[]any{1, true, nil, map[string]any{"staff": 1}, []any{"staff"}}, nil},
		"one as a string":  {"staff", []string{"staff"}},
		"empty string":     {"", nil},
		"no list":          {map[string]any{"0": "staff"}, nil},
		"prefix of ours":   {[]any{"payments"}, []string{"payments"}},
		"none":             {nil, nil},
	} {
		t.Run("groups/"+name, func(t *testing.T) {
			if got := caller(idp.Claim("groups", c.groups)).Groups; !slices.Equal(got, c.want) {
				t.Errorf("groups %v became %q, want %q", c.groups, got, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		email, verified any
		want            string
	}{
		"verified":              {"a@corp.example", true, "a@corp.example"},
		"verified, in words":    {"a@corp.example", "true", "a@corp.example"},
		"not verified":          {"a@corp.example", false, ""},
		"nothing said":          {"a@corp.example", nil, ""},
		"verified by a number":  {"a@corp.example", 1, ""},
		"verified, in capitals": {"a@corp.example", "TRUE", ""},
		"two at signs":          {"a@evil@corp.example", true, ""},
		"quoted at sign":        {`"a@evil"@corp.example`, true, ""},
		"no domain":             {"a@", true, ""},
		"no name":               {"@corp.example", true, ""},
		"no at sign":            {"corp.example", true, ""},
		"a space":               {"a @corp.example", true, ""},
		"a line break":          {"a@corp.example\nb", true, ""},
		"display name":          {"Ada <a@corp.example>", true, ""},
		"two addresses":         {"a@corp.example,b", true, ""},
		"a list":                {[]any{"a@corp.example"}, true, ""},
	} {
		t.Run("email/"+name, func(t *testing.T) {
			if got := caller(idp.Claim("email", c.email), idp.Claim("email_verified", c.verified)).Email; got != c.want {
				t.Errorf("email %q, verified %v became %q, want %q", c.email, c.verified, got, c.want)
			}
		})
	}
	if got := caller(idp.Claim("name", "Ada\x1b[2J\nroot")).Name; got != "Ada[2Jroot" {
		t.Errorf("a name that steers terminals became %q", got)
	}
	if got := caller(idp.Claim("id", 12345678901234567)).Claims["id"]; fmt.Sprint(got) != "12345678901234567" {
		t.Errorf("a long number became %v", got)
	}
}

func TestClaimsUnderOtherNames(t *testing.T) {
	s := newStage(t, func(c *identity.Config) {
		c.Issuers[0].Claims = identity.Claims{Groups: "roles", Email: "upn"}
	})
	got := s.good(t, s.corp.Token(ada.Subject, audience,
		idp.Claim("roles", []any{"admin"}), idp.Claim("upn", "ada@upn.example")))
	if !slices.Equal(got.Groups, []string{"admin"}) || got.Email != "ada@upn.example" {
		t.Errorf("groups %q, email %q: the configured claims were not read", got.Groups, got.Email)
	}
}

// The same subject at two issuers is two people, and an issuer without a client vouches for workloads.
func TestTwoIssuersThatShareASubject(t *testing.T) {
	const ciURL = "https://ci.example"
	ci, err := idp.New(idp.Config{Issuer: ciURL})
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *identity.Config) {
		c.Issuers = append(c.Issuers, identity.Issuer{Name: "ci", URL: ciURL, Audience: []string{audience}})
	})
	s.UseTransport("ci", inProcess{ci})
	person := s.good(t, s.corp.Token(ada.Subject, audience))
	job := s.good(t, ci.Token(ada.Subject, audience, idp.Claim("repository", "acme/payments")))
	if person.Issuer == job.Issuer || job.Kind != identity.Workload || job.Claims["repository"] != "acme/payments" {
		t.Errorf("person %s/%s, job %s/%s %s", person.Issuer, person.Subject, job.Issuer, job.Subject, job.Kind)
	}
	// Signed by one, claiming to be the other.
	s.refused(t, ci.Token(ada.Subject, audience, idp.Claim("iss", corpURL)), identity.BadSignature)
	s.refused(t, s.corp.Token(ada.Subject, audience, idp.Claim("iss", ciURL)), identity.BadSignature)

	mine, _ := s.mint(t, person)
	theirs, _ := s.mint(t, job)
	if s.good(t, mine).Issuer != "corp" || s.good(t, theirs).Issuer != "ci" {
		t.Error("tokens minted for the two are mixed up")
	}
	if err := s.Suspend(t.Context(), "ci", ada.Subject, "left"); err != nil {
		t.Fatal(err)
	}
	s.good(t, mine)
	s.refused(t, theirs, identity.Suspended)
}
