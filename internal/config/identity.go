package config

import (
	"fmt"
	"slices"
	"time"

	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/strictyaml"
)

// Identity is who may be known.
type Identity struct {
	// Issuers are OpenID Connect issuers whose tokens are believed. None: minted tokens only.
	Issuers []Issuer `yaml:"issuers"`
	Tokens  Tokens   `yaml:"tokens"`
	// RefreshMembership is how often issuers that gave a refresh token are asked whether a person is still with the
	// company, and in which groups. It needs state.seal_key, which refresh tokens are kept under. Default 15m; 0s: never.
	RefreshMembership *strictyaml.Duration `yaml:"refresh_membership"`
}

// Issuer is one OpenID Connect issuer.
type Issuer struct {
	// Name names the issuer in the policy, in logs and in the audit log.
	Name string `yaml:"name"`
	// URL is its issuer identifier, exactly as in its tokens' iss. Plain HTTP only on loopback.
	URL string `yaml:"url"`
	// Audience is what a token's aud must hold one of.
	Audience []string `yaml:"audience"`
	// Client is the gateway's own registration there. Present: people sign in to the portal through this issuer.
	Client *Client `yaml:"client"`
	// Claims names the claims that hold groups and e-mail. Default {groups: groups, email: email}.
	Claims Claims `yaml:"claims"`
	// CAFile holds the certificate authorities the issuer's certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// Client is an OpenID Connect client registration.
type Client struct {
	ID     string        `yaml:"id"`
	Secret secret.Source `yaml:"secret"`
	// Prompt is what the issuer is asked to show at each sign-in: consent, login or select_account. Some issuers give a
	// refresh token only after consent. Default: what it thinks is needed.
	Prompt string `yaml:"prompt"`
}

// Claims says where an issuer puts what the gateway needs.
type Claims struct {
	// Groups and Email name the claims that hold them.
	Groups string `yaml:"groups"`
	Email  string `yaml:"email"`
	// Overage is what is done with a bearer token that leaves the groups out because there are too many (_claim_names):
	// refuse, or userinfo to ask the issuer's userinfo endpoint with it. Default refuse.
	Overage string `yaml:"overage" jsonschema:"enum=refuse,enum=userinfo"`
}

// Tokens are the rules for minted tokens.
type Tokens struct {
	// MaxAge is the longest life of a minted token. Default 90d.
	MaxAge strictyaml.Duration `yaml:"max_age" zero:"no"`
	// ReauthenticateAfter is how long after its owner's last sign-in a minted token works. Default 30d.
	ReauthenticateAfter strictyaml.Duration `yaml:"reauthenticate_after" zero:"no"`
}

func (i *Identity) fillDefaults() {
	for n := range i.Issuers {
		setDefault(&i.Issuers[n].Claims.Groups, "groups")
		setDefault(&i.Issuers[n].Claims.Email, "email")
		setDefault(&i.Issuers[n].Claims.Overage, "refuse")
	}
	setDefault(&i.Tokens.MaxAge, strictyaml.Duration(90*24*time.Hour))
	setDefault(&i.Tokens.ReauthenticateAfter, strictyaml.Duration(30*24*time.Hour))
	if i.RefreshMembership == nil {
		i.RefreshMembership = new(strictyaml.Duration(15 * time.Minute))
	}
}

// paths are those of the section, to be made absolute.
func (i *Identity) paths() []*string {
	var paths []*string
	for n := range i.Issuers {
		issuer := &i.Issuers[n]
		paths = append(paths, &issuer.CAFile)
		if issuer.Client != nil {
			paths = append(paths, &issuer.Client.Secret.File)
		}
	}
	return paths
}

func (v *validation) identity(identity *Identity) {
	seen := map[string]bool{}
	urls := map[string]bool{}
	for i, issuer := range identity.Issuers {
		at := func(keys ...any) []any { return append([]any{"identity", "issuers", i}, keys...) }
		v.name(issuer.Name, seen, at("name")...)
		v.baseURL(issuer.URL, at("url")...)
		if urls[issuer.URL] {
			v.fault(fmt.Sprintf("%q is configured twice", issuer.URL), at("url")...)
		}
		urls[issuer.URL] = true
		if len(issuer.Audience) == 0 || slices.Contains(issuer.Audience, "") {
			v.fault("is missing: name the audience its tokens carry for the gateway, or any token of that issuer would do", at("audience")...)
		}
		if issuer.Client != nil {
			if issuer.Client.ID == "" {
				v.fault("is missing", at("client", "id")...)
			}
			if !issuer.Client.Secret.IsZero() {
				v.secret(issuer.Client.Secret, at("client", "secret")...)
			}
			if !slices.Contains([]string{"", "consent", "login", "select_account"}, issuer.Client.Prompt) {
				v.fault(fmt.Sprintf("%q is not one of consent, login, select_account", issuer.Client.Prompt), at("client", "prompt")...)
			}
		}
		if !slices.Contains([]string{"refuse", "userinfo"}, issuer.Claims.Overage) {
			v.fault(fmt.Sprintf("%q is not one of refuse, userinfo", issuer.Claims.Overage), at("claims", "overage")...)
		}
		v.authorities(issuer.CAFile, at("ca_file")...)
	}
	if every := *identity.RefreshMembership; every < 0 {
		v.fault(fmt.Sprintf("%s is negative; 0s turns it off", every), "identity", "refresh_membership")
	}
	if tokens := identity.Tokens; tokens.MaxAge > strictyaml.Duration(366*24*time.Hour) {
		v.fault(fmt.Sprintf("%s is over a year: a forgotten token must end by itself", tokens.MaxAge), "identity", "tokens", "max_age")
	}
}
