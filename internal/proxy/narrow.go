package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/narrow"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// hidden are the secret-bearing fields that this caller's grants do not cover.
func (x *exchange) hidden(rules *policy.Policy) []string {
	fields := x.call.Op.SecretBody
	if len(fields) == 0 || rules.Reveals(x.caller, x.team(), x.request, x.began) {
		return nil
	}
	return fields
}

// narrow is step 11: it takes out of an answer what this caller may not see. An answer that cannot be read is refused,
// since what it holds cannot be judged.
func (p *Proxy) narrow(ctx context.Context, rules *policy.Policy, x *exchange, found cache.Result) (cache.Result, error) {
	hidden := x.hidden(rules)
	list := x.call.Op.List
	if list == catalog.NotAList && len(hidden) == 0 || found.Entry.Status() != http.StatusOK {
		return found, nil
	}
	if found.Rest != nil {
		found.Rest.Close()
		return found, unnarrowable(errTooLarge)
	}
	narrowed, err := p.config.Cache.Narrow(found.Entry, rules.View(x.caller, x.team(), x.began), func(body []byte) ([]byte, error) {
		var err error
		if list != catalog.NotAList {
			if body, err = p.narrowList(ctx, rules, x, body); err != nil {
				return nil, err
			}
		}
		if len(hidden) > 0 {
			return narrow.Secrets(body, hidden)
		}
		return body, nil
	})
	if err != nil {
		return found, unnarrowable(err)
	}
	found.Entry = narrowed
	return found, nil
}

// narrowList keeps the items of a list that the caller may read.
func (p *Proxy) narrowList(ctx context.Context, rules *policy.Policy, x *exchange, body []byte) ([]byte, error) {
	list := x.call.Op.List
	var refs map[int64]string
	if list == catalog.ListSnippets {
		var err error
		if refs, err = p.snippetProjects(ctx, rules, x, body); err != nil {
			return nil, err
		}
	}
	var failed error
	narrowed, _, err := narrow.List(body, list, func(item narrow.Item) bool {
		target, err := p.itemTarget(ctx, rules, x, item, refs)
		if err != nil {
			failed = err
			return false
		}
		return rules.Visible(x.caller, x.team(), list, target, x.began)
	})
	if failed != nil {
		return nil, failed
	}
	return narrowed, err
}

// itemTarget is what an item of a list is about, in policy's terms.
func (p *Proxy) itemTarget(ctx context.Context, rules *policy.Policy, x *exchange, item narrow.Item, snippetRefs map[int64]string) (policy.Target, error) {
	switch x.call.Op.List {
	case catalog.ListOrganizations:
		return policy.Target{Kind: catalog.Organization, Organization: item.Organization, Resolved: true}, nil
	case catalog.ListBranches:
		return policy.Target{Kind: catalog.Branch, Project: item.Project, Parent: item.Parent, Organization: x.request.Target.Organization, Branch: item.Branch, Resolved: true}, nil
	case catalog.ListSnippets:
		number, err := strconv.ParseInt(item.ProjectNumber, 10, 64)
		ref, known := snippetRefs[number]
		if err != nil || !known {
			return policy.Target{Kind: catalog.Snippet}, nil // of a project that the caller has no grant for
		}
		project, err := p.inventory.Project(ctx, ref)
		if err = unknownIsFine(err); err != nil {
			return policy.Target{}, err
		}
		return policy.Target{Kind: catalog.Snippet, Project: ref, Organization: project.Organization, Resolved: true}, nil
	default:
		organization := item.Organization
		if organization == "" {
			organization = x.request.Target.Organization
		}
		target := policy.Target{Kind: catalog.Project, Project: item.Project, Organization: organization, Resolved: !item.Branch}
		if !item.Branch {
			return target, nil
		}
		return p.branchTarget(ctx, rules, x, target)
	}
}

// branchTarget adds the parent of a branch that a list of projects shows, where the policy says that it could matter.
func (p *Proxy) branchTarget(ctx context.Context, rules *policy.Policy, x *exchange, target policy.Target) (policy.Target, error) {
	read := p.config.Catalog.Lookup("v1-get-project")
	if read == nil {
		return target, nil
	}
	request := policy.Request{Op: read, Effect: read.Effect, Target: target}
	err := p.resolveTarget(ctx, rules, x.caller, x.team(), &request, catalog.Target{Kind: catalog.Project, ID: target.Project}, x.began)
	return request.Target, err
}

// snippetProjects tells which projects the snippets of a list belong to: upstream gives a number that no grant names.
// Only projects that the caller's grants could reach are looked at.
func (p *Proxy) snippetProjects(ctx context.Context, rules *policy.Policy, x *exchange, body []byte) (map[int64]string, error) {
	read := p.config.Catalog.Lookup("v1-get-a-snippet")
	if read == nil {
		return nil, errors.New("the catalogue cannot read a snippet")
	}
	wants := rules.Wants(x.caller, x.team(), policy.Request{Op: read, Effect: read.Effect, Target: policy.Target{Kind: catalog.Snippet}}, x.began)
	if wants.None() && !wants.Any {
		return nil, nil
	}
	var numbers []int64
	_, _, err := narrow.List(body, catalog.ListSnippets, func(item narrow.Item) bool {
		if number, err := strconv.ParseInt(item.ProjectNumber, 10, 64); err == nil && !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return p.inventory.SnippetProjects(ctx, numbers, candidates(wants))
}

var errTooLarge = errors.New("it is too large")

// unnarrowable refuses an answer from which nothing can be taken out.
func unnarrowable(err error) error {
	if errors.As(err, new(*problem.Error)) {
		return err // a look-up that narrowing needs failed, and says how
	}
	return problem.New(http.StatusBadGateway, problem.UpstreamFailed, "Upstream's answer could not be read, so the gateway cannot tell what in it you may see.").Because(err)
}
