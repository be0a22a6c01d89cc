package sandbox

import (
	"net/http"
	"time"
)

const endpointKind = "endpoint"

// endpoints finds the webhook endpoints of the organization or project in the path.
func (s *Sandbox) endpoints(c *call) (*resources, error) {
	if c.project != nil {
		return c.project.kind(endpointKind), nil
	}
	o, err := s.state.organization(c.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	return o.endpoints, nil
}

// onEndpoints hands the endpoints of the path's target to next.
func (s *Sandbox) onEndpoints(next func(*call, *resources) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		endpoints, err := s.endpoints(c)
		if err != nil {
			return nil, err
		}
		return next(c, endpoints)
	}
}

// onEndpoint hands the one endpoint that the path names to next.
func (s *Sandbox) onEndpoint(next func(*call, *resources, *resource) (any, error)) func(*call) (any, error) {
	return s.onEndpoints(func(c *call, all *resources) (any, error) {
		one, err := all.find(c.PathValue("id"))
		if err != nil {
			return nil, missing("Endpoint")
		}
		return next(c, all, one)
	})
}

// webhookRoutes are the same operations on organizations and on projects.
func (s *Sandbox) webhookRoutes() []route {
	var all []route
	for prefix, base := range map[string]string{"v2OrganizationsSlug": "/v2/organizations/{slug}/webhooks", "v2ProjectsRef": "/v2/projects/{ref}/webhooks"} {
		one := base + "/endpoints/{id}"
		all = append(all,
			op(prefix+"WebhooksEndpointsGet", "GET "+base+"/endpoints", 200, s.onEndpoints(listEndpoints)),
			op(prefix+"WebhooksEndpointsPost", "POST "+base+"/endpoints", 201, s.onEndpoints(createEndpoint)),
			op(prefix+"WebhooksEndpointsDelete", "DELETE "+base+"/endpoints", 200, s.onEndpoints(deleteEndpoints)),
			op(prefix+"WebhooksEndpointsIdGet", "GET "+one, 200, s.onEndpoint(getEndpoint)),
			op(prefix+"WebhooksEndpointsIdPatch", "PATCH "+one, 200, s.onEndpoint(updateEndpoint)),
			op(prefix+"WebhooksEndpointsIdDelete", "DELETE "+one, 200, s.onEndpoint(deleteEndpoint)),
			op(prefix+"WebhooksEndpointsIdDeliveriesGet", "GET "+one+"/deliveries", 200, s.onEndpoint(s.listDeliveries)),
			op(prefix+"WebhooksDeliveriesIdGet", "GET "+base+"/deliveries/{id}", 200, s.onEndpoints(s.getDelivery)),
			op(prefix+"WebhooksDeliveriesIdRetryPost", "POST "+base+"/deliveries/{id}/retry", 201, s.onEndpoints(retryDelivery)),
		)
	}
	return all
}

func listEndpoints(_ *call, all *resources) (any, error) { return all.all(), nil }

func createEndpoint(c *call, all *resources) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	if attributes["url"] == nil {
		return nil, refuse(http.StatusBadRequest, "data.attributes.url: Required")
	}
	id := newID()
	return data(all.add(endpointKind, id, with(doc{
		"id": id, "enabled": true, "description": nil, "event_types": []any{}, "created_by": userID(ownerOf(c.Request)),
		"created_at": stamp(time.Now()),
	}, attributes))), nil
}

func deleteEndpoints(_ *call, all *resources) (any, error) {
	gone := all.all()
	all.items = nil
	return gone, nil
}

func getEndpoint(_ *call, _ *resources, one *resource) (any, error) { return data(one), nil }

func updateEndpoint(c *call, _ *resources, one *resource) (any, error) {
	attributes, err := c.attributes()
	if err != nil {
		return nil, err
	}
	merge(one.Attributes, attributes)
	return data(one), nil
}

func deleteEndpoint(_ *call, all *resources, one *resource) (any, error) {
	all.remove(one.ID)
	return data(one), nil
}

// delivery is the one delivery that every endpoint has had.
func (s *Sandbox) delivery(c *call, id string) *resource {
	slug, ref := c.PathValue("slug"), any(nil)
	if c.project != nil {
		slug, ref = c.project.organization.Slug, c.project.ref
	}
	at := stamp(time.Now().Add(-time.Hour).Truncate(time.Hour))
	return &resource{"delivery", id, doc{
		"id": id, "event_id": idOf("event " + id), "status": "success", "response_code": 200,
		"response_headers": doc{"content-type": "text/plain"}, "response_body": "ok", "error_code": nil, "error_message": nil,
		"attempt_timestamp": at, "event": doc{
			"type": "v1.project.status.changed", "timestamp": at, "payload": doc{"organization_slug": slug, "project_ref": ref},
		},
	}}
}

func (s *Sandbox) listDeliveries(c *call, _ *resources, one *resource) (any, error) {
	return c.page([]*resource{s.delivery(c, idOf("delivery "+one.ID))}), nil
}

func (s *Sandbox) getDelivery(c *call, _ *resources) (any, error) {
	return data(s.delivery(c, c.PathValue("id"))), nil
}

func retryDelivery(*call, *resources) (any, error) {
	return data(doc{"type": "ingress", "id": newID()}), nil
}
