package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/inventory"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// resolve is step 3: it says what a call does and what it is about. Facts that path and body do not hold are looked up
// only where the policy says that they could matter to this caller.
func (p *Proxy) resolve(ctx context.Context, rules *policy.Policy, x *exchange) (policy.Request, error) {
	op := x.call.Op
	effect, err := x.body.effect(op)
	if err != nil {
		return policy.Request{}, err
	}
	request := policy.Request{Op: op, Effect: effect, Target: namedTarget(x.call.Target)}
	if len(op.BodyTarget) > 0 {
		if request.Target.Organization, err = x.body.organization(op); err != nil {
			return request, err
		}
	}
	err = p.resolveTarget(ctx, rules, x.caller, x.team, &request, x.call.Target, x.began)
	return request, err
}

// Resolve says what a call is about as far as this caller may learn it, without a body: what the portal's "may I …?" asks.
func (p *Proxy) Resolve(ctx context.Context, caller *identity.Caller, team string, call *catalog.Call) (policy.Target, error) {
	request := policy.Request{Op: call.Op, Effect: call.Op.Effect, Target: namedTarget(call.Target)}
	err := p.resolveTarget(ctx, p.policy.Load(), caller, team, &request, call.Target, time.Now())
	return request.Target, err
}

// namedTarget is what a path says of its target.
func namedTarget(named catalog.Target) policy.Target {
	target := policy.Target{Kind: named.Kind}
	switch named.Kind {
	case catalog.Project:
		target.Project = named.ID
	case catalog.Organization:
		target.Organization = named.ID
	}
	return target
}

func (p *Proxy) resolveTarget(ctx context.Context, rules *policy.Policy, caller *identity.Caller, team string, request *policy.Request, named catalog.Target, now time.Time) error {
	wants := rules.Wants(caller, team, *request, now)
	if wants.None() && !wants.Any {
		return nil
	}
	if err := p.resolveFacts(ctx, &request.Target, named, wants); err != nil {
		return undetermined(err)
	}
	request.Target.Resolved = true
	return nil
}

// undetermined refuses a call about which upstream could not be asked: a look-up that failed is no "no", nor a "yes".
func undetermined(err error) error {
	if errors.As(err, new(*problem.Error)) {
		return err
	}
	return problem.New(http.StatusBadGateway, problem.UpstreamFailed, "Upstream could not be asked what your call is about, which decides whether you may make it. Try again.").Because(err)
}

// resolveFacts fills in what wants asks for.
func (p *Proxy) resolveFacts(ctx context.Context, target *policy.Target, named catalog.Target, wants policy.Wants) error {
	switch {
	case named.Kind == catalog.Branch:
		within := candidates(wants)
		if wants.Any {
			within = nil // any branch is granted, and what a write to it touches must be known
		}
		branch, err := p.inventory.Branch(ctx, named.ID, within)
		if err != nil {
			return unknownIsFine(err)
		}
		target.Project, target.Parent, target.Branch = branch.Ref, branch.Parent, branch.Ref != branch.Parent
	case named.Kind == catalog.Snippet && target.Project == "" && !wants.None():
		ref, err := p.inventory.Snippet(ctx, named.ID, candidates(wants))
		if err != nil {
			return unknownIsFine(err)
		}
		target.Project = ref
	case named.Kind == catalog.Organization && wants.Project:
		return p.resolveMember(ctx, target, wants.Candidates)
	}
	if target.Project == "" {
		return nil
	}
	if wants.Parent && target.Parent == "" && len(wants.Candidates) > 0 {
		branch, err := p.inventory.Branch(ctx, target.Project, wants.Candidates)
		if err = unknownIsFine(err); err != nil {
			return err
		}
		if branch.Parent != target.Project {
			target.Parent, target.Branch = branch.Parent, branch.Parent != ""
		}
	}
	if wants.Organization {
		project, err := p.inventory.Project(ctx, target.Project)
		if err = unknownIsFine(err); err != nil {
			return err
		}
		target.Organization = project.Organization
	}
	return nil
}

// resolveMember looks for one of the caller's projects in the organization whose projects are to be listed.
func (p *Proxy) resolveMember(ctx context.Context, target *policy.Target, refs []string) error {
	for _, ref := range refs {
		project, err := p.inventory.Project(ctx, ref)
		if err = unknownIsFine(err); err != nil {
			return err
		}
		if project.Organization == target.Organization {
			target.Project = ref
			return nil
		}
	}
	return nil
}

// candidates is where to look for a branch or snippet: nowhere else where only those projects can matter, and everywhere
// (nil) where rules name organizations, any of whose projects it may be of.
func candidates(wants policy.Wants) []string {
	if len(wants.Organizations) > 0 {
		return nil
	}
	return wants.Candidates
}

// unknownIsFine takes "there is no such thing" off an error: policy judges what nobody knows as not granted.
func unknownIsFine(err error) error {
	if errors.Is(err, inventory.ErrNotFound) {
		return nil
	}
	return err
}

func credentialTarget(t policy.Target) credential.Target {
	return credential.Target{Project: t.Project, Parent: t.Parent, Organization: t.Organization}
}

// denied is the answer to a call that policy refused.
func denied(x *exchange) error {
	refusal := problem.New(http.StatusForbidden, problem.Denied, "%s", x.decision.Reason)
	refusal.Missing = x.decision.Missing
	return refusal
}
