package inventory

import (
	"encoding/json"
	"fmt"
	"time"

	"corp.example/gateway/internal/catalog"
)

// The questions.
const (
	projectsURI = "/v1/projects"
	snippetsURI = "/v1/snippets"
)

// The parts of upstream's answers that say where things belong.
type (
	projectAnswer struct {
		Ref          string `json:"ref"`
		ID           string `json:"id"` // the older name of ref
		Name         string `json:"name"`
		Organization string `json:"organization_slug"`
		OlderID      string `json:"organization_id"` // the older name of organization_slug
		IsBranch     *bool  `json:"is_branch"`       // in an organization's list only, which holds branches too
	}
	branchAnswer struct {
		ID     string `json:"id"`
		Ref    string `json:"project_ref"`
		Parent string `json:"parent_project_ref"`
	}
	snippetAnswer struct {
		ID      string `json:"id"`
		Project struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"project"`
	}
	organizationProjects struct {
		Projects []projectAnswer `json:"projects"`
	}
	snippetsAnswer struct {
		Data []snippetAnswer `json:"data"`
	}
)

// Learn takes what the answer to somebody's call says about where things belong, so that it need not be asked for. The
// body must be upstream's own, whole and not narrowed, with a status of 2xx. An answer of another shape teaches nothing.
func (i *Inventory) Learn(op *catalog.Operation, target catalog.Target, body []byte) {
	switch op.ID {
	case "v1-create-a-project":
		i.learnCreated(body)
		return
	case "v1-create-a-branch", "v1-get-a-branch", "v1-update-a-branch-config":
		i.learnOneBranch(body)
		return
	}
	// What these return is only whether the answer could be read; nobody waits for it here.
	switch op.List {
	case catalog.ListProjects:
		_ = i.learnProjects(body)
	case catalog.ListOrgProjects:
		i.learnOrganizationProjects(target.ID, body)
	case catalog.ListBranches:
		_ = i.learnBranches(body)
	case catalog.ListSnippets:
		i.learnSnippets(body)
	}
}

func (p projectAnswer) facts(listed bool) (ref string, facts project, ok bool) {
	ref, facts = p.Ref, project{organization: p.Organization, name: p.Name, listed: listed}
	if ref == "" {
		ref = p.ID
	}
	if facts.organization == "" {
		facts.organization = p.OlderID
	}
	return ref, facts, isRef(ref) && facts.organization != ""
}

// learnProjects takes GET /v1/projects, which holds no branches.
func (i *Inventory) learnProjects(body []byte) error {
	var answer []projectAnswer
	if err := decode(body, &answer); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	for _, p := range answer {
		if ref, facts, ok := p.facts(true); ok {
			i.projects.put(ref, facts, projectFor, now)
		}
	}
	return nil
}

// learnProject takes GET /v1/projects/{ref}, asked because the list lacks it: so it is a branch, or new.
func (i *Inventory) learnProject(body []byte) error {
	var answer projectAnswer
	if err := decode(body, &answer); err != nil {
		return err
	}
	if ref, facts, ok := answer.facts(false); ok {
		i.mu.Lock()
		defer i.mu.Unlock()
		now := time.Now()
		if known, ok := i.projects.get(ref, now); ok && known.listed {
			return nil // a list that was asked for meanwhile knows better
		}
		i.projects.put(ref, facts, guessFor, now)
	}
	return nil
}

// learnCreated takes POST /v1/projects, which makes no branches.
func (i *Inventory) learnCreated(body []byte) {
	var answer projectAnswer
	if decode(body, &answer) != nil {
		return
	}
	if ref, facts, ok := answer.facts(true); ok {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.projects.put(ref, facts, projectFor, time.Now())
	}
}

// learnOrganizationProjects takes GET /v1/organizations/{slug}/projects, whose items do not name the organization.
func (i *Inventory) learnOrganizationProjects(slug string, body []byte) {
	var answer organizationProjects
	if decode(body, &answer) != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	for _, p := range answer.Projects {
		if p.IsBranch == nil {
			continue // another shape: a branch could pass for a project
		}
		p.Organization = slug
		if ref, facts, ok := p.facts(!*p.IsBranch); ok {
			i.projects.put(ref, facts, projectFor, now)
		}
	}
}

// learnBranches takes GET /v1/projects/{ref}/branches.
func (i *Inventory) learnBranches(body []byte) error {
	var answer []branchAnswer
	if err := decode(body, &answer); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, b := range answer {
		i.putBranch(b)
	}
	return nil
}

func (i *Inventory) learnOneBranch(body []byte) {
	var answer branchAnswer
	if decode(body, &answer) != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.putBranch(answer)
}

// putBranch stores a branch under both its names. The caller locks.
func (i *Inventory) putBranch(b branchAnswer) {
	if b.ID == "" || !isRef(b.Ref) || !isRef(b.Parent) {
		return
	}
	now := time.Now()
	info := BranchInfo(b)
	i.branches.put(b.ID, info, movelessFor, now)
	i.branches.put(b.Ref, info, movelessFor, now)
}

// learnBranchRef takes GET /v1/branches/{id}, which names the branch's own project but not its parent. Nothing else of
// the answer is looked at: it carries secrets.
func (i *Inventory) learnBranchRef(id string, body []byte) error {
	var answer struct {
		Ref string `json:"ref"`
	}
	if err := decode(body, &answer); err != nil {
		return err
	}
	if !isRef(answer.Ref) {
		return fmt.Errorf("the answer names no project: %w", ErrNotFound)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refs.put(id, answer.Ref, movelessFor, time.Now())
	return nil
}

// learnSnippet takes GET /v1/snippets/{id}.
func (i *Inventory) learnSnippet(body []byte) error {
	var answer snippetAnswer
	if err := decode(body, &answer); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.putSnippet(answer)
	return nil
}

// learnSnippets takes GET /v1/snippets.
func (i *Inventory) learnSnippets(body []byte) {
	var answer snippetsAnswer
	if decode(body, &answer) != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range answer.Data {
		i.putSnippet(s)
	}
}

// putSnippet stores which number a snippet's project has, and that project's name. The caller locks.
func (i *Inventory) putSnippet(s snippetAnswer) {
	if s.ID == "" || s.Project.ID == 0 {
		return
	}
	now := time.Now()
	i.snippets.put(s.ID, s.Project.ID, movelessFor, now)
	i.names.put(s.Project.ID, s.Project.Name, movelessFor, now)
}

// learnNumber takes GET /v1/snippets?project_ref=…, which holds snippets of that project alone. An answer that says
// otherwise is not believed: were the filter ever ignored, a snippet would pass for another project's.
func (i *Inventory) learnNumber(ref string, body []byte) error {
	var answer snippetsAnswer
	if err := decode(body, &answer); err != nil || len(answer.Data) == 0 {
		return err
	}
	number := answer.Data[0].Project.ID
	for _, s := range answer.Data {
		if s.Project.ID == 0 || s.Project.ID != number {
			return fmt.Errorf("the snippets of project %s are said to be of several projects", ref)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	if other, known := i.numbers.get(number, now); known && other != ref {
		i.numbers.put(number, disputed, movelessFor, now)
		return fmt.Errorf("project %s is said to have the number of another", ref)
	}
	for _, s := range answer.Data {
		i.putSnippet(s)
	}
	i.numbers.put(number, ref, movelessFor, now)
	i.numbered.put(ref, number, movelessFor, now)
	return nil
}

// disputed stands for the ref of a number that two projects were said to have: nobody is believed.
const disputed = ""

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading upstream's answer: %w", err)
	}
	return nil
}
