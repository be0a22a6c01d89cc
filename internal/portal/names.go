package portal

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// namesTime is how long a page waits for names: without them it shows references, which is better than late.
	namesTime = 2 * time.Second
	// maxNamed is how many projects or organizations a page lists by name; beyond it a list helps nobody to find one.
	maxNamed = 200
	// maxNameRunes cuts a name that would fill the page. Upstream allows a few hundred.
	maxNameRunes = 80
)

// names is what the visitor may know things to be called, by scope: "project:ref", "organization:slug".
type names map[string]string

// named is one thing with its name.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// names asks for the visitor's names. Where they cannot be had, pages do without.
func (p *Portal) names(v *visit) names {
	if p.config.Names == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(v.r.Context(), namesTime)
	defer cancel()
	found, err := p.config.Names(ctx, v.caller)
	if err != nil {
		p.config.Log.Warn("pages show references without names", "request_id", v.id(), "error", err)
	}
	return found
}

// Project is what a project is called, "" where that is not known or not the visitor's to know.
func (n names) Project(ref string) string { return n.Scope("project:" + ref) }

// Organization is what an organization is called.
func (n names) Organization(slug string) string { return n.Scope("organization:" + slug) }

// Scope is what the target of a quota is called.
func (n names) Scope(scope string) string {
	name := n[scope]
	if utf8.RuneCountInString(name) > maxNameRunes {
		name = string([]rune(name)[:maxNameRunes-1]) + "…"
	}
	return name
}

// Projects are all that have a name the visitor may know, by name.
func (n names) Projects() []named { return n.of("project:") }

// Organizations are the same for organizations.
func (n names) Organizations() []named { return n.of("organization:") }

func (n names) of(kind string) []named {
	list := []named{}
	for scope := range n {
		if id, ok := strings.CutPrefix(scope, kind); ok {
			list = append(list, named{id, n.Scope(scope)})
		}
	}
	slices.SortFunc(list, func(a, b named) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	return list
}
