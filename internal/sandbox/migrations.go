package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// migration is one entry of a project's migration history. Neither it nor a history is ever written to, only replaced:
// branches share their parent's.
type migration struct {
	Version    string   `json:"version"`
	Name       string   `json:"name"`
	Statements []string `json:"statements"`
	Rollback   []string `json:"rollback"`
	CreatedBy  string   `json:"created_by"`
	Key        string   `json:"idempotency_key,omitempty"`
}

func (m *migration) sql() string { return strings.Join(m.Statements, "\n") }

// seedMigrations is the history the seeded projects share.
func seedMigrations() []*migration {
	return []*migration{
		{
			Version: "20260114091500", Name: "create_customers", CreatedBy: address("ada"), Rollback: []string{},
			Statements: []string{"create table customers (id bigint generated always as identity primary key, email text not null unique, created_at timestamptz not null default now());"},
		},
		{
			Version: "20260203142030", Name: "create_orders", CreatedBy: address("ada"), Rollback: []string{"drop table orders;"},
			Statements: []string{"create table orders (id bigint generated always as identity primary key, customer_id bigint not null references customers (id), total numeric(12, 2) not null);"},
		},
	}
}

func (s *Sandbox) migrationRoutes() []route {
	return []route{
		op("v1-list-migration-history", "GET /v1/projects/{ref}/database/migrations", 200, s.listMigrations),
		op("v1-apply-a-migration", "POST /v1/projects/{ref}/database/migrations", 200, s.applyMigration),
		op("v1-upsert-a-migration", "PUT /v1/projects/{ref}/database/migrations", 200, s.applyMigration),
		op("v1-rollback-migrations", "DELETE /v1/projects/{ref}/database/migrations", 200, s.rollbackMigrations),
		op("v1-get-a-migration", "GET /v1/projects/{ref}/database/migrations/{version}", 200, s.getMigration),
		op("v1-patch-a-migration", "PATCH /v1/projects/{ref}/database/migrations/{version}", 200, s.patchMigration),
	}
}

func (s *Sandbox) listMigrations(c *call) (any, error) {
	items := []doc{}
	for _, m := range c.project.migrations {
		items = append(items, doc{"version": m.Version, "name": m.Name})
	}
	return items, nil
}

type migrationBody struct {
	Query    string `json:"query"`
	Name     string `json:"name"`
	Rollback string `json:"rollback"`
}

// applyMigration adds to the history, once for each Idempotency-Key.
func (s *Sandbox) applyMigration(c *call) (any, error) {
	var request migrationBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Query == "" {
		return nil, refuse(http.StatusBadRequest, "query: Required")
	}
	key := c.Header.Get("Idempotency-Key")
	for _, m := range c.project.migrations {
		if key != "" && m.Key == key {
			return nil, nil
		}
	}
	m := &migration{
		Version: c.project.nextVersion(time.Now()), Name: request.Name, Statements: []string{request.Query},
		Rollback: []string{}, CreatedBy: address(ownerOf(c.Request)), Key: key,
	}
	if request.Rollback != "" {
		m.Rollback = []string{request.Rollback}
	}
	c.project.migrations = append(slices.Clip(c.project.migrations), m)
	return nil, nil
}

// nextVersion is the time in whole seconds, later where another migration has that second.
func (p *project) nextVersion(now time.Time) string {
	for ; ; now = now.Add(time.Second) {
		version := now.UTC().Format("20060102150405")
		if _, err := p.migration(version); err != nil {
			return version
		}
	}
}

func (p *project) migration(version string) (*migration, error) {
	for _, m := range p.migrations {
		if m.Version == version {
			return m, nil
		}
	}
	return nil, missing("Migration")
}

func (s *Sandbox) getMigration(c *call) (any, error) {
	return c.project.migration(c.PathValue("version"))
}

func (s *Sandbox) patchMigration(c *call) (any, error) {
	m, err := c.project.migration(c.PathValue("version"))
	if err != nil {
		return nil, err
	}
	var request migrationBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	patched := *m
	patched.Name = cmp.Or(request.Name, m.Name)
	if request.Rollback != "" {
		patched.Rollback = []string{request.Rollback}
	}
	list := slices.Clone(c.project.migrations)
	list[slices.Index(list, m)] = &patched
	c.project.migrations = list
	return nil, nil
}

// rollbackMigrations forgets every migration from a version on.
func (s *Sandbox) rollbackMigrations(c *call) (any, error) {
	from := c.URL.Query().Get("gte")
	if from == "" {
		return nil, refuse(http.StatusBadRequest, "gte: Required")
	}
	c.project.migrations = slices.DeleteFunc(slices.Clone(c.project.migrations), func(m *migration) bool { return m.Version >= from })
	return nil, nil
}
