package sandbox

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// resource is one thing in the form of /v2: {"type", "id", "attributes"}.
type resource struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	Attributes doc    `json:"attributes"`
}

// resources are the things of one kind that a project or an organization has.
type resources struct{ items []*resource }

func (r *resources) find(id string) (*resource, error) {
	for _, item := range r.items {
		if item.ID == id {
			return item, nil
		}
	}
	return nil, missing("Resource")
}

func (r *resources) add(kind, id string, attributes doc) *resource {
	added := &resource{kind, id, attributes}
	r.items = append(r.items, added)
	return added
}

func (r *resources) remove(id string) {
	r.items = slices.DeleteFunc(r.items, func(item *resource) bool { return item.ID == id })
}

// kind gives the project's resources of one kind.
func (p *project) kind(name string) *resources {
	if p.resources[name] == nil {
		p.resources[name] = &resources{}
	}
	return p.resources[name]
}

// data is the form of every /v2 answer.
func data(v any) doc { return doc{"data": v} }

// all is every resource of one kind, as an answer.
func (r *resources) all() doc { return data(append([]*resource{}, r.items...)) }

// attributes reads the attributes out of a body in the form of /v2.
func (c *call) attributes() (doc, error) {
	var request struct {
		Data struct {
			Attributes doc `json:"attributes"`
		} `json:"data"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Data.Attributes == nil {
		return nil, refuse(http.StatusBadRequest, "data.attributes: Required")
	}
	return request.Data.Attributes, nil
}

// with is attributes over defaults.
func with(defaults, attributes doc) doc {
	maps.Copy(defaults, attributes)
	return defaults
}

// page cuts the piece out of a list that page[size] and page[after] name, and links to the next one. The cursor is the
// id of the last item before it.
func (c *call) page(items []*resource) doc {
	query := c.URL.Query()
	after := query.Get("page[after]")
	if i := slices.IndexFunc(items, func(r *resource) bool { return r.ID == after }); after != "" && i >= 0 {
		items = items[i+1:]
	}
	// 100 is upstream's largest page.
	size := min(max(c.number("page[size]", 100), 1), 100)
	links := doc{"prev": nil, "next": nil}
	if len(items) > size {
		items = items[:size]
		query.Set("page[after]", items[size-1].ID)
		next := url.URL{Path: c.URL.Path, RawQuery: query.Encode()}
		links["next"] = next.String()
	}
	return doc{"data": append([]*resource{}, items...), "links": links}
}

// sorted is the list in the order of one attribute, descending behind a "-".
func sorted(items []*resource, by string) []*resource {
	name, descending := strings.CutPrefix(by, "-")
	list := slices.Clone(items)
	slices.SortStableFunc(list, func(a, b *resource) int {
		left, _ := a.Attributes[name].(string)
		right, _ := b.Attributes[name].(string)
		if descending {
			left, right = right, left
		}
		return strings.Compare(left, right)
	})
	return list
}
