package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// secret is one environment variable of a project's edge functions. Its value is write-only: answers give its digest.
type secret struct {
	Name      string `json:"name"`
	Value     string `json:"value"` // SHA-256, as upstream answers
	UpdatedAt string `json:"updated_at"`
}

// reserved is the prefix of the secrets that upstream itself sets.
const reserved = "SUPABASE_"

func seedSecrets(p *project) []*secret {
	secrets := []*secret{{Name: "STRIPE_WEBHOOK_ENDPOINT", Value: digest("we_" + p.ref), UpdatedAt: stamp(p.created)}}
	for _, name := range []string{"SUPABASE_ANON_KEY", "SUPABASE_DB_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_URL"} {
		secrets = append(secrets, &secret{Name: name, Value: digest(name + p.ref), UpdatedAt: stamp(p.created)})
	}
	return secrets
}

func (s *Sandbox) secretRoutes() []route {
	return []route{
		op("v1-list-all-secrets", "GET /v1/projects/{ref}/secrets", 200, s.listSecrets),
		op("v1-bulk-create-secrets", "POST /v1/projects/{ref}/secrets", 201, s.createSecrets),
		op("v1-bulk-delete-secrets", "DELETE /v1/projects/{ref}/secrets", 200, s.deleteSecrets),
	}
}

func (s *Sandbox) listSecrets(c *call) (any, error) {
	return append([]*secret{}, c.project.secrets...), nil
}

func (s *Sandbox) createSecrets(c *call) (any, error) {
	var request []secret
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	for _, item := range request {
		if item.Name == "" || strings.HasPrefix(item.Name, reserved) {
			return nil, refuse(http.StatusBadRequest, "name: must not be empty nor start with the %s prefix", reserved)
		}
	}
	for _, item := range request {
		c.project.dropSecrets(item.Name)
		c.project.secrets = append(c.project.secrets, &secret{item.Name, digest(item.Value), stamp(time.Now())})
	}
	slices.SortFunc(c.project.secrets, func(a, b *secret) int { return strings.Compare(a.Name, b.Name) })
	return nil, nil
}

func (s *Sandbox) deleteSecrets(c *call) (any, error) {
	var names []string
	if err := c.decode(&names); err != nil {
		return nil, err
	}
	c.project.dropSecrets(names...)
	return nil, nil
}

func (p *project) dropSecrets(names ...string) {
	p.secrets = slices.DeleteFunc(p.secrets, func(item *secret) bool { return slices.Contains(names, item.Name) })
}
