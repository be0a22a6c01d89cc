package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// namedLists are the lists that give what exists its name, each with the word its scopes begin with.
var namedLists = [...]struct{ path, kind string }{
	{"/v1/projects", "project"},
	{"/v1/organizations", "organization"},
}

// Names returns what the projects and organizations that the caller sees are called, by scope: "project:ref",
// "organization:slug". They are read as the gateway reads for itself, from the cache where it has them, and narrowed as
// the caller's own call of the lists would be. Where a list cannot be had, the error says so and the other's names come
// all the same.
func (p *Proxy) Names(ctx context.Context, caller *identity.Caller) (map[string]string, error) {
	rules, names := p.policy.Load(), map[string]string{}
	var faults []error
	for _, list := range namedLists {
		if err := p.namesOf(ctx, rules, caller, list.path, list.kind, names); err != nil {
			faults = append(faults, fmt.Errorf("names from %s: %w", list.path, err))
		}
	}
	return names, errors.Join(faults...)
}

func (p *Proxy) namesOf(ctx context.Context, rules *policy.Policy, caller *identity.Caller, path, kind string, names map[string]string) error {
	call, err := p.config.Catalog.Parse(http.MethodGet, path)
	if err != nil {
		return err
	}
	x := &exchange{r: &http.Request{Method: http.MethodGet, Header: http.Header{}}, began: time.Now(), call: call, caller: caller,
		request: policy.Request{Op: call.Op, Effect: call.Op.Effect, Target: namedTarget(call.Target)}}
	if !rules.Decide(caller, "", x.request, x.began).Allow {
		return nil // the caller sees none, so nobody need be asked
	}
	body, err := p.lookUp(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if body, err = p.narrowList(ctx, rules, x, body); err != nil {
		return err
	}
	var items []struct{ ID, Ref, Slug, Name string }
	if err := json.Unmarshal(body, &items); err != nil {
		return fmt.Errorf("reading the list: %w", err)
	}
	for _, item := range items {
		names[kind+":"+cmp.Or(item.Ref, item.Slug, item.ID)] = item.Name // the newer form of a list gives the ref as id
	}
	return nil
}
