package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Snippet tells which project a snippet is of. It looks under the candidates only; nil looks under all projects.
func (i *Inventory) Snippet(ctx context.Context, id string, candidates []string) (string, error) {
	number, known := i.snippetNumber(id)
	if !known {
		if err := i.ask(ctx, snippetsURI+"/"+id, i.learnSnippet); err != nil {
			return "", err
		}
		if number, known = i.snippetNumber(id); !known {
			return "", fmt.Errorf("snippet %s: %w", id, ErrNotFound)
		}
	}
	refs, err := i.SnippetProjects(ctx, []int64{number}, candidates)
	if err != nil {
		return "", fmt.Errorf("snippet %s: %w", id, err)
	}
	if ref, found := refs[number]; found {
		return ref, nil
	}
	return "", fmt.Errorf("snippet %s: %w", id, ErrNotFound)
}

// SnippetProjects tells the refs of projects that snippets name by upstream's own numbers. It looks under the candidates
// only; nil looks under all projects. Numbers it does not find are left out. A question that failed is an error, unless
// everything was found without it.
func (i *Inventory) SnippetProjects(ctx context.Context, numbers []int64, candidates []string) (map[int64]string, error) {
	found := map[int64]string{}
	complete := func() (map[int64]string, bool) { return found, i.fillRefs(found, numbers) }
	if _, done := complete(); done {
		return found, nil
	}
	if candidates == nil {
		if err := i.ask(ctx, projectsURI, i.learnProjects); err != nil {
			return nil, err
		}
		candidates = i.listed(func(project) bool { return true })
	}
	// All snippets of a project carry its number, so the first few tell it. A project without snippets is asked
	// again only after quietFor.
	_, err := search(i.likeliestFirst(candidates, numbers), complete, func(ref string) error {
		return i.ask(ctx, snippetsURI+"?limit=10&project_ref="+ref, func(body []byte) error { return i.learnNumber(ref, body) })
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return found, nil
}

// fillRefs adds the refs that are known and reports whether these are all.
func (i *Inventory) fillRefs(found map[int64]string, numbers []int64) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	now := time.Now()
	all := true
	for _, number := range numbers {
		ref, known := i.numbers.get(number, now)
		if known && ref != disputed {
			found[number] = ref
		} else {
			delete(found, number) // it may have been believed when the search began
		}
		all = all && known
	}
	return all
}

// likeliestFirst returns the candidates whose number is not known yet, those first whose name is that of a wanted project.
// A name proves nothing; it only saves questions.
func (i *Inventory) likeliestFirst(candidates []string, numbers []int64) []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	now := time.Now()
	wanted := map[string]bool{}
	for _, number := range numbers {
		if name, known := i.names.get(number, now); known {
			wanted[name] = true
		}
	}
	var open []string
	rank := map[string]int{}
	for _, ref := range candidates {
		if _, known := i.numbered.get(ref, now); known {
			continue
		}
		p, known := i.projects.get(ref, now)
		if !known || !wanted[p.name] {
			rank[ref] = 1
		}
		open = append(open, ref)
	}
	slices.SortStableFunc(open, func(a, b string) int { return cmp.Compare(rank[a], rank[b]) })
	return open
}

func (i *Inventory) snippetNumber(id string) (int64, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.snippets.get(id, time.Now())
}
