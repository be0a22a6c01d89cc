package sandbox

import "net/http"

// addon is one thing that can be bought for a project, in its variants.
type addon struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Variants []doc  `json:"variants"`
}

func addons() []addon {
	var all []addon
	decoded(answerFile("addons"), &all)
	return all
}

func (s *Sandbox) addonRoutes() []route {
	const base = "/v1/projects/{ref}/billing/addons"
	return []route{
		op("v1-list-project-addons", "GET "+base, 200, s.listAddons),
		op("v1-apply-project-addon", "PATCH "+base, 200, s.applyAddon),
		op("v1-remove-project-addon", "DELETE "+base+"/{addon_variant}", 200, s.removeAddon),
	}
}

func (s *Sandbox) listAddons(c *call) (any, error) {
	selected, available := []doc{}, addons()
	for _, a := range available {
		for _, variant := range a.Variants {
			if variant["id"] == c.project.addons[a.Type] {
				selected = append(selected, doc{"type": a.Type, "variant": variant})
			}
		}
	}
	return doc{"selected_addons": selected, "available_addons": available}, nil
}

func (s *Sandbox) applyAddon(c *call) (any, error) {
	var request struct {
		Type    string `json:"addon_type"`
		Variant string `json:"addon_variant"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	for _, a := range addons() {
		for _, variant := range a.Variants {
			if a.Type == request.Type && variant["id"] == request.Variant {
				c.project.addons[a.Type] = request.Variant
				return nil, nil
			}
		}
	}
	return nil, refuse(http.StatusBadRequest, "Unknown addon %q of type %q", request.Variant, request.Type)
}

func (s *Sandbox) removeAddon(c *call) (any, error) {
	for kind, variant := range c.project.addons {
		if variant == c.PathValue("addon_variant") {
			delete(c.project.addons, kind)
			return nil, nil
		}
	}
	return nil, missing("Addon")
}
