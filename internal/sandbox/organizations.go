package sandbox

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

func newOrganization(slug, name, plan string) *organization {
	return &organization{Slug: slug, Name: name, Plan: plan, endpoints: &resources{}}
}

func (s *Sandbox) organizationRoutes() []route {
	return []route{
		op("v1-list-all-organizations", "GET /v1/organizations", 200, s.listOrganizations),
		op("v1-create-an-organization", "POST /v1/organizations", 201, s.createOrganization),
		op("v1-get-an-organization", "GET /v1/organizations/{slug}", 200, s.getOrganization),
		op("v1-list-organization-members", "GET /v1/organizations/{slug}/members", 200, s.listMembers),
		op("v1-get-organization-entitlements", "GET /v1/organizations/{slug}/entitlements", 200, s.inOrganization(fixed("entitlements"))),
		op("v1-get-all-projects-for-organization", "GET /v1/organizations/{slug}/projects", 200, s.listOrganizationProjects),
		op("v1-get-profile", "GET /v1/profile", 200, s.getProfile),
	}
}

type organizationItem struct {
	ID   string `json:"id"`
	Slug string `json:"slug"`
	Name string `json:"name"`
}

func (s *Sandbox) listOrganizations(*call) (any, error) {
	items := make([]organizationItem, 0, len(s.state.organizations))
	for _, o := range s.state.organizations {
		items = append(items, organizationItem{o.Slug, o.Slug, o.Name})
	}
	return items, nil
}

func (s *Sandbox) createOrganization(c *call) (any, error) {
	var request struct {
		Name string `json:"name"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Name == "" {
		return nil, refuse(400, "name: Required")
	}
	// Upstream's newer slugs are twenty random letters too.
	o := newOrganization(newRef(), request.Name, "free")
	s.state.organizations = append(s.state.organizations, o)
	return organizationItem{o.Slug, o.Slug, o.Name}, nil
}

func (s *Sandbox) getOrganization(c *call) (any, error) {
	o, err := s.state.organization(c.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	return doc{
		"id": o.Slug, "name": o.Name, "plan": o.Plan,
		"opt_in_tags": []string{}, "allowed_release_channels": []string{"ga", "preview"},
	}, nil
}

// inOrganization refuses an organization that does not exist, before next.
func (s *Sandbox) inOrganization(next func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if _, err := s.state.organization(c.PathValue("slug")); err != nil {
			return nil, err
		}
		return next(c)
	}
}

// owners are the users that own a token: the members of every organization.
func (s *Sandbox) owners() []string {
	owners := make([]string, 0, len(s.config.Tokens))
	for _, owner := range s.config.Tokens {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

func address(owner string) string { return owner + "@sandbox.example" }

func (s *Sandbox) listMembers(c *call) (any, error) {
	if _, err := s.state.organization(c.PathValue("slug")); err != nil {
		return nil, err
	}
	members := []doc{}
	for _, owner := range s.owners() {
		members = append(members, doc{
			"user_id": userID(owner), "user_name": owner, "email": address(owner), "role_name": "Owner", "mfa_enabled": true,
		})
	}
	return members, nil
}

func (s *Sandbox) getProfile(c *call) (any, error) {
	owner := ownerOf(c.Request)
	return doc{"gotrue_id": userID(owner), "primary_email": address(owner), "username": owner}, nil
}

func (s *Sandbox) listOrganizationProjects(c *call) (any, error) {
	o, err := s.state.organization(c.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	query, now := c.URL.Query(), time.Now()
	wanted := func(p *project) bool {
		return p.organization == o && strings.Contains(strings.ToLower(p.name), strings.ToLower(query.Get("search"))) &&
			(query.Get("statuses") == "" || slices.Contains(strings.Split(query.Get("statuses"), ","), p.status.at(now)))
	}
	var found []*project
	for _, p := range s.state.projects {
		if wanted(p) {
			found = append(found, p)
		}
	}
	sortProjects(found, query.Get("sort"))
	// 100 is upstream's largest page, and its default.
	limit, offset := min(max(c.number("limit", 100), 1), 100), min(c.number("offset", 0), len(found))
	items := []doc{}
	for _, p := range found[offset:min(offset+limit, len(found))] {
		items = append(items, organizationProject(p, now))
	}
	return doc{"projects": items, "pagination": doc{"count": len(found), "limit": limit, "offset": offset}}, nil
}

// sortProjects orders a list by upstream's sort names; its default is by name.
func sortProjects(list []*project, by string) {
	order := map[string]func(a, b *project) int{
		"name_desc":    func(a, b *project) int { return cmp.Compare(b.name, a.name) },
		"created_asc":  func(a, b *project) int { return a.created.Compare(b.created) },
		"created_desc": func(a, b *project) int { return b.created.Compare(a.created) },
	}[by]
	if order == nil {
		order = func(a, b *project) int { return cmp.Compare(a.name, b.name) }
	}
	slices.SortStableFunc(list, order)
}

func organizationProject(p *project, now time.Time) doc {
	return doc{
		"ref": p.ref, "name": p.name, "cloud_provider": "AWS", "region": p.region, "is_branch": p.branch != nil,
		"status": p.status.at(now), "inserted_at": stamp(p.created), "databases": []doc{p.database(now)},
	}
}
