package identity

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"corp.example/gateway/internal/seal"
)

// The defaults of Tokens.
const (
	DefaultMaxAge              = 90 * 24 * time.Hour
	DefaultReauthenticateAfter = 30 * 24 * time.Hour
)

// Config says whom to believe.
type Config struct {
	PublicURL string     // where browsers find the gateway, scheme and host; needed where an issuer has a Client
	Issuers   []Issuer   // who may vouch for callers; none: minted tokens only
	Tokens    Tokens     // bounds on minted tokens
	Seal      *seal.Keys // what refresh tokens are kept under; nil: issuers are not asked for any

	// RefreshMembership is how often issuers that gave a refresh token are asked whether its person is still with them;
	// zero: never, and issuers are not asked for refresh tokens.
	RefreshMembership time.Duration

	Log *slog.Logger // hears of trouble no request is waiting for, such as an issuer that is down; nil: nobody does
}

// Issuer is one OpenID Connect issuer.
type Issuer struct {
	Name     string   // what policies and audit lines call it; unique
	URL      string   // its issuer identifier, compared with the "iss" claim byte for byte; https, or http on loopback
	Audience []string // a bearer token is for this gateway when its "aud" names one of these; at least one
	Client   *Client  // present: people sign in through it, and its subjects count as persons; absent: as workloads
	Claims   Claims   // where it puts what the gateway needs
	CAFile   string   // PEM file with the authorities its certificate is checked against; empty: the system's
}

// Client is the gateway's own registration at an issuer.
type Client struct {
	ID     string // client_id; ID tokens from the sign-in must be for it
	Secret string // client_secret; empty: a public client, which PKCE protects
	Prompt string // what the issuer is asked to show at each sign-in: consent, login or select_account; empty: what it thinks is needed
}

// Format prints the client without its secret, whatever the verb.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "client "+c.ID) }

// MarshalText encodes the client without its secret.
func (c Client) MarshalText() ([]byte, error) { return []byte("client " + c.ID), nil }

// Claims names the claims that differ between issuers.
type Claims struct {
	Groups string // list of group names; empty: "groups"
	Email  string // e-mail address, believed only where "email_verified" is true; empty: "email"

	// OverageUserInfo has groups that a bearer token leaves out because there are too many fetched from the issuer's
	// userinfo endpoint, with the token itself. False: such a token is refused.
	OverageUserInfo bool
}

// Tokens bounds minted tokens.
type Tokens struct {
	// MaxAge is the longest a minted token may live; zero: DefaultMaxAge.
	MaxAge time.Duration
	// ReauthenticateAfter is how long a minted token works after its owner's last proof of being who they are: a
	// sign-in, or the bearer token it was minted with. It bounds how long the tokens of somebody who has left the
	// company live; zero: DefaultReauthenticateAfter. Tokens created on the command line have no owner who could sign
	// in, so it does not apply to them: whoever has the operator's access to the state is the one vouching.
	ReauthenticateAfter time.Duration
}

// withDefaults returns the config with every zero value that has a meaning replaced by it.
func (c Config) withDefaults() Config {
	if c.Tokens.MaxAge == 0 {
		c.Tokens.MaxAge = DefaultMaxAge
	}
	if c.Tokens.ReauthenticateAfter == 0 {
		c.Tokens.ReauthenticateAfter = DefaultReauthenticateAfter
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Issuers = slices.Clone(c.Issuers)
	for i := range c.Issuers {
		if c.Issuers[i].Claims.Groups == "" {
			c.Issuers[i].Claims.Groups = "groups"
		}
		if c.Issuers[i].Claims.Email == "" {
			c.Issuers[i].Claims.Email = "email"
		}
	}
	return c
}

// Validate returns all faults of the config, each naming its key as in gateway.yaml.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	names, urls, signIn := map[string]bool{}, map[string]bool{}, false
	for i, iss := range c.Issuers {
		key := fmt.Sprintf("identity.issuers[%d]", i)
		if iss.Name == "" {
			fault("%s.name: missing", key)
		} else if names[iss.Name] {
			fault("%s.name: %q is already the name of another issuer", key, iss.Name)
		}
		if err := checkURL(iss.URL); err != nil {
			fault("%s.url: %w", key, err)
		} else if urls[iss.URL] {
			// Two names for one issuer would make two people of each of its subjects.
			fault("%s.url: %q is already the URL of another issuer", key, iss.URL)
		}
		names[iss.Name], urls[iss.URL] = true, true
		if len(iss.Audience) == 0 || slices.Contains(iss.Audience, "") {
			fault("%s.audience: name at least one audience, and no empty one: without it any token of the issuer would do", key)
		}
		if iss.Client != nil {
			signIn = true
			if iss.Client.ID == "" {
				fault("%s.client.id: missing", key)
			}
		}
	}
	if c.Tokens.MaxAge < 0 {
		fault("identity.tokens.max_age: %v is negative", c.Tokens.MaxAge)
	}
	if c.RefreshMembership < 0 {
		fault("identity.refresh_membership: %v is negative", c.RefreshMembership)
	}
	if c.Tokens.ReauthenticateAfter < 0 {
		fault("identity.tokens.reauthenticate_after: %v is negative", c.Tokens.ReauthenticateAfter)
	}
	if signIn || c.PublicURL != "" {
		if err := checkURL(c.PublicURL); err != nil {
			fault("server.public_url: %w", err)
		}
	}
	return errors.Join(faults...)
}

// checkURL accepts what checkEndpoint does, without a query.
func checkURL(raw string) error {
	if u, err := url.Parse(raw); err == nil && (u.RawQuery != "" || u.ForceQuery) {
		return fmt.Errorf("%q is not a plain URL", raw)
	}
	return checkEndpoint(raw)
}

// checkEndpoint accepts https, and http on loopback, where no network can listen in.
func checkEndpoint(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return errors.New("missing")
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q is not a plain URL", raw)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q must be https (plain http is for loopback only)", raw)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
