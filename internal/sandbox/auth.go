package sandbox

import (
	"cmp"
	"net/http"
	"time"
)

func (s *Sandbox) authRoutes() []route {
	const base = "/v1/projects/{ref}/config/auth"
	return []route{
		op("v1-get-auth-service-config", "GET "+base, 200, getSetting("auth")),
		op("v1-update-auth-service-config", "PATCH "+base, 200, changeSetting("auth")),

		op("v1-get-project-signing-keys", "GET "+base+"/signing-keys", 200, s.listSigningKeys),
		op("v1-create-project-signing-key", "POST "+base+"/signing-keys", 201, s.createSigningKey),
		op("v1-get-legacy-signing-key", "GET "+base+"/signing-keys/legacy", 200, getSetting("legacy-signing-key")),
		op("v1-create-legacy-signing-key", "POST "+base+"/signing-keys/legacy", 201, getSetting("legacy-signing-key")),
		op("v1-get-project-signing-key", "GET "+base+"/signing-keys/{id}", 200, getItem("signing-keys", "id", "Signing key")),
		op("v1-update-project-signing-key", "PATCH "+base+"/signing-keys/{id}", 200, s.updateSigningKey),
		op("v1-remove-project-signing-key", "DELETE "+base+"/signing-keys/{id}", 200, deleteItem("signing-keys", "id", "Signing key")),

		op("v1-list-all-sso-provider", "GET "+base+"/sso/providers", 200, s.listProviders),
		op("v1-create-a-sso-provider", "POST "+base+"/sso/providers", 201, s.createProvider),
		op("v1-get-a-sso-provider", "GET "+base+"/sso/providers/{provider_id}", 200, getItem("sso-providers", "provider_id", "SSO provider")),
		op("v1-update-a-sso-provider", "PUT "+base+"/sso/providers/{provider_id}", 200, s.updateProvider),
		op("v1-delete-a-sso-provider", "DELETE "+base+"/sso/providers/{provider_id}", 200, deleteItem("sso-providers", "provider_id", "SSO provider")),

		op("v1-list-project-tpa-integrations", "GET "+base+"/third-party-auth", 200, listItems("third-party-auth")),
		op("v1-create-project-tpa-integration", "POST "+base+"/third-party-auth", 201, s.createThirdParty),
		op("v1-get-project-tpa-integration", "GET "+base+"/third-party-auth/{tpa_id}", 200, getItem("third-party-auth", "tpa_id", "Third party auth integration")),
		op("v1-delete-project-tpa-integration", "DELETE "+base+"/third-party-auth/{tpa_id}", 200, deleteItem("third-party-auth", "tpa_id", "Third party auth integration")),
	}
}

func listItems(list string) func(*call) (any, error) {
	return func(c *call) (any, error) { return append([]doc{}, c.project.list(list)...), nil }
}

func getItem(list, param, what string) func(*call) (any, error) {
	return func(c *call) (any, error) { return c.project.listed(list, c.PathValue(param), what) }
}

// deleteItem removes one thing and answers with what it was.
func deleteItem(list, param, what string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		d, err := c.project.listed(list, c.PathValue(param), what)
		if err != nil {
			return nil, err
		}
		c.project.removeItem(list, c.PathValue(param))
		return d, nil
	}
}

func (s *Sandbox) listSigningKeys(c *call) (any, error) {
	return doc{"keys": append([]doc{}, c.project.list("signing-keys")...)}, nil
}

func (s *Sandbox) createSigningKey(c *call) (any, error) {
	var request struct{ Algorithm, Status string }
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Algorithm == "" {
		return nil, refuse(http.StatusBadRequest, "algorithm: Required")
	}
	now := stamp(time.Now())
	key := doc{
		"id": newID(), "algorithm": request.Algorithm, "status": cmp.Or(request.Status, "standby"), "public_jwk": nil,
		"created_at": now, "updated_at": now,
	}
	c.project.addItem("signing-keys", key)
	return key, nil
}

// updateSigningKey changes a key's status. Only one is in use: the one before it becomes a previous one.
func (s *Sandbox) updateSigningKey(c *call) (any, error) {
	key, err := c.project.listed("signing-keys", c.PathValue("id"), "Signing key")
	if err != nil {
		return nil, err
	}
	var request struct{ Status string }
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Status == "in_use" {
		for _, other := range c.project.list("signing-keys") {
			if other["status"] == "in_use" {
				other["status"] = "previously_used"
			}
		}
	}
	key["status"], key["updated_at"] = request.Status, stamp(time.Now())
	return key, nil
}

func (s *Sandbox) listProviders(c *call) (any, error) {
	return doc{"items": append([]doc{}, c.project.list("sso-providers")...)}, nil
}

// providerBody is what creating and changing an SSO provider may say.
type providerBody struct {
	Type             string   `json:"type"`
	MetadataXML      string   `json:"metadata_xml"`
	MetadataURL      string   `json:"metadata_url"`
	Domains          []string `json:"domains"`
	AttributeMapping doc      `json:"attribute_mapping"`
	NameIDFormat     string   `json:"name_id_format"`
}

func (s *Sandbox) createProvider(c *call) (any, error) {
	var request providerBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Type != "saml" || request.MetadataURL == "" && request.MetadataXML == "" {
		return nil, refuse(http.StatusBadRequest, "A provider of type saml needs metadata_url or metadata_xml")
	}
	provider := doc{
		"id": newID(), "saml": doc{"id": newID(), "entity_id": cmp.Or(request.MetadataURL, "https://idp.example/metadata")},
		"domains": []doc{}, "created_at": stamp(time.Now()),
	}
	request.apply(provider)
	c.project.addItem("sso-providers", provider)
	return provider, nil
}

func (s *Sandbox) updateProvider(c *call) (any, error) {
	provider, err := c.project.listed("sso-providers", c.PathValue("provider_id"), "SSO provider")
	if err != nil {
		return nil, err
	}
	var request providerBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	request.apply(provider)
	return provider, nil
}

// apply writes into a provider what the body says.
func (b providerBody) apply(provider doc) {
	saml := provider["saml"].(doc)
	for name, value := range map[string]string{"metadata_url": b.MetadataURL, "metadata_xml": b.MetadataXML, "name_id_format": b.NameIDFormat} {
		if value != "" {
			saml[name] = value
		}
	}
	if b.AttributeMapping != nil {
		saml["attribute_mapping"] = b.AttributeMapping
	}
	now := stamp(time.Now())
	if b.Domains != nil {
		domains := []doc{}
		for _, name := range b.Domains {
			domains = append(domains, doc{"id": newID(), "domain": name, "created_at": now, "updated_at": now})
		}
		provider["domains"] = domains
	}
	provider["updated_at"] = now
}

func (s *Sandbox) createThirdParty(c *call) (any, error) {
	var request struct {
		Issuer string `json:"oidc_issuer_url"`
		JWKS   string `json:"jwks_url"`
		Custom any    `json:"custom_jwks"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Issuer == "" && request.JWKS == "" && request.Custom == nil {
		return nil, refuse(http.StatusBadRequest, "One of oidc_issuer_url, jwks_url and custom_jwks is required")
	}
	now := stamp(time.Now())
	integration := doc{
		"id": newID(), "type": "custom", "oidc_issuer_url": request.Issuer, "jwks_url": request.JWKS,
		"custom_jwks": request.Custom, "resolved_jwks": doc{"keys": []doc{}}, "inserted_at": now, "updated_at": now, "resolved_at": now,
	}
	c.project.addItem("third-party-auth", integration)
	return integration, nil
}
