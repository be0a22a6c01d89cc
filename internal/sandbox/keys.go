package sandbox

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// apiKey is a project's key: "legacy" (a JWT), "publishable" or "secret".
type apiKey struct {
	value string

	ID          string `json:"id"`
	Type        string `json:"type"`
	Prefix      string `json:"prefix"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Hash        string `json:"hash"`
	Template    doc    `json:"secret_jwt_template"`
	InsertedAt  string `json:"inserted_at"`
	UpdatedAt   string `json:"updated_at"`
}

// public reports whether the key is meant for browsers. Upstream shows such keys to everybody, the others on demand.
func (k *apiKey) public() bool { return k.Type == "publishable" || k.Name == "anon" }

// shown is the key as an answer gives it: the value of a secret one only where the request asked to reveal it.
func (k *apiKey) shown(reveal bool) any {
	value := k.value
	if !reveal && !k.public() {
		value = k.mask()
	}
	return struct {
		*apiKey
		APIKey string `json:"api_key"`
	}{k, value}
}

// mask is the beginning of the value, which tells keys apart and opens nothing.
func (k *apiKey) mask() string {
	visible := strings.Index(k.value, k.Prefix) + len(k.Prefix)
	return k.value[:visible] + "··············"
}

// newKey makes a key whose value is made from its names: the same each time, worth nothing anywhere.
func newKey(p *project, kind, name string) *apiKey {
	now := stamp(time.Now())
	k := &apiKey{ID: newID(), Type: kind, Name: name, InsertedAt: now, UpdatedAt: now}
	switch kind {
	case "legacy":
		k.ID, k.value = name, legacyKey(p, name)
		k.Prefix = k.value[:5]
	default:
		sum := digest(p.ref + " " + kind + " " + k.ID)
		k.Prefix = sum[:5]
		k.value = fmt.Sprintf("sb_%s_%s_%s", kind, sum[:22], sum[22:30])
	}
	k.Hash = digest(k.value)
	return k
}

// legacyKey has the form of a JWT, so that clients can read its role. Its signature is none.
func legacyKey(p *project, role string) string {
	part := func(v any) string {
		data, _ := json.Marshal(v) // plain values always marshal
		return base64.RawURLEncoding.EncodeToString(data)
	}
	issued := p.created.Unix()
	return part(doc{"alg": "HS256", "typ": "JWT"}) + "." +
		part(doc{"iss": "supabase", "ref": p.ref, "role": role, "iat": issued, "exp": issued + 10*365*24*3600}) + "." +
		base64.RawURLEncoding.EncodeToString([]byte("sandbox "+digest(p.ref + role)[:24]))
}

func seedKeys(p *project) []*apiKey {
	return []*apiKey{
		newKey(p, "legacy", "anon"), newKey(p, "legacy", "service_role"),
		newKey(p, "publishable", "default"), newKey(p, "secret", "default"),
	}
}

func (s *Sandbox) keyRoutes() []route {
	return []route{
		op("v1-get-project-api-keys", "GET /v1/projects/{ref}/api-keys", 200, s.listKeys),
		op("v1-create-project-api-key", "POST /v1/projects/{ref}/api-keys", 201, s.createKey),
		op("v1-get-project-legacy-api-keys", "GET /v1/projects/{ref}/api-keys/legacy", 200, s.getLegacyKeys),
		op("v1-update-project-legacy-api-keys", "PUT /v1/projects/{ref}/api-keys/legacy", 200, s.updateLegacyKeys),
		op("v1-get-project-api-key", "GET /v1/projects/{ref}/api-keys/{id}", 200, s.getKey),
		op("v1-update-project-api-key", "PATCH /v1/projects/{ref}/api-keys/{id}", 200, s.updateKey),
		op("v1-delete-project-api-key", "DELETE /v1/projects/{ref}/api-keys/{id}", 200, s.deleteKey),
	}
}

func (p *project) key(id string) (*apiKey, error) {
	for _, k := range p.keys {
		if k.ID == id {
			return k, nil
		}
	}
	return nil, missing("API key")
}

func (s *Sandbox) listKeys(c *call) (any, error) {
	items := []any{}
	for _, k := range c.project.keys {
		items = append(items, k.shown(c.flag("reveal")))
	}
	return items, nil
}

func (s *Sandbox) getKey(c *call) (any, error) {
	k, err := c.project.key(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return k.shown(c.flag("reveal")), nil
}

// keyBody is what creating and changing a key may say.
type keyBody struct {
	Type        string  `json:"type"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Template    doc     `json:"secret_jwt_template"`
}

func (s *Sandbox) createKey(c *call) (any, error) {
	var request keyBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Type != "publishable" && request.Type != "secret" {
		return nil, refuse(http.StatusBadRequest, "type: Invalid enum value. Expected 'publishable' | 'secret'")
	}
	if request.Name == "" {
		return nil, refuse(http.StatusBadRequest, "name: Required")
	}
	k := newKey(c.project, request.Type, request.Name)
	request.apply(k)
	c.project.keys = append(c.project.keys, k)
	return k.shown(c.flag("reveal")), nil
}

func (b keyBody) apply(k *apiKey) {
	k.Name = cmp.Or(b.Name, k.Name)
	if b.Description != nil {
		k.Description = *b.Description
	}
	if b.Template != nil {
		k.Template = b.Template
	}
	k.UpdatedAt = stamp(time.Now())
}

func (s *Sandbox) updateKey(c *call) (any, error) {
	k, err := c.project.key(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var request keyBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	request.apply(k)
	return k.shown(c.flag("reveal")), nil
}

func (s *Sandbox) deleteKey(c *call) (any, error) {
	k, err := c.project.key(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	c.project.keys = slices.DeleteFunc(c.project.keys, func(other *apiKey) bool { return other == k })
	return k.shown(c.flag("reveal")), nil
}

func (s *Sandbox) getLegacyKeys(c *call) (any, error) {
	return doc{"enabled": c.project.legacyKeys}, nil
}

func (s *Sandbox) updateLegacyKeys(c *call) (any, error) {
	c.project.legacyKeys = c.flag("enabled")
	return doc{"enabled": c.project.legacyKeys}, nil
}
