// Package inventory knows where things belong: which project a branch or a snippet is of, and which organization a
// project is in. Paths do not say it and policies are written in those words.
//
// Invariant: a fact comes from upstream's own answers, never from a caller. What cannot be found out is ErrNotFound, and
// who asks must then treat it as not granted. The package asks as little as it can: lists before single things, only under
// the candidates it is given, and nothing twice while the answer is fresh. It holds no answers, only what they say.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrNotFound says that upstream, or the part of it that was looked at, has no such project, branch or snippet.
var ErrNotFound = errors.New("no such project, branch or snippet")

// Fetch asks upstream with the gateway's own credential and returns the body of a 200. It returns an error that wraps
// ErrNotFound for a 404, and bounds the body.
type Fetch func(ctx context.Context, method, requestURI string) ([]byte, error)

// How long facts are believed, and how many of each are held. A fact is about 200 bytes.
const (
	// A project changes its organization when somebody transfers it: rare, but it changes who may do what.
	projectFor = 10 * time.Minute
	// That a project is a branch because the list of projects lacks it may only mean that it is new.
	guessFor = 30 * time.Second
	// Branches and snippets never move.
	movelessFor = time.Hour
	// What an answer did not hold is not asked for again at once: a flood of invented ids costs one call.
	quietFor = 5 * time.Second

	maxProjects = 10_000
	maxBranches = 20_000 // each stands under its id and its ref
	maxSnippets = 20_000
	maxAsked    = 10_000
)

// askTimeout bounds one question. It belongs to all who wait for it, so no caller's own deadline applies.
const askTimeout = 30 * time.Second

// Project is where a project belongs.
type Project struct {
	Ref          string
	Organization string // slug
	Branch       bool   // it is a branch's own project
	Parent       string // of a branch: the project it is a branch of; "" while that is not known (ask Branch)
}

// BranchInfo is where a branch belongs.
type BranchInfo struct {
	ID     string // UUID; "" where only its project is known
	Ref    string // its own project
	Parent string // the project it is a branch of; the same as Ref for a default branch and a project without branches
}

// Inventory holds what is known. It is safe for concurrent use.
type Inventory struct {
	fetch   Fetch
	flights singleflight.Group

	mu       sync.RWMutex
	projects facts[string, project]
	branches facts[string, BranchInfo] // by id and by ref
	refs     facts[string, string]     // branch id → ref, where the parent is not known yet
	numbers  facts[int64, string]      // upstream's number of a project → ref
	numbered facts[string, int64]      // and back
	names    facts[int64, string]      // number → project name, to guess where to look first
	snippets facts[string, int64]      // snippet id → number of its project
	asked    facts[string, error]      // request URI → nil or ErrNotFound
}

type project struct {
	organization string
	name         string
	listed       bool // it stood in a list of projects, so it is no branch
}

// New returns an empty inventory.
func New(fetch Fetch) *Inventory {
	return &Inventory{
		fetch:    fetch,
		projects: newFacts[string, project](maxProjects),
		branches: newFacts[string, BranchInfo](2 * maxBranches),
		refs:     newFacts[string, string](maxBranches),
		numbers:  newFacts[int64, string](maxProjects),
		numbered: newFacts[string, int64](maxProjects),
		names:    newFacts[int64, string](maxProjects),
		snippets: newFacts[string, int64](maxSnippets),
		asked:    newFacts[string, error](maxAsked),
	}
}

// Project tells which organization a project is in. It does not search for a branch's parent: Branch does, under the
// candidates that matter.
func (i *Inventory) Project(ctx context.Context, ref string) (Project, error) {
	if p, known := i.project(ref); known {
		return p, nil
	}
	if branch, known := i.branch(ref); known && branch.Parent != ref {
		parent, err := i.Project(ctx, branch.Parent)
		return Project{Ref: ref, Organization: parent.Organization, Branch: true, Parent: branch.Parent}, err
	}
	if err := i.ask(ctx, projectsURI, i.learnProjects); err != nil {
		return Project{}, err
	}
	if p, known := i.project(ref); known {
		return p, nil
	}
	if err := i.ask(ctx, projectsURI+"/"+ref, i.learnProject); err != nil {
		return Project{}, err
	}
	if p, known := i.project(ref); known {
		return p, nil
	}
	return Project{}, fmt.Errorf("project %s: %w", ref, ErrNotFound)
}

// Branch tells which project a branch is of, by its id or its own project ref. It looks under the candidates only; nil
// looks under all projects of the organization the branch is in. The ref of a project that is no branch is its own parent.
func (i *Inventory) Branch(ctx context.Context, idOrRef string, candidates []string) (BranchInfo, error) {
	if b, known := i.branch(idOrRef); known {
		return b, nil
	}
	if isRef(idOrRef) {
		if err := i.ask(ctx, projectsURI, i.learnProjects); err != nil {
			return BranchInfo{}, err
		}
		if b, known := i.branch(idOrRef); known {
			return b, nil
		}
	}
	if candidates == nil {
		var err error
		if candidates, err = i.parentsOf(ctx, idOrRef); err != nil {
			return BranchInfo{}, err
		}
	}
	find := func() (BranchInfo, bool) { return i.branch(idOrRef) }
	b, err := search(candidates, find, func(parent string) error {
		return i.ask(ctx, projectsURI+"/"+parent+"/branches", i.learnBranches)
	})
	if err != nil {
		return BranchInfo{}, fmt.Errorf("branch %s: %w", idOrRef, err)
	}
	return b, nil
}

// parentsOf returns the projects that a branch may be of: those of its organization.
func (i *Inventory) parentsOf(ctx context.Context, idOrRef string) ([]string, error) {
	ref := idOrRef
	if !isRef(idOrRef) {
		if err := i.ask(ctx, "/v1/branches/"+idOrRef, func(body []byte) error { return i.learnBranchRef(idOrRef, body) }); err != nil {
			return nil, err
		}
		i.mu.RLock()
		ref, _ = i.refs.get(idOrRef, time.Now())
		i.mu.RUnlock()
	}
	own, err := i.Project(ctx, ref)
	if err != nil {
		return nil, err
	}
	return i.listed(func(p project) bool { return p.organization == own.Organization }), nil
}

// search asks one candidate after the other until the fact is known: the first is usually right, and every question
// spends quota. One that fails does not end the search, since the fact may be elsewhere.
func search[T any](candidates []string, find func() (T, bool), ask func(candidate string) error) (T, error) {
	failure := ErrNotFound
	for _, candidate := range candidates {
		if err := ask(candidate); err != nil && !errors.Is(err, ErrNotFound) {
			failure = err
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				break
			}
		}
		if found, ok := find(); ok {
			return found, nil
		}
	}
	var none T
	return none, failure
}

// KnownParent returns the parent of a branch's own project where it is known already, else "". It asks nobody.
func (i *Inventory) KnownParent(ref string) string {
	if b, known := i.branch(ref); known && b.Parent != b.Ref {
		return b.Parent
	}
	return ""
}

// Forget drops what is known of a project or branch, by ref or branch id, and of the branches of that project.
func (i *Inventory) Forget(refOrID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.branches.dropIf(func(_ string, b BranchInfo) bool { return b.ID == refOrID || b.Ref == refOrID || b.Parent == refOrID })
	i.projects.drop(refOrID)
	i.refs.dropIf(func(id, ref string) bool { return id == refOrID || ref == refOrID })
	if number, known := i.numbered.get(refOrID, time.Now()); known {
		i.numbers.drop(number)
		i.numbered.drop(refOrID)
	}
	i.asked.dropIf(func(string, error) bool { return true })
}

// ask puts one question to upstream and learns from its answer. The same question asked at once by many is one fetch,
// which outlives those who leave; asked again within quietFor, its answer has been learnt.
func (i *Inventory) ask(ctx context.Context, uri string, learn func(body []byte) error) error {
	i.mu.RLock()
	outcome, fresh := i.asked.get(uri, time.Now())
	i.mu.RUnlock()
	if fresh {
		return outcome
	}
	flight := i.flights.DoChan(uri, func() (any, error) {
		return nil, i.fetchAndLearn(context.WithoutCancel(ctx), uri, learn)
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return fmt.Errorf("looking up %s: %w", uri, result.Err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("looking up %s: %w", uri, ctx.Err())
	}
}

// fetchAndLearn runs in a goroutine of its own, where nothing else would catch a panic.
func (i *Inventory) fetchAndLearn(ctx context.Context, uri string, learn func(body []byte) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := i.fetch(ctx, http.MethodGet, uri)
	if err == nil {
		err = learn(body)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err // not remembered: the next to ask may have more luck
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked.put(uri, err, quietFor, time.Now())
	return err
}

func (i *Inventory) project(ref string) (Project, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	now := time.Now()
	p, known := i.projects.get(ref, now)
	if !known {
		return Project{}, false
	}
	found := Project{Ref: ref, Organization: p.organization, Branch: !p.listed}
	if b, known := i.branches.get(ref, now); known && b.Parent != ref {
		found.Branch, found.Parent = true, b.Parent
	}
	return found, true
}

func (i *Inventory) branch(idOrRef string) (BranchInfo, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	now := time.Now()
	if b, known := i.branches.get(idOrRef, now); known {
		return b, true
	}
	if p, known := i.projects.get(idOrRef, now); known && p.listed {
		return BranchInfo{Ref: idOrRef, Parent: idOrRef}, true
	}
	return BranchInfo{}, false
}

// listed returns the refs of the projects that are no branches and match, sorted.
func (i *Inventory) listed(match func(project) bool) []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	refs := []string{}
	for ref, p := range i.projects.all(time.Now()) {
		if p.listed && match(p) {
			refs = append(refs, ref)
		}
	}
	slices.Sort(refs)
	return refs
}

func isRef(s string) bool { return len(s) == 20 }
