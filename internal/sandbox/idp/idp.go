// Package idp is a small OpenID provider for the demo and for tests: people sign in by pressing a button with their name
// on it. It speaks the authorization code flow with PKCE, rotating refresh tokens and client credentials, and can be told
// to misbehave as providers do: keys that rotate, an outage, a person who has left.
//
// Invariant: what its endpoints issue is as strict as a real provider's (codes are single use and short-lived, redirect
// URIs match exactly, a reused refresh token ends its grant). It authenticates nobody: whoever reaches its sign-in page may
// be anyone it lists. It must never be reachable by, or trusted for, anything but a demo or a test.
package idp

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is what a Provider is made of.
type Config struct {
	Issuer     string        // its URL, under whose path the endpoints are; plain HTTP is allowed
	Clients    []Client      // who may ask for tokens
	People     []Person      // who may sign in, in the order of the page
	TokenTTL   time.Duration // how long access and ID tokens are valid; zero: 10 minutes
	RefreshTTL time.Duration // how long a refresh token may wait to be used; zero: 30 days
}

// Client is an application that may ask for tokens.
type Client struct {
	ID           string
	Secret       string   // empty: a public client, which must use PKCE and gets no client credentials
	RedirectURIs []string // matched exactly; those of sign-out too
	Audience     string   // of its access tokens; empty: its ID
	Alg          string   // of its tokens: RS256 or ES256; empty: RS256
}

// Person is somebody who may sign in.
type Person struct {
	Subject       string
	Email         string // empty: no e-mail claims
	EmailVerified bool
	Name          string
	Groups        []string
	GroupsOverage bool           // tokens point at the userinfo endpoint for the groups instead of listing them (_claim_names)
	Claims        map[string]any // further claims; they take precedence over the ones above
}

// Provider is one issuer. It is an http.Handler and safe for concurrent use.
type Provider struct {
	config  Config
	path    string // of the issuer, without a slash at its end
	clients map[string]Client
	mux     *http.ServeMux
	page    *template.Template

	mu       sync.Mutex
	keys     *keys
	people   []Person
	left     map[string]bool // subjects who have left the company
	signedIn string          // the subject that needs no button
	down     bool
	asked    map[string]int // requests by endpoint name
	grants   map[string]*grant
}

// New returns a provider with fresh keys. The error names every fault of the configuration.
func New(c Config) (*Provider, error) {
	if c.TokenTTL == 0 {
		c.TokenTTL = 10 * time.Minute
	}
	if c.RefreshTTL == 0 {
		c.RefreshTTL = 30 * 24 * time.Hour
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.Scheme != "http" && issuer.Scheme != "https" || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" {
		return nil, fmt.Errorf("idp: issuer %q: an http or https URL without query is expected", c.Issuer)
	}
	p := &Provider{
		config: c, page: newPage(), path: strings.TrimSuffix(issuer.Path, "/"), clients: map[string]Client{},
		people: slices.Clone(c.People), left: map[string]bool{}, asked: map[string]int{}, grants: map[string]*grant{},
	}
	var faults []error
	for _, client := range c.Clients {
		faults = append(faults, p.addClient(client))
	}
	seen := map[string]bool{}
	for _, person := range c.People {
		if person.Subject == "" || seen[person.Subject] {
			faults = append(faults, fmt.Errorf("idp: person %q: a subject of their own is expected", person.Subject))
		}
		seen[person.Subject] = true
	}
	p.keys, err = newKeys()
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	p.mux = p.routes()
	return p, nil
}

func (p *Provider) addClient(c Client) error {
	if _, twice := p.clients[c.ID]; twice || c.ID == "" {
		return fmt.Errorf("idp: client %q: an id of its own is expected", c.ID)
	}
	if c.Alg == "" {
		c.Alg = RS256
	}
	if c.Alg != RS256 && c.Alg != ES256 {
		return fmt.Errorf("idp: client %q: alg %q: use RS256 or ES256", c.ID, c.Alg)
	}
	if c.Audience == "" {
		c.Audience = c.ID
	}
	p.clients[c.ID] = c
	return nil
}

// The endpoints by name, as Requests counts them.
const (
	Discovery     = "discovery"
	KeySet        = "jwks"
	Authorization = "authorize"
	TokenEndpoint = "token"
	UserInfo      = "userinfo"
	Revocation    = "revoke"
	EndSession    = "end_session"
)

func (p *Provider) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern, name string, h http.HandlerFunc) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+p.path+path, func(w http.ResponseWriter, r *http.Request) {
			if p.count(name) {
				http.Error(w, "The provider is out of service.", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			h(w, r)
		})
	}
	handle("GET /.well-known/openid-configuration", Discovery, p.discovery)
	handle("GET /jwks", KeySet, p.keySet)
	handle("GET /authorize", Authorization, p.authorize)
	handle("POST /authorize", Authorization, p.authorize)
	handle("POST /token", TokenEndpoint, p.token)
	handle("GET /userinfo", UserInfo, p.userInfo)
	handle("POST /userinfo", UserInfo, p.userInfo)
	handle("POST /revoke", Revocation, p.revoke)
	handle("GET /end_session", EndSession, p.endSession)
	handle("POST /end_session", EndSession, p.endSession)
	handle("GET /style.css", "style", serveStyle)
	return mux
}

// count notes a request and reports whether the provider is out of service.
func (p *Provider) count(endpoint string) (down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[endpoint]++
	return p.down
}

// ServeHTTP answers one request.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	p.mux.ServeHTTP(w, r)
}

// Issuer is the URL by which clients find the provider.
func (p *Provider) Issuer() string { return p.config.Issuer }

// SetDown takes the provider out of service, or brings it back: every endpoint answers 503.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Requests is how often an endpoint was asked, also while down.
func (p *Provider) Requests(endpoint string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[endpoint]
}

// SignInAs makes the sign-in page choose a person by itself, as for somebody whose session at the provider lives. An empty
// subject brings the page back.
func (p *Provider) SignInAs(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signedIn = subject
}

// Put adds a person, replaces what is known of them, or takes them back after Leave. Their next tokens say so.
func (p *Provider) Put(person Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.left, person.Subject)
	i := slices.IndexFunc(p.people, func(known Person) bool { return known.Subject == person.Subject })
	if i < 0 {
		p.people = append(p.people, person)
	} else {
		p.people[i] = person
	}
}

// Leave is a person leaving the company: they cannot sign in, their refresh tokens are refused, and userinfo answers 401.
// Tokens already issued stay valid until they expire, as everywhere.
func (p *Provider) Leave(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[subject] = true
	maps.DeleteFunc(p.grants, func(_ string, g *grant) bool { return g.subject == subject })
}

// person finds somebody by subject or e-mail who has not left.
func (p *Provider) person(hint string) (Person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, person := range p.people {
		if hint != "" && (person.Subject == hint || person.Email == hint) && !p.left[person.Subject] {
			return person, true
		}
	}
	return Person{}, false
}

// discovery answers OpenID Connect Discovery 1.0, section 3.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	at := strings.TrimSuffix(p.config.Issuer, "/")
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.config.Issuer,
		"authorization_endpoint":                         at + "/authorize",
		"token_endpoint":                                 at + "/token",
		"userinfo_endpoint":                              at + "/userinfo",
		"jwks_uri":                                       at + "/jwks",
		"revocation_endpoint":                            at + "/revoke",
		"end_session_endpoint":                           at + "/end_session",
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", "client_credentials"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{RS256, ES256},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":               []string{"S256"},
		"scopes_supported":                               []string{"openid", "profile", "email", "groups", "offline_access"},
		"claims_supported":                               []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "name", "email", "email_verified", "groups"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // plain data; the client may be gone
}
