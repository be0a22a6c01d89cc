package sandbox

import "net/http"

// hostname is a project's custom hostname on its way through verification.
type hostname struct {
	name   string
	status string // upstream's numbered steps
}

func (s *Sandbox) domainRoutes() []route {
	const custom, vanity = "/v1/projects/{ref}/custom-hostname", "/v1/projects/{ref}/vanity-subdomain"
	return []route{
		op("v1-get-hostname-config", "GET "+custom, 200, s.getHostname),
		op("v1-Delete hostname config", "DELETE "+custom, 200, s.deleteHostname),
		op("v1-update-hostname-config", "POST "+custom+"/initialize", 201, s.initializeHostname),
		op("v1-verify-dns-config", "POST "+custom+"/reverify", 201, s.advanceHostname("4_origin_setup_completed")),
		op("v1-activate-custom-hostname", "POST "+custom+"/activate", 201, s.advanceHostname("5_services_reconfigured")),
		op("v1-get-vanity-subdomain-config", "GET "+vanity, 200, s.getVanity),
		op("v1-deactivate-vanity-subdomain-config", "DELETE "+vanity, 200, s.deleteVanity),
		op("v1-check-vanity-subdomain-availability", "POST "+vanity+"/check-availability", 201, s.checkVanity),
		op("v1-activate-vanity-subdomain-config", "POST "+vanity+"/activate", 201, s.activateVanity),
	}
}

func (s *Sandbox) getHostname(c *call) (any, error) {
	h := c.project.hostname
	if h == nil {
		return doc{"status": "1_not_started", "custom_hostname": "", "data": verification(c.project, "", "pending")}, nil
	}
	state := "pending"
	if h.status > "3" { // the steps are numbered
		state = "active"
	}
	return doc{"status": h.status, "custom_hostname": h.name, "data": verification(c.project, h.name, state)}, nil
}

// verification is what the certificate authority says of a hostname.
func verification(p *project, name, state string) doc {
	return doc{"success": true, "errors": []any{}, "messages": []any{}, "result": doc{
		"id": idOf("hostname " + p.ref), "hostname": name, "status": state, "custom_origin_server": p.ref + ".supabase.co",
		"ownership_verification": doc{"type": "txt", "name": "_cf-custom-hostname." + name, "value": idOf("owner " + name)},
		"ssl": doc{"status": state, "validation_records": []doc{
			{"txt_name": "_acme-challenge." + name, "txt_value": digest(p.ref + name)[:43]},
		}},
	}}
}

func (s *Sandbox) initializeHostname(c *call) (any, error) {
	var request struct {
		Name string `json:"custom_hostname"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Name == "" {
		return nil, refuse(http.StatusBadRequest, "custom_hostname: Required")
	}
	c.project.hostname = &hostname{name: request.Name, status: "2_initiated"}
	return s.getHostname(c)
}

// advanceHostname brings a hostname that was begun to a step.
func (s *Sandbox) advanceHostname(step string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if c.project.hostname == nil {
			return nil, missing("Custom hostname")
		}
		c.project.hostname.status = step
		return s.getHostname(c)
	}
}

func (s *Sandbox) deleteHostname(c *call) (any, error) {
	c.project.hostname = nil
	return nil, nil
}

const vanityDomain = ".supabase.co"

func (s *Sandbox) getVanity(c *call) (any, error) {
	if c.project.vanity == "" {
		return doc{"status": "not-used"}, nil
	}
	return doc{"status": "active", "custom_domain": c.project.vanity + vanityDomain}, nil
}

func (s *Sandbox) deleteVanity(c *call) (any, error) {
	c.project.vanity = ""
	return nil, nil
}

// vanityFree reads the subdomain asked for and says whether nobody has it.
func (s *Sandbox) vanityFree(c *call) (name string, free bool, err error) {
	var request struct {
		Name string `json:"vanity_subdomain"`
	}
	if err := c.decode(&request); err != nil {
		return "", false, err
	}
	if request.Name == "" {
		return "", false, refuse(http.StatusBadRequest, "vanity_subdomain: Required")
	}
	for _, p := range s.state.projects {
		if p.vanity == request.Name || p.ref == request.Name {
			return request.Name, false, nil
		}
	}
	return request.Name, true, nil
}

func (s *Sandbox) checkVanity(c *call) (any, error) {
	_, free, err := s.vanityFree(c)
	if err != nil {
		return nil, err
	}
	return doc{"available": free}, nil
}

func (s *Sandbox) activateVanity(c *call) (any, error) {
	name, free, err := s.vanityFree(c)
	if err != nil {
		return nil, err
	}
	if !free && c.project.vanity != name {
		return nil, refuse(http.StatusBadRequest, "The subdomain %q is taken", name)
	}
	c.project.vanity = name
	return doc{"custom_domain": name + vanityDomain}, nil
}
