package sandbox

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// newerRoutes are operations that clients call and the published specification does not have yet. Their shapes are
// those the clients expect.
func (s *Sandbox) newerRoutes() []route {
	const organization, project = "/v2/organizations/{slug}", "/v2/projects/{ref}"
	return []route{
		op("v2ListOrganizationGithubConnections", "GET "+organization+"/integrations/github/connections", 200, s.inOrganization(emptyPage)),
		op("v2ListOrganizationMaintenanceWindows", "GET "+organization+"/maintenance/windows", 200, s.inOrganization(maintenance)),
		op("v2ListOrganizationMembers", "GET "+organization+"/members", 200, s.inOrganization(s.listMemberResources)),
		op("v2CreateOrganizationInvitations", "POST "+organization+"/members/invitations", 201, s.inOrganization(invitations)),
		op("v2DeleteOrganizationInvitations", "DELETE "+organization+"/members/invitations", 200, s.inOrganization(invitations)),
		op("v2RemoveOrganizationMembers", "DELETE "+organization+"/members/{user_id}", 204, s.inOrganization(nothing)),
		op("v2AssignOrganizationMemberRole", "PATCH "+organization+"/members/{user_id}/roles", 200, s.inOrganization(assignRole)),
		op("v2ListOrganizationProjects", "GET "+organization+"/projects", 200, s.listProjectResources),
		op("v2ListOrganizationRoles", "GET "+organization+"/roles", 200, s.inOrganization(roles)),

		op("v2GetProjectConfig", "GET "+project+"/config", 200, s.getProjectConfig),
		op("v2CreateABranch", "POST "+project+"/branches", 201, s.createBranchResource),
		op("v2RunProjectAdvisors", "POST "+project+"/advisors/run", 201, runAdvisors),
		op("v2DownloadProjectBackup", "POST "+project+"/backups/download", 201, downloadBackup),
		op("v2PreviewAProjectTransfer", "POST "+project+"/transfers/previews", 201, previewTransfer),
		op("v2TransferAProject", "POST "+project+"/transfers", 204, s.transfer),

		op("v2ListLogDrains", "GET "+project+"/analytics/log-drains", 200, listResources("log_drain")),
		op("v2CreateLogDrain", "POST "+project+"/analytics/log-drains", 201, createLogDrain),
		op("v2UpdateLogDrain", "PUT "+project+"/analytics/log-drains/{id}", 200, updateLogDrain),
		op("v2DeleteLogDrain", "DELETE "+project+"/analytics/log-drains/{id}", 204, deleteResource("log_drain", "id")),

		op("v2ListAllComputeInstances", "GET "+project+"/compute", 200, listResources("project_compute_instance")),
		op("v2GetAComputeInstance", "GET "+project+"/compute/{name}", 200, getCompute),
		op("v2DeployAComputeInstance", "POST "+project+"/compute/{name}/deploy", 202, deployCompute),
		op("v2CreateComputeInstanceUpload", "POST "+project+"/compute/{name}/uploads", 201, uploadCompute),
		op("v2DeleteAComputeInstance", "DELETE "+project+"/compute/{name}", 204, deleteResource("project_compute_instance", "name")),

		op("v2ListPrivateLinkAssociations", "GET "+project+"/private-link/associations", 200, listResources("private_link_association")),
		op("v2CreatePrivateLinkAssociation", "POST "+project+"/private-link/associations", 201, createPrivateLink),
		op("v2DeletePrivateLinkAssociation", "DELETE "+project+"/private-link/associations/aws-account/{aws_account_id}", 204, deletePrivateLink),
		op("v2DeletePrivateLinkAssociationForDatabase", "DELETE "+project+"/private-link/associations/aws-account/{aws_account_id}/database/{database_identifier}", 204, deletePrivateLink),
	}
}

func emptyPage(c *call) (any, error) { return c.page(nil), nil }

func maintenance(c *call) (any, error) {
	return data([]resource{{"maintenance_window", idOf("window " + c.PathValue("slug")), doc{
		"window":         doc{"day": "sun", "start_utc": "03:00", "duration_minutes": 120},
		"current_window": nil, "next_windows": []any{},
	}}}), nil
}

func (s *Sandbox) listMemberResources(c *call) (any, error) {
	var items []*resource
	for _, owner := range s.owners() {
		items = append(items, &resource{"organization_member", userID(owner), doc{
			"username": owner, "primary_email": address(owner), "mfa_enabled": true, "is_sso_user": false, "avatar_url": nil,
			"roles": []doc{{"name": "Owner", "scope": "organization", "projects": []any{}}},
		}})
	}
	return c.page(items), nil
}

// invitations answers with the invitations that the body names, as made or withdrawn.
func invitations(c *call) (any, error) {
	var request struct {
		Data []struct {
			Attributes struct {
				Email string `json:"email"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	items := []doc{}
	for _, item := range request.Data {
		items = append(items, doc{"type": "organization_invitation", "attributes": doc{"email": item.Attributes.Email}})
	}
	return data(items), nil
}

func assignRole(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	return data(doc{"type": "organization_member_role", "attributes": doc{
		"name": attributes["role"], "scope": "organization", "projects": []any{},
	}}), nil
}

func roles(*call) (any, error) {
	items := []doc{}
	for _, name := range []string{"Owner", "Administrator", "Developer", "Read-only"} {
		items = append(items, doc{"type": "organization_role", "attributes": doc{"name": name}})
	}
	return data(items), nil
}

func (s *Sandbox) listProjectResources(c *call) (any, error) {
	o, err := s.state.organization(c.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	query, now := c.URL.Query(), time.Now()
	var items []*resource
	for _, p := range s.state.projects {
		if p.organization == o && p.branch == nil && strings.Contains(p.name, query.Get("search")) {
			items = append(items, &resource{"project", p.ref, doc{
				"name": p.name, "status": p.status.at(now), "cloud_provider": "AWS", "region": p.region,
				"inserted_at": stamp(p.created), "databases": []doc{p.database(now)},
			}})
		}
	}
	return c.page(sorted(items, cmp.Or(query.Get("sort"), "-inserted_at"))), nil
}

func (s *Sandbox) createBranchResource(c *call) (any, error) {
	var request struct {
		Data struct {
			Attributes struct {
				branchBody
				Name string `json:"name"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	asked := request.Data.Attributes.branchBody
	asked.Name = request.Data.Attributes.Name
	b, err := s.newBranch(c.project, asked)
	if err != nil {
		return nil, err
	}
	attributes := doc{
		"name": b.Name, "project_ref": b.ProjectRef, "parent_project_ref": b.ParentRef, "is_default": false,
		"persistent": b.Persistent, "with_data": b.WithData, "created_at": b.CreatedAt, "updated_at": b.UpdatedAt,
	}
	for name, value := range map[string]string{"git_branch": b.GitBranch, "notify_url": b.NotifyURL} {
		if value != "" {
			attributes[name] = value
		}
	}
	return data(resource{"branch", b.ID, attributes}), nil
}

func runAdvisors(*call) (any, error) {
	var security, performance struct {
		Lints []doc `json:"lints"`
	}
	decoded(answerFile("advisors-security"), &security)
	decoded(answerFile("advisors-performance"), &performance)
	return data(doc{"type": "project_advisors", "attributes": doc{"lints": slices.Concat(security.Lints, performance.Lints)}}), nil
}

func downloadBackup(c *call) (any, error) {
	var request struct {
		Data struct {
			ID int `json:"id"`
		} `json:"data"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	return data(doc{"type": "project_backup_file_url", "id": request.Data.ID, "attributes": doc{
		"file_url": "https://backups.sandbox.example/" + c.project.ref + ".backup.gz",
	}}), nil
}

func previewTransfer(c *call) (any, error) {
	if _, err := c.attributes(); err != nil {
		return nil, err
	}
	return data(doc{"type": "project_transfer_result", "attributes": doc{
		"valid": true, "warnings": []any{}, "errors": []any{}, "info": []any{},
	}}), nil
}

func (s *Sandbox) transfer(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	slug, _ := attributes["target_organization_slug"].(string)
	o, err := s.state.organization(slug)
	if err != nil {
		return nil, err
	}
	c.project.moveTo(o)
	return nil, nil
}

func listResources(kind string) func(*call) (any, error) {
	return func(c *call) (any, error) { return c.project.kind(kind).all(), nil }
}

func deleteResource(kind, param string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if _, err := c.project.kind(kind).find(c.PathValue(param)); err != nil {
			return nil, err
		}
		c.project.kind(kind).remove(c.PathValue(param))
		return nil, nil
	}
}

func createLogDrain(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	whole := with(doc{"name": "", "config": doc{}, "backend_type": "webhook"}, attributes)
	return data(c.project.kind("log_drain").add("log_drain", newID(), whole)), nil
}

func updateLogDrain(c *call) (any, error) {
	drain, err := c.project.kind("log_drain").find(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	maps.Copy(drain.Attributes, attributes)
	return data(drain), nil
}

const computeKind = "project_compute_instance"

func getCompute(c *call) (any, error) {
	instance, err := c.project.kind(computeKind).find(c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return data(instance), nil
}

func deployCompute(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	spec, _ := attributes["spec"].(doc)
	c.project.kind(computeKind).remove(c.PathValue("name"))
	return data(c.project.kind(computeKind).add(computeKind, c.PathValue("name"), doc{
		"spec":        with(doc{"size": "micro", "exposure": "private", "instances": 1}, spec),
		"build_state": "active", "secret_generation": "1",
	})), nil
}

func uploadCompute(c *call) (any, error) {
	return data(resource{"project_compute_instance_upload", newID(), doc{
		"url": "https://uploads.sandbox.example/" + c.project.ref, "method": "PUT", "expires_at": stamp(time.Now().Add(time.Hour)),
	}}), nil
}

func createPrivateLink(c *call) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	if attributes["aws_account_id"] == nil {
		return nil, refuse(http.StatusBadRequest, "data.attributes.aws_account_id: Required")
	}
	return data(c.project.kind("private_link_association").add("private_link_association", newID(), with(doc{
		"status": "CREATING", "shared_at": nil, "database_type": "PRIMARY", "database_identifier": c.project.ref,
		"custom_dns_name": c.project.ref + ".privatelink.supabase.co",
	}, attributes))), nil
}

// deletePrivateLink ends an account's associations, with one database where the path names one.
func deletePrivateLink(c *call) (any, error) {
	links, database := c.project.kind("private_link_association"), c.PathValue("database_identifier")
	links.items = slices.DeleteFunc(links.items, func(link *resource) bool {
		return link.Attributes["aws_account_id"] == c.PathValue("aws_account_id") &&
			(database == "" || link.Attributes["database_identifier"] == database)
	})
	return nil, nil
}
