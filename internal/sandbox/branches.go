package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

const branchReady = "FUNCTIONS_DEPLOYED"

// branch is one branch of a project. It has a project of its own, under whose ref every project operation works too;
// the default branch's is the parent itself.
type branch struct {
	parent, project *project

	ID                string `json:"id"`
	Name              string `json:"name"`
	ProjectRef        string `json:"project_ref"`
	ParentRef         string `json:"parent_project_ref"`
	Default           bool   `json:"is_default"`
	GitBranch         string `json:"git_branch,omitempty"`
	Persistent        bool   `json:"persistent"`
	Status            string `json:"status"`
	CreatedAt         string `json:"created_at"`
	UpdatedAt         string `json:"updated_at"`
	WithData          bool   `json:"with_data"`
	NotifyURL         string `json:"notify_url,omitempty"`
	ReviewRequestedAt string `json:"review_requested_at,omitempty"`
	DeletionAt        string `json:"deletion_scheduled_at,omitempty"`
}

// addBranch makes a branch with its own project. The first one also makes the parent's default branch.
func (s *state) addBranch(parent *project, id, ref, name string, created time.Time) *branch {
	at := stamp(created)
	if len(parent.branches) == 0 {
		parent.branches = append(parent.branches, &branch{
			parent: parent, project: parent, ID: idOf("main branch " + parent.ref), Name: "main", ProjectRef: parent.ref,
			ParentRef: parent.ref, Default: true, Persistent: true, Status: branchReady, CreatedAt: at, UpdatedAt: at,
		})
	}
	b := &branch{
		parent: parent, ID: id, Name: name, ProjectRef: ref, ParentRef: parent.ref,
		Status: "CREATING_PROJECT", CreatedAt: at, UpdatedAt: at,
	}
	b.project = s.addProject(ref, name, parent.region, parent.organization, created)
	b.project.branch = b
	parent.branches = append(parent.branches, b)
	return b
}

// remove takes the branch off its parent's list. Its project is the caller's to remove.
func (b *branch) remove() {
	b.parent.branches = slices.DeleteFunc(b.parent.branches, func(other *branch) bool { return other == b })
}

// item is the branch as answers show it: a new one is ready once its project is.
func (b *branch) item(now time.Time) any {
	shown := *b
	if shown.Status == "CREATING_PROJECT" && b.project.status.at(now) == activeHealthy {
		shown.Status = branchReady
	}
	return struct {
		branch
		Project string `json:"preview_project_status"`
	}{shown, b.project.status.at(now)}
}

func (s *Sandbox) branchRoutes() []route {
	return []route{
		op("v1-list-all-branches", "GET /v1/projects/{ref}/branches", 200, s.listBranches),
		op("v1-create-a-branch", "POST /v1/projects/{ref}/branches", 201, s.createBranch),
		op("v1-disable-preview-branching", "DELETE /v1/projects/{ref}/branches", 200, s.disableBranching),
		op("v1-get-a-branch", "GET /v1/projects/{ref}/branches/{name}", 200, s.getBranchByName),
		op("v1-get-a-branch-config", "GET /v1/branches/{branch_id_or_ref}", 200, s.onBranch(s.getBranch)),
		op("v1-update-a-branch-config", "PATCH /v1/branches/{branch_id_or_ref}", 200, s.onBranch(s.updateBranch)),
		op("v1-delete-a-branch", "DELETE /v1/branches/{branch_id_or_ref}", 200, s.onBranch(s.deleteBranch)),
		op("v1-push-a-branch", "POST /v1/branches/{branch_id_or_ref}/push", 201, s.onBranch(s.pushBranch)),
		op("v1-merge-a-branch", "POST /v1/branches/{branch_id_or_ref}/merge", 201, s.onBranch(s.mergeBranch)),
		op("v1-reset-a-branch", "POST /v1/branches/{branch_id_or_ref}/reset", 201, s.onBranch(s.resetBranch)),
		op("v1-restore-a-branch", "POST /v1/branches/{branch_id_or_ref}/restore", 200, s.onBranch(s.restoreBranch)),
		op("v1-diff-a-branch", "GET /v1/branches/{branch_id_or_ref}/diff", 200, s.onBranch(s.diffBranch)),
	}
}

// onBranch finds the branch that the path names by id or ref.
func (s *Sandbox) onBranch(next func(*call, *branch) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		b, err := s.state.branch(c.PathValue("branch_id_or_ref"))
		if err != nil {
			return nil, err
		}
		return next(c, b)
	}
}

func (s *Sandbox) listBranches(c *call) (any, error) {
	items := []any{}
	for _, b := range c.project.branches {
		items = append(items, b.item(time.Now()))
	}
	return items, nil
}

// branchBody is what asks for a branch, and what may be changed of one.
type branchBody struct {
	Name          string            `json:"branch_name"`
	GitBranch     string            `json:"git_branch"`
	Persistent    *bool             `json:"persistent"`
	WithData      bool              `json:"with_data"`
	NotifyURL     string            `json:"notify_url"`
	Secrets       map[string]string `json:"secrets"`
	Status        string            `json:"status"`
	RequestReview bool              `json:"request_review"`
}

func (s *Sandbox) createBranch(c *call) (any, error) {
	var request branchBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	b, err := s.newBranch(c.project, request)
	if err != nil {
		return nil, err
	}
	return b.item(time.Now()), nil
}

// newBranch makes the branch asked for; its project starts with the parent's migrations and functions.
func (s *Sandbox) newBranch(parent *project, request branchBody) (*branch, error) {
	if request.Name == "" {
		return nil, refuse(http.StatusBadRequest, "branch_name: Required")
	}
	if parent.branch != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "Cannot create a branch of a branch")
	}
	for _, b := range parent.branches {
		if b.Name == request.Name {
			return nil, refuse(http.StatusUnprocessableEntity, "Branch %q already exists", request.Name)
		}
	}
	b := s.state.addBranch(parent, newID(), newRef(), request.Name, time.Now())
	b.WithData = request.WithData
	request.apply(b)
	for name, value := range request.Secrets {
		b.project.secrets = append(b.project.secrets, &secret{name, digest(value), b.CreatedAt})
	}
	b.project.migrations, b.project.functions = slices.Clone(parent.migrations), slices.Clone(parent.functions)
	s.become(b.project, comingUp, activeHealthy)
	return b, nil
}

// apply writes into b what the body says.
func (r branchBody) apply(b *branch) {
	b.Name, b.GitBranch = cmp.Or(r.Name, b.Name), cmp.Or(r.GitBranch, b.GitBranch)
	b.NotifyURL, b.Status = cmp.Or(r.NotifyURL, b.NotifyURL), cmp.Or(r.Status, b.Status)
	if r.Persistent != nil {
		b.Persistent = *r.Persistent
	}
	b.UpdatedAt = stamp(time.Now())
	if r.RequestReview {
		b.ReviewRequestedAt = b.UpdatedAt
	}
}

func (s *Sandbox) disableBranching(c *call) (any, error) {
	for _, b := range c.project.branches {
		if b.project != c.project {
			s.state.removeProject(b.project)
		}
	}
	c.project.branches = nil
	return nil, nil
}

func (s *Sandbox) getBranchByName(c *call) (any, error) {
	for _, b := range c.project.branches {
		if b.Name == c.PathValue("name") {
			return b.item(time.Now()), nil
		}
	}
	return nil, missing("Branch")
}

// getBranch tells how to reach the branch, and not whose it is.
func (s *Sandbox) getBranch(_ *call, b *branch) (any, error) {
	return doc{
		"ref": b.ProjectRef, "postgres_version": postgresVersion, "postgres_engine": "17", "release_channel": "ga",
		"status": b.project.status.at(time.Now()), "db_host": b.project.host(), "db_port": 5432, "db_user": "postgres",
		"db_pass": "sandbox-password-" + b.ProjectRef, "jwt_secret": "sandbox-jwt-secret-" + b.ProjectRef,
	}, nil
}

func (s *Sandbox) updateBranch(c *call, b *branch) (any, error) {
	var request branchBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	request.apply(b)
	return b.item(time.Now()), nil
}

// deleteBranch deletes at once, or with force=false within the hour, until when it can be restored.
func (s *Sandbox) deleteBranch(c *call, b *branch) (any, error) {
	if b.Default {
		return nil, refuse(http.StatusUnprocessableEntity, "Cannot delete the default branch")
	}
	if c.URL.Query().Get("force") == "false" {
		b.DeletionAt = stamp(time.Now().Add(time.Hour))
	} else {
		b.remove()
		s.state.removeProject(b.project)
	}
	return done(c)
}

func (s *Sandbox) restoreBranch(_ *call, b *branch) (any, error) {
	b.DeletionAt = ""
	return doc{"message": "Branch restoration initiated"}, nil
}

// run is the answer of operations that start a workflow on a branch.
func run(b *branch) (any, error) {
	b.UpdatedAt = stamp(time.Now())
	return doc{"workflow_run_id": newID(), "message": "ok"}, nil
}

func (s *Sandbox) pushBranch(_ *call, b *branch) (any, error) {
	b.Status = branchReady
	return run(b)
}

// mergeBranch brings the branch's migrations and functions to its parent.
func (s *Sandbox) mergeBranch(_ *call, b *branch) (any, error) {
	b.parent.migrations, b.parent.functions = slices.Clone(b.project.migrations), slices.Clone(b.project.functions)
	return run(b)
}

// resetBranch returns the branch's database to where its parent's is.
func (s *Sandbox) resetBranch(_ *call, b *branch) (any, error) {
	b.project.migrations = slices.Clone(b.parent.migrations)
	return run(b)
}

// diffBranch lists what the branch's migrations would do to its parent, as SQL.
func (s *Sandbox) diffBranch(_ *call, b *branch) (any, error) {
	var sql text
	for _, m := range b.project.migrations {
		if !slices.ContainsFunc(b.parent.migrations, func(other *migration) bool { return other.Version == m.Version }) {
			sql += text("-- " + m.Version + " " + m.Name + "\n" + m.sql() + "\n")
		}
	}
	return sql, nil
}
