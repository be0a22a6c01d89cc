// Package credential holds the upstream secrets: it chooses the one to use for a call, attaches it to the outgoing
// request and remembers which ones upstream has refused.
//
// Invariant: a secret leaves this package in one place only, Credential.Attach. The package decides nothing about
// callers, and a call that no credential covers is refused before upstream is asked.
package credential

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/secret"
)

// Config describes one upstream secret.
type Config struct {
	Name          string        // names it in logs, metrics and audit records
	Owner         string        // the upstream user whose quota it spends
	Token         secret.Source // where its personal access token is kept
	Organizations []string      // slugs it reaches
	Projects      []string      // refs it reaches; with Organizations empty too: everything
	Scopes        []string      // scopes and permissions it has, "database:*" for all that begin so; empty: all
}

// Target is what a call is about, as far as it is known.
type Target struct {
	Project      string // ref; "" where the call is about no project
	Parent       string // the parent's ref, where Project is a branch
	Organization string // slug; "" where unknown or none
}

// Credential is one upstream secret in use.
type Credential struct {
	config Config
	token  atomic.Pointer[secret.Text]
	// refused is when upstream last refused the secret, in Unix nanoseconds; 0 while it is believed to be good.
	refused atomic.Int64
}

// Name returns the configured name.
func (c *Credential) Name() string { return c.config.Name }

// Owner returns whose quota the credential spends.
func (c *Credential) Owner() string { return c.config.Owner }

// Attach puts the secret on an outgoing request's header. It replaces whatever stands there.
func (c *Credential) Attach(h http.Header) {
	h["Authorization"] = []string{"Bearer " + c.token.Load().Reveal()}
}

// Secret returns the secret itself, for scrubbing upstream's echoes of it.
func (c *Credential) Secret() secret.Text { return *c.token.Load() }

// Observe learns from an upstream answer's status: 401 means that this secret is no longer good. It reports whether the
// credential's health changed.
func (c *Credential) Observe(status int, now time.Time) (changed bool) {
	if status == http.StatusUnauthorized {
		return c.refused.Swap(now.UnixNano()) == 0
	}
	if status >= 500 {
		return false // upstream's own trouble says nothing about the secret
	}
	return c.refused.Load() != 0 && c.refused.Swap(0) != 0
}

// Healthy reports whether upstream accepted the secret when it last judged it.
func (c *Credential) Healthy() bool { return c.refused.Load() == 0 }

// retryRefused is how long a refused secret rests before calls try it again: long enough not to hammer upstream with a
// dead token, short enough that a passing fault there heals by itself.
const retryRefused = 30 * time.Second

func (c *Credential) resting(now time.Time) bool {
	at := c.refused.Load()
	return at != 0 && now.UnixNano()-at < int64(retryRefused)
}

// covers reports whether the credential reaches the target and may do the operation.
func (c *Credential) covers(op *catalog.Operation, effect catalog.Effect, t Target) bool {
	return c.reaches(op, t) && c.may(op.Needs(effect))
}

func (c *Credential) reaches(op *catalog.Operation, t Target) bool {
	if c.unlimited() {
		return true
	}
	switch op.Target {
	case catalog.Account:
		return true // upstream shows a narrow token only what it reaches
	case catalog.Organization:
		return slices.Contains(c.config.Organizations, t.Organization)
	default:
		return slices.Contains(c.config.Projects, t.Project) || t.Parent != "" && slices.Contains(c.config.Projects, t.Parent) ||
			t.Organization != "" && slices.Contains(c.config.Organizations, t.Organization)
	}
}

func (c *Credential) unlimited() bool {
	return len(c.config.Organizations) == 0 && len(c.config.Projects) == 0
}

func (c *Credential) may(needs catalog.Needs) bool {
	if len(c.config.Scopes) == 0 || c.has(needs.Scope) {
		return true
	}
	return slices.ContainsFunc(needs.Permissions, func(all []string) bool {
		return len(all) > 0 && !slices.ContainsFunc(all, func(p string) bool { return !c.has(p) })
	})
}

func (c *Credential) has(name string) bool {
	return name != "" && slices.ContainsFunc(c.config.Scopes, func(pattern string) bool {
		matched, _ := path.Match(pattern, name) // New has checked the pattern
		return matched
	})
}

// breadth orders credentials from the narrowest to the widest.
func (c *Credential) breadth() int {
	const all = 1 << 20
	reach, rights := len(c.config.Projects)+100*len(c.config.Organizations), len(c.config.Scopes)
	if c.unlimited() {
		reach = all
	}
	if rights == 0 {
		rights = all
	}
	return reach + rights
}

// Set is all configured credentials.
type Set struct {
	byBreadth []*Credential // narrowest first
	// limited: some credential reaches only some organizations, so that a project's organization matters.
	limited bool
}

// All returns the credentials, narrowest first.
func (s *Set) All() []*Credential { return s.byBreadth }

// Ready returns an error where upstream has refused every credential.
func (s *Set) Ready() error {
	if slices.ContainsFunc(s.byBreadth, (*Credential).Healthy) {
		return nil
	}
	return errors.New("upstream has refused every credential")
}

// WantsOrganization reports whether choosing for a project call needs the project's organization.
func (s *Set) WantsOrganization() bool { return s.limited }

// Choose returns the narrowest credential that covers a call of this effect and that upstream has not refused. The error is a
// problem: 502 no_credential where none covers it, 502 upstream_credential where upstream refused all that do.
func (s *Set) Choose(op *catalog.Operation, effect catalog.Effect, t Target, now time.Time) (*Credential, error) {
	var resting *Credential
	for _, c := range s.byBreadth {
		switch {
		case !c.covers(op, effect, t):
		case c.resting(now):
			resting = c
		default:
			return c, nil
		}
	}
	if resting != nil {
		return nil, Refused(resting)
	}
	return nil, problem.New(http.StatusBadGateway, problem.NoCredential,
		"The gateway has no upstream credential that covers %s here. Ask the platform team to add one to its configuration.", op.ID)
}

// Refused is the answer to a call whose credential upstream has refused. It is never a 401, which a client would take
// for a refusal of its own token.
func Refused(c *Credential) error {
	return problem.New(http.StatusBadGateway, problem.UpstreamCredential,
		"Upstream refused the gateway's own credential %q; your token is fine. The platform team has to renew it.", c.Name())
}
