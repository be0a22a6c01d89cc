package sandbox

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// snippet is a saved query. It names its project by number, as upstream does, not by ref.
type snippet struct {
	project  *project
	id, name string
	sql      string
	created  time.Time
}

func newSnippet(n Snippet, p *project, created time.Time) *snippet {
	return &snippet{project: p, id: n.ID, name: n.Name, sql: n.SQL, created: created}
}

func (n *snippet) item() doc {
	author := doc{"id": userNumber("ada"), "username": "ada"}
	return doc{
		"id": n.id, "inserted_at": stamp(n.created), "updated_at": stamp(n.created), "type": "sql", "visibility": "project",
		"name": n.name, "description": nil, "project": doc{"id": n.project.number, "name": n.project.name},
		"owner": author, "updated_by": author, "favorite": false,
	}
}

func (s *Sandbox) snippetRoutes() []route {
	return []route{
		op("v1-list-all-snippets", "GET /v1/snippets", 200, s.listSnippets),
		op("v1-get-a-snippet", "GET /v1/snippets/{id}", 200, s.getSnippet),
	}
}

func (s *Sandbox) getSnippet(c *call) (any, error) {
	for _, n := range s.state.snippets {
		if n.id == c.PathValue("id") {
			item := n.item()
			item["content"] = doc{"favorite": false, "schema_version": "1.0", "sql": n.sql}
			return item, nil
		}
	}
	return nil, missing("Snippet")
}

// listSnippets gives one page, and a cursor where there is another.
func (s *Sandbox) listSnippets(c *call) (any, error) {
	query := c.URL.Query()
	start, err := readCursor(query.Get("cursor"))
	if err != nil {
		return nil, err
	}
	var found []*snippet
	for _, n := range s.state.snippets {
		if ref := query.Get("project_ref"); ref == "" || n.project.ref == ref {
			found = append(found, n)
		}
	}
	order := func(a, b *snippet) int { return a.created.Compare(b.created) }
	if query.Get("sort_by") == "name" {
		order = func(a, b *snippet) int { return cmp.Compare(a.name, b.name) }
	}
	slices.SortStableFunc(found, order)
	if query.Get("sort_order") != "asc" { // upstream's default is the newest first
		slices.Reverse(found)
	}
	// 100 is upstream's largest page, 10 its default.
	start = min(start, len(found))
	end := min(start+min(max(c.number("limit", 10), 1), 100), len(found))
	items := []doc{}
	for _, n := range found[start:end] {
		items = append(items, n.item())
	}
	page := doc{"data": items}
	if end < len(found) {
		page["cursor"] = writeCursor(end)
	}
	return page, nil
}

// A cursor is opaque to clients; here it holds the place in the list.
func writeCursor(place int) string {
	return base64.RawURLEncoding.EncodeToString([]byte("place " + strconv.Itoa(place)))
}

func readCursor(cursor string) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	number, found := strings.CutPrefix(string(raw), "place ")
	place, numberErr := strconv.Atoi(number)
	if err != nil || !found || numberErr != nil || place < 0 {
		return 0, refuse(http.StatusBadRequest, "Invalid cursor")
	}
	return place, nil
}
