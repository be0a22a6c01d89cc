package proxy

import (
	"cmp"
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
	if len(fields) == 0 || rules.Reveals(x.caller, x.team, x.request, x.began) {
		return nil
	}
	return fields
}

// shows reports whether an answer of this status shows what was asked for. All of these are narrowed: upstream, or a cache
// before it, may use another than 200 for the same list.
func shows(status int) bool { return status >= 200 && status < 300 }

// narrow is step 11: it takes out of an answer what this caller may not see. An answer that cannot be read is refused,
// since what it holds cannot be judged.
func (p *Proxy) narrow(ctx context.Context, rules *policy.Policy, x *exchange, found cache.Result) (cache.Result, error) {
	hidden := x.hidden(rules)
	list := x.call.Op.List
	if list == catalog.NotAList && len(hidden) == 0 || !shows(found.Entry.Status()) {
		return found, nil
	}
	if found.Rest != nil {
		found.Rest.Close()
		return found, unnarrowable(errTooLarge)
	}
	narrowed, err := p.config.Cache.Narrow(found.Entry, rules.View(x.caller, x.team, x.began), func(body []byte) ([]byte, error) {
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
	return p.narrowItems(ctx, rules, x, refs, func(keep func(narrow.Item) bool) ([]byte, error) {
		narrowed, _, err := narrow.List(body, list, keep)
		return narrowed, err
	})
}

// narrowItems runs cut with the judgement of each item. refs are the projects of snippets by upstream's numbers.
func (p *Proxy) narrowItems(ctx context.Context, rules *policy.Policy, x *exchange, refs map[int64]string, cut func(keep func(narrow.Item) bool) ([]byte, error)) ([]byte, error) {
	var failed error
	narrowed, err := cut(func(item narrow.Item) bool {
		if failed != nil {
			return false
		}
		target, err := p.itemTarget(ctx, rules, x, item, refs)
		if err != nil {
			failed = err
			return false
		}
		return rules.Visible(x.caller, x.team, x.call.Op.List, target, x.began)
	})
	if failed != nil {
		return nil, failed
	}
	return narrowed, err
}

// legible refuses a list that narrowing could not read before it is stored: everybody would be refused by it until it
// ends, while the answer before it may still do.
func legible(op *catalog.Operation, answer *cache.Answer) error {
	if op.List == catalog.NotAList || !shows(answer.Status) || answer.Rest != nil {
		return nil
	}
	if _, _, err := narrow.List(answer.Body, op.List, func(narrow.Item) bool { return true }); err != nil {
		return unnarrowable(err)
	}
	return nil
}

// itemTarget is what an item of a list is about, in policy's terms.
func (p *Proxy) itemTarget(ctx context.Context, rules *policy.Policy, x *exchange, item narrow.Item, refs map[int64]string) (policy.Target, error) {
	switch x.call.Op.List {
	case catalog.ListOrganizations:
		return policy.Target{Kind: catalog.Organization, Organization: item.Organization, Resolved: true}, nil
	case catalog.ListBranches:
		return policy.Target{Kind: catalog.Branch, Project: item.Project, Parent: item.Parent, Organization: x.request.Target.Organization, Branch: true, Resolved: true}, nil
	case catalog.ListSnippets:
		number, err := strconv.ParseInt(item.ProjectNumber, 10, 64)
		ref, known := refs[number]
		if err != nil || !known {
			return policy.Target{Kind: catalog.Snippet}, nil // of a project that the caller's grants do not name
		}
		return p.itemFacts(ctx, rules, x, readSnippet, policy.Target{Kind: catalog.Snippet, Project: ref})
	case catalog.ListOrgProjects:
		// This list shows branches among the projects; the newer form of it does not say which they are.
		return p.itemFacts(ctx, rules, x, readProject, policy.Target{Kind: catalog.Project, Project: item.Project, Organization: x.request.Target.Organization, Branch: item.Branch})
	default:
		return policy.Target{Kind: catalog.Project, Project: item.Project, Organization: cmp.Or(item.Organization, item.OrganizationID), Resolved: true}, nil
	}
}

// The operations that read one item of a list of projects and of snippets: policy judges items by them.
const (
	readProject = "v1-get-project"
	readSnippet = "v1-get-a-snippet"
)

// itemFacts adds to an item's target what reading that item alone would look up: whose branch its project is, and which
// organization it is in.
func (p *Proxy) itemFacts(ctx context.Context, rules *policy.Policy, x *exchange, read string, target policy.Target) (policy.Target, error) {
	op := p.config.Catalog.Lookup(read)
	if op == nil {
		return target, nil // policy knows no operation that reads it, so nobody sees it
	}
	request := policy.Request{Op: op, Effect: op.Effect, Target: target}
	err := p.resolveTarget(ctx, rules, x.caller, x.team, &request, catalog.Target{Kind: target.Kind}, x.began)
	return request.Target, err
}

// snippetProjects tells which projects the snippets of a list belong to: upstream gives a number that no grant names.
// Only projects that the caller's grants name are looked at, and none where it makes no difference.
func (p *Proxy) snippetProjects(ctx context.Context, rules *policy.Policy, x *exchange, body []byte) (map[int64]string, error) {
	read := p.config.Catalog.Lookup(readSnippet)
	if read == nil {
		return nil, errors.New("the catalogue cannot read a snippet")
	}
	wants := rules.Wants(x.caller, x.team, policy.Request{Op: read, Effect: read.Effect, Target: policy.Target{Kind: catalog.Snippet}}, x.began)
	if wants.None() {
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
