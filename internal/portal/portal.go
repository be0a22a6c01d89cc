// Package portal is the gateway's face to people: pages where they sign in, see who they are and what they may do, and
// make the tokens their tools use; and the same as JSON for tools that hold one.
//
// Invariant: a page is shown to the browser's session and JSON to the bearer, never one for the other's proof; nothing
// changes unless the request comes from a page of this session; and nobody is shown what concerns others, unless they
// administer the gateway. The package decides nothing about calls: it shows what policy says.
package portal

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
)

// Config is what the portal shows. Identity, Policy, Catalog, PublicURL, Audit, Service and Purge are
// required.
type Config struct {
	Identity  *identity.Service
	Policy    func() *policy.Policy // the policy in force
	Catalog   *catalog.Catalog
	PublicURL string // where people and their tools find the gateway

	// MaxTokenAge is the longest a token may live, as Identity enforces it: the form offers no more. Zero:
	// identity.DefaultMaxAge.
	MaxTokenAge time.Duration

	// Resolve returns what is known of a call's target, as the proxy looks it up before it asks the policy. Nil: what the
	// path says, and answers to "may I" name what they lack.
	Resolve func(ctx context.Context, c *identity.Caller, team string, call *catalog.Call) (policy.Target, error)

	// Names returns what the projects and organizations that a caller sees are called, by scope ("project:ref",
	// "organization:slug"), as far as that can be found out; the error says why not all of it. Nil: pages show references.
	Names func(ctx context.Context, c *identity.Caller) (map[string]string, error)

	// Quota returns every rate-limit bucket. Nil: there is no quota page.
	Quota func() []limiter.BucketState

	// AuditLines searches the audit log. Nil: there is no audit page.
	AuditLines func(ctx context.Context, f audit.Filter) iter.Seq2[audit.Line, error]

	// Audit records what is changed here: tokens made and revoked, and the cache purged.
	Audit *audit.Log

	// Service returns the state of the service, for administrators.
	Service func(ctx context.Context) Service

	// Connect begins to connect an OAuth credential for a person and returns where that person agrees; Connected finishes it
	// with the answer that upstream sends the browser back with, and returns the credential's name. Nil: by command only.
	Connect   func(ctx context.Context, name, redirect, who string) (url string, err error)
	Connected func(ctx context.Context, who string, answer url.Values) (name string, err error)

	// Purge forgets the cached answers of a project or of an operation, whichever is not empty, and all where both are. It
	// returns how many those were.
	Purge func(project, operation string) int

	TrustedProxies clientaddr.Trusted
	Log            *slog.Logger // nil: silence
}

// Portal answers everything that Serves reports.
type Portal struct {
	config    Config
	publicURL string // without a slash at its end
	origins   *http.CrossOriginProtection
	routes    []route
	looks     *looks
	searches  chan struct{} // a place for each search of the audit log that may run at a time
}

// New makes the portal.
func New(config Config) (*Portal, error) {
	if config.MaxTokenAge == 0 {
		config.MaxTokenAge = identity.DefaultMaxAge
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	p := &Portal{
		config: config, publicURL: strings.TrimSuffix(config.PublicURL, "/"),
		origins: http.NewCrossOriginProtection(), searches: make(chan struct{}, maxSearches),
	}
	// A browser that sends only an Origin is compared with the address people use, whatever name a proxy in front of the
	// gateway puts into Host.
	if public, err := url.Parse(p.publicURL); err == nil && public.Host != "" {
		if err := p.origins.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
			return nil, err
		}
	}
	var err error
	if p.looks, err = newLooks(); err != nil {
		return nil, err
	}
	p.routes = p.allRoutes()
	return p, nil
}

// Serves reports whether a request is the portal's. Paths are compared as they came: what is encoded another way is not.
func Serves(r *http.Request) bool {
	path := r.URL.EscapedPath()
	return path == "/" || path == "/-" || strings.HasPrefix(path, "/-/") || path == cliLoginPath || strings.HasPrefix(path, cliPollPath)
}

// The portal's paths that are named in more than one place.
const (
	homePath     = "/-/"
	signInPath   = "/-/sign-in"
	tokensPath   = "/-/tokens"
	accessPath   = "/-/access"
	quotaPath    = "/-/quota"
	auditPath    = "/-/audit"
	adminPath    = "/-/admin"
	purgePath    = "/-/admin/purge"
	connectPath  = "/-/admin/connect"   // begins to connect an OAuth credential
	connectedURL = "/-/admin/connected" // where upstream sends the browser back to: registered with the app
	apiPath      = "/-/api/"
	cliLoginPath = "/cli/login"                // "supabase login" opens it: {dashboard_url}/cli/login
	cliLinkPath  = "/-/cli"                    // takes the link where the CLI shows one to somewhere else
	cliPollPath  = "/platform/cli/login/"      // and asks here: {api_url}/platform/cli/login/{session}
	callbackPath = identity.CallbackPath       // registered at the identity provider
	cliPollRoute = cliPollPath + parameterMark // the session is its last segment
)

// allRoutes is every page, form and call of the portal.
func (p *Portal) allRoutes() []route {
	routes := []route{
		{"GET", "/", anybody, toHome},
		{"GET", "/-", anybody, toHome},
		{"GET", signInPath, anybody, p.signIn},
		{"GET", callbackPath, anybody, p.callback},
		{"GET", "/-/profile.yaml", anybody, p.profileFile},
		{"GET", assetPath + parameterMark, anybody, p.asset},
		{"GET", cliPollRoute, anybody, p.pollCLI},

		{"GET", homePath, person, p.home},
		{"GET", tokensPath, person, p.tokens},
		{"GET", accessPath, person, p.access},
		{"GET", cliLoginPath, person, p.askCLI},
		{"GET", cliLinkPath, person, p.pasteLink},

		{"POST", "/-/sign-out", form, p.signOut},
		{"POST", tokensPath, form, p.createToken},
		{"POST", "/-/tokens/revoke", form, p.revokeToken},
		{"POST", cliLoginPath, form, p.agreeCLI},
		{"POST", cliLinkPath, form, p.followLink},

		{"GET", adminPath, person, p.admin},
		{"POST", purgePath, form, p.purge},

		{"GET", apiPath + "whoami", bearer, p.apiWhoami},
		{"GET", apiPath + "access", bearer, p.apiAccess},
		{"GET", apiPath + "explain", bearer, p.apiExplain},
		{"GET", apiPath + "admin", bearer, p.apiAdmin},
		{"POST", apiPath + "purge", bearer, p.apiPurge},
		{"GET", apiPath + "tokens", bearer, p.apiTokens},
		{"POST", apiPath + "tokens", bearer, p.apiCreateToken},
		{"DELETE", apiPath + "tokens/" + parameterMark, bearer, p.apiRevokeToken},
	}
	if p.config.Quota != nil {
		routes = append(routes,
			route{"GET", quotaPath, person, p.quota},
			route{"GET", apiPath + "quota", bearer, p.apiQuota},
		)
	}
	if p.config.Connect != nil {
		routes = append(routes,
			route{"POST", connectPath, form, p.connect},
			route{"GET", connectedURL, person, p.connected},
		)
	}
	if p.config.AuditLines != nil {
		routes = append(routes,
			route{"GET", auditPath, person, p.audit},
			route{"GET", auditPath + "/" + parameterMark, person, p.auditRequest},
			route{"GET", auditPath + ".csv", person, p.auditCSV},
			route{"GET", auditPath + ".jsonl", person, p.auditLines},
			route{"GET", apiPath + "audit", bearer, p.apiAudit},
		)
	}
	return routes
}
