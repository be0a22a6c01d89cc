package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The states of a project that the stand-in knows, in upstream's words.
const (
	activeHealthy = "ACTIVE_HEALTHY"
	comingUp      = "COMING_UP"
	inactive      = "INACTIVE"
	pausing       = "PAUSING"
	restarting    = "RESTARTING"
	restoring     = "RESTORING"
)

// postgresVersion is the one every project of the stand-in runs.
const postgresVersion = "17.6.1.021"

// status is a state that, after some time, becomes the next.
type status struct {
	now, next string
	due       time.Time // zero: it stays
}

// at is the state at a time.
func (s status) at(now time.Time) string {
	if s.due.IsZero() || now.Before(s.due) {
		return s.now
	}
	return s.next
}

// become starts the way through one state into another.
func (s *Sandbox) become(p *project, through, final string) {
	p.status = status{now: through, next: final, due: time.Now().Add(s.config.Settle)}
}

func (s *state) addProject(ref, name, region string, o *organization, created time.Time) *project {
	p := &project{
		number: s.number(), ref: ref, name: name, organization: o, region: region, created: created,
		legacyKeys: true, bans: seedBans(), addons: map[string]string{"compute_instance": "ci_micro"},
		settings: make(map[string]doc), lists: make(map[string][]doc), resources: make(map[string]*resources),
	}
	p.keys = seedKeys(p)
	p.secrets = seedSecrets(p)
	p.functions = seedFunctions(p)
	p.migrations = seedMigrations()
	s.projects = append(s.projects, p)
	return p
}

func (s *Sandbox) projectRoutes() []route {
	return []route{
		op("v1-list-all-projects", "GET /v1/projects", 200, s.listProjects),
		op("v1-create-a-project", "POST /v1/projects", 201, s.createProject),
		op("v1-get-available-regions", "GET /v1/projects/available-regions", 200, fixed("available-regions")),
		op("v1-get-project", "GET /v1/projects/{ref}", 200, s.getProject),
		op("v1-update-a-project", "PATCH /v1/projects/{ref}", 200, s.updateProject),
		op("v1-delete-a-project", "DELETE /v1/projects/{ref}", 200, s.deleteProject),
		op("v1-pause-a-project", "POST /v1/projects/{ref}/pause", 200, s.pauseProject),
		op("v1-restore-a-project", "POST /v1/projects/{ref}/restore", 200, s.restoreProject),
		op("v1-cancel-a-project-restoration", "POST /v1/projects/{ref}/restore/cancel", 200, s.cancelRestore),
		op("v1-list-available-restore-versions", "GET /v1/projects/{ref}/restore", 200, fixed("restore-versions")),
		op("v1RestartAProject", "POST /v1/projects/{ref}/restart", 200, s.restartProject),
		op("v1-get-services-health", "GET /v1/projects/{ref}/health", 200, s.getHealth),
		op("v1-upgrade-postgres-version", "POST /v1/projects/{ref}/upgrade", 201, s.upgrade),
		op("v1-get-postgres-upgrade-eligibility", "GET /v1/projects/{ref}/upgrade/eligibility", 200, fixed("upgrade-eligibility")),
		op("v1-get-postgres-upgrade-status", "GET /v1/projects/{ref}/upgrade/status", 200, s.getUpgradeStatus),
	}
}

// projectItem is a project as most operations show it.
type projectItem struct {
	ID               string `json:"id"`
	Ref              string `json:"ref"`
	OrganizationID   string `json:"organization_id"`
	OrganizationSlug string `json:"organization_slug"`
	Name             string `json:"name"`
	Region           string `json:"region"`
	Status           string `json:"status"`
	CreatedAt        string `json:"created_at"`
	Database         doc    `json:"database,omitempty"`
}

func (p *project) item() projectItem {
	return projectItem{
		ID: p.ref, Ref: p.ref, OrganizationID: p.organization.Slug, OrganizationSlug: p.organization.Slug, Name: p.name,
		Region: p.region, Status: p.status.at(time.Now()), CreatedAt: stamp(p.created),
	}
}

// detail is item with the database.
func (p *project) detail() projectItem {
	item := p.item()
	item.Database = doc{"host": p.host(), "version": postgresVersion, "postgres_engine": "17", "release_channel": "ga"}
	return item
}

func (p *project) host() string { return "db." + p.ref + ".supabase.co" }

// brief is a project as changing and deleting it show it.
func (p *project) brief() doc { return doc{"id": p.number, "ref": p.ref, "name": p.name} }

// database is the project's primary database as lists of an organization's projects show it.
func (p *project) database(now time.Time) doc {
	state := p.status.at(now)
	if !slices.Contains([]string{activeHealthy, comingUp, restarting, restoring}, state) {
		state = "UNKNOWN" // a database has fewer states than a project
	}
	return doc{
		"infra_compute_size": "micro", "region": p.region, "status": state, "cloud_provider": "AWS",
		"identifier": p.ref, "type": "PRIMARY", "disk_volume_size_gb": 8, "disk_type": "gp3", "disk_throughput_mbps": 125,
	}
}

func (s *Sandbox) listProjects(*call) (any, error) {
	items := []projectItem{}
	for _, p := range s.state.projects {
		if p.branch == nil {
			items = append(items, p.detail())
		}
	}
	return items, nil
}

// createProject is the body that asks for a project.
type createProject struct {
	Name             string `json:"name"`
	Password         string `json:"db_pass"`
	OrganizationSlug string `json:"organization_slug"`
	OrganizationID   string `json:"organization_id"` // the older name of the same
	Region           string `json:"region"`
	Selection        struct {
		Type string `json:"type"`
		Code string `json:"code"`
	} `json:"region_selection"`
}

func (r createProject) organization() string { return cmp.Or(r.OrganizationSlug, r.OrganizationID) }

// region is the one asked for, or a common one of the group asked for.
func (r createProject) region() string {
	if r.Selection.Type == "smartGroup" {
		return map[string]string{"emea": "eu-central-1", "apac": "ap-southeast-1"}[r.Selection.Code]
	}
	return cmp.Or(r.Selection.Code, r.Region)
}

func (s *Sandbox) createProject(c *call) (any, error) {
	var request createProject
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	var lacking []string
	for name, value := range map[string]string{"name": request.Name, "db_pass": request.Password, "organization_slug": request.organization()} {
		if value == "" {
			lacking = append(lacking, name+": Required")
		}
	}
	if len(lacking) > 0 {
		slices.Sort(lacking)
		return nil, refuse(http.StatusBadRequest, "%s", strings.Join(lacking, ", "))
	}
	o, err := s.state.organization(request.organization())
	if err != nil {
		return nil, err
	}
	p := s.state.addProject(newRef(), request.Name, cmp.Or(request.region(), "us-east-1"), o, time.Now())
	p.functions, p.migrations = nil, nil // only what was there at the start comes with something in it
	s.become(p, comingUp, activeHealthy)
	return p.item(), nil
}

func (s *Sandbox) getProject(c *call) (any, error) { return c.project.detail(), nil }

func (s *Sandbox) updateProject(c *call) (any, error) {
	var request struct {
		Name string `json:"name"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Name == "" {
		return nil, refuse(http.StatusBadRequest, "name: Required")
	}
	c.project.name = request.Name
	return c.project.brief(), nil
}

func (s *Sandbox) deleteProject(c *call) (any, error) {
	if b := c.project.branch; b != nil {
		b.remove()
	}
	s.state.removeProject(c.project)
	return c.project.brief(), nil
}

func (s *Sandbox) pauseProject(c *call) (any, error) {
	if c.project.status.at(time.Now()) != activeHealthy {
		return nil, refuse(http.StatusBadRequest, "Project is not in a state that can be paused")
	}
	s.become(c.project, pausing, inactive)
	return nil, nil
}

func (s *Sandbox) restoreProject(c *call) (any, error) {
	if c.project.status.at(time.Now()) != inactive {
		return nil, refuse(http.StatusBadRequest, "Project is not paused")
	}
	s.become(c.project, restoring, activeHealthy)
	return nil, nil
}

func (s *Sandbox) cancelRestore(c *call) (any, error) {
	if c.project.status.at(time.Now()) != restoring {
		return nil, refuse(http.StatusBadRequest, "Project is not being restored")
	}
	c.project.status = status{now: inactive}
	return nil, nil
}

func (s *Sandbox) restartProject(c *call) (any, error) {
	s.become(c.project, restarting, activeHealthy)
	return nil, nil
}

// getHealth answers for the services asked for, in the order asked.
func (s *Sandbox) getHealth(c *call) (any, error) {
	healthy := c.project.status.at(time.Now()) == activeHealthy
	state := map[bool]string{true: activeHealthy, false: "UNHEALTHY"}[healthy]
	if c.project.status.at(time.Now()) == comingUp {
		state = comingUp
	}
	var services []string
	for _, value := range c.URL.Query()["services"] {
		services = append(services, strings.Split(value, ",")...)
	}
	if len(services) == 0 {
		return nil, refuse(http.StatusBadRequest, "services: Required")
	}
	items := []doc{}
	for _, name := range services {
		item := doc{"name": name, "healthy": healthy, "status": state}
		if name == "auth" && healthy {
			item["info"] = doc{"name": "GoTrue", "version": "v2.180.0", "description": "GoTrue is a user registration and authentication API"}
		}
		items = append(items, item)
	}
	return items, nil
}

func (s *Sandbox) upgrade(c *call) (any, error) {
	id := newID()
	c.project.settings["upgrade"] = doc{
		"initiated_at": stamp(time.Now()), "latest_status_at": stamp(time.Now()), "target_version": 17,
		"progress": "0_requested", "status": 0,
	}
	return doc{"tracking_id": id}, nil
}

func (s *Sandbox) getUpgradeStatus(c *call) (any, error) {
	upgrade, started := c.project.settings["upgrade"]
	if !started {
		return doc{"databaseUpgradeStatus": nil}, nil
	}
	return doc{"databaseUpgradeStatus": upgrade}, nil
}
