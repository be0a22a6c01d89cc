package credential

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/problem"
)

// Target is what a call is about, as far as it is known.
type Target struct {
	Project      string // ref; "" where the call is about no project
	Parent       string // the parent's ref, where Project is a branch
	Organization string // slug; "" where unknown or none
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
	if len(c.config.Rights) == 0 || c.has(needs.Scope) {
		return true
	}
	return slices.ContainsFunc(needs.Permissions, func(all []string) bool {
		return len(all) > 0 && !slices.ContainsFunc(all, func(p string) bool { return !c.has(p) })
	})
}

func (c *Credential) has(name string) bool {
	return name != "" && slices.Contains(c.config.Rights, name)
}

// narrower orders credentials from the narrowest to the widest. What one reaches counts before what it may do there: a
// mistake is bounded by what it can touch. An organization is wider than any number of projects.
func narrower(a, b *Credential) int {
	return cmp.Or(
		cmp.Compare(orAll(len(a.config.Organizations), a.unlimited()), orAll(len(b.config.Organizations), b.unlimited())),
		cmp.Compare(len(a.config.Projects), len(b.config.Projects)),
		cmp.Compare(orAll(len(a.config.Rights), len(a.config.Rights) == 0), orAll(len(b.config.Rights), len(b.config.Rights) == 0)),
	)
}

// orAll is a count, or more than any where everything is meant.
func orAll(count int, all bool) int {
	if all {
		return int(^uint(0) >> 1)
	}
	return count
}

// Set is all configured credentials.
type Set struct {
	narrowestFirst []*Credential
	// limited: some credential reaches only some organizations, so that a project's organization matters.
	limited bool
}

// All returns the credentials, narrowest first.
func (s *Set) All() []*Credential { return s.narrowestFirst }

// Ready returns an error where no credential can be used.
func (s *Set) Ready() error {
	if slices.ContainsFunc(s.narrowestFirst, (*Credential).Healthy) {
		return nil
	}
	var faults []string
	for _, c := range s.narrowestFirst {
		faults = append(faults, c.Name()+": "+c.Fault())
	}
	return errors.New("no credential can be used: " + strings.Join(faults, "; "))
}

// WantsOrganization reports whether choosing for a project call needs the project's organization.
func (s *Set) WantsOrganization() bool { return s.limited }

// Choose returns the narrowest credential that covers a call of this effect and that upstream has not refused. The error is a
// problem: 502 no_credential where none covers it, 502 upstream_credential where none of those that do can be used.
func (s *Set) Choose(op *catalog.Operation, effect catalog.Effect, t Target, now time.Time) (*Credential, error) {
	var unusable *Credential
	for _, c := range s.narrowestFirst {
		switch {
		case !c.covers(op, effect, t):
		case c.resting(now), !c.usable(now):
			unusable = c
		default:
			return c, nil
		}
	}
	if unusable != nil {
		return nil, Refused(unusable, nil)
	}
	return nil, problem.New(http.StatusBadGateway, problem.NoCredential,
		"The gateway has no upstream credential that covers %s here. Ask the platform team to add one to its configuration.", op.ID)
}

// Refused is the answer to a call whose credential cannot be used. It is never a 401, which a client would take for a
// refusal of its own token. It says when the credential is tried again, or clients that repeat what failed with a 5xx do so at
// once and several times, in vain. Because is for the log, and may be nil.
func Refused(c *Credential, because error) error {
	message := "Upstream refused the gateway's own credential %q; your token is fine. The platform team has to renew it."
	if c.kept.Load().lost != "" {
		message = "The gateway's own credential %q cannot be used now; your token is fine. The platform team has to connect it again."
	}
	p := problem.New(http.StatusBadGateway, problem.UpstreamCredential, message, c.Name()).Because(because)
	p.RetryAfter = retryRefused
	return p
}

// Replaced is the answer to a request that upstream refused with a secret that has been replaced since, and whose body is
// gone, so that it cannot be sent again.
func Replaced(c *Credential) error {
	return problem.New(http.StatusBadGateway, problem.UpstreamCredential,
		"Upstream refused the gateway's own credential %q, which has been renewed since; nothing was done. Send the request again.", c.Name())
}
