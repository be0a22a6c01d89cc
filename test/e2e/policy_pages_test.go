package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// projectPage is a page of an organization's projects.
type projectPage struct {
	Projects   []struct{ Ref, Name string }
	Pagination struct{ Count, Limit, Offset int }
}

// crowd is a world of one organization with n projects, p000 to p…, of which every third is "mine".
func crowd(n int) (sandbox.World, []string) {
	world := sandbox.World{Organizations: []sandbox.Organization{{Slug: "acme", Name: "Acme", Plan: "team"}}}
	var mine []string
	for i := range n {
		ref := "p" + strings.Map(func(r rune) rune { return 'a' + r - '0' }, fmt.Sprintf("%019d", i))
		name := fmt.Sprintf("p%03d", i)
		if i%3 == 0 {
			mine = append(mine, ref)
			name += " mine"
		}
		world.Projects = append(world.Projects, sandbox.Project{Ref: ref, Name: name, Organization: "acme", Region: "eu-central-1"})
	}
	return world, mine
}

func TestPagesAndCountsAreOverWhatIsVisible(t *testing.T) {
	t.Parallel()
	world, mine := crowd(250)
	g := harness.Start(t, harness.Options{
		Sandbox: func(c *sandbox.Config) { c.Seed = world },
		Policy: `teams:
  - name: third
    members: [{group: third}]
    allow: [{projects: [` + strings.Join(mine, ", ") + `], scopes: ["projects:read"]}]
  - name: one
    members: [{group: one}]
    allow: [{projects: [` + mine[0] + `], scopes: ["projects:read"]}]
  - name: all
    members: [{group: all}]
    allow: [{organizations: [acme], scopes: ["projects:read"]}]
`})
	get := func(group, query string) projectPage {
		t.Helper()
		a := g.Get(member(g, group), "/v1/organizations/acme/projects"+query)
		var page projectPage
		if err := json.Unmarshal([]byte(a.Text), &page); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.StatusCode, a.Text)
		}
		return page
	}
	for _, test := range []struct {
		group, query         string
		count, limit, offset int
		n                    int
		first                string
	}{
		{"third", "", 84, 100, 0, 84, "p000 mine"},
		{"third", "?limit=20", 84, 20, 0, 20, "p000 mine"},
		{"third", "?limit=20&offset=20", 84, 20, 20, 20, "p060 mine"},
		{"third", "?offset=80&limit=20", 84, 20, 80, 4, "p240 mine"},
		{"third", "?offset=84", 84, 100, 84, 0, ""},
		{"third", "?offset=100000", 84, 100, 100000, 0, ""},
		{"third", "?sort=name_desc&limit=1", 84, 1, 0, 1, "p249 mine"},
		{"third", "?search=p12&limit=2&offset=2", 4, 2, 2, 2, "p126 mine"},
		{"one", "?limit=10", 1, 10, 0, 1, "p000 mine"},
		{"all", "?limit=100", 250, 100, 0, 100, "p000 mine"},
		{"all", "?limit=100&offset=200", 250, 100, 200, 50, "p200"},
	} {
		page := get(test.group, test.query)
		if p := page.Pagination; p.Count != test.count || p.Limit != test.limit || p.Offset != test.offset || len(page.Projects) != test.n {
			t.Errorf("%s %s: %d projects with %+v, want %d of %d", test.group, test.query, len(page.Projects), p, test.n, test.count)
		}
		if test.n > 0 && len(page.Projects) > 0 && page.Projects[0].Name != test.first {
			t.Errorf("%s %s: begins with %q, want %q", test.group, test.query, page.Projects[0].Name, test.first)
		}
	}

	// Walking the pages shows every project once.
	var walked []string
	for offset := 0; ; offset += 7 {
		page := get("third", fmt.Sprintf("?limit=7&offset=%d", offset))
		for _, p := range page.Projects {
			walked = append(walked, p.Ref)
		}
		if len(page.Projects) < 7 {
			break
		}
	}
	if !slices.Equal(walked, mine) {
		t.Errorf("the pages show %d projects, want %d", len(walked), len(mine))
	}

	// All of that asked upstream for its three pages, once for each way to filter: they are the same for everybody.
	var asked []string
	for _, r := range upstreamRequests(g, "/v1/organizations/acme/projects") {
		_, query, _ := strings.Cut(r.Target, "?")
		asked = append(asked, query)
	}
	slices.Sort(asked)
	want := sorted("limit=100&offset=0", "limit=100&offset=100", "limit=100&offset=200",
		"sort=name_desc&limit=100&offset=0", "sort=name_desc&limit=100&offset=100", "sort=name_desc&limit=100&offset=200",
		"search=p12&limit=100&offset=0")
	if !slices.Equal(asked, want) {
		t.Errorf("upstream was asked for %q, want %q", asked, want)
	}

	for _, query := range []string{"?limit=0", "?limit=101", "?limit=ten", "?limit=", "?offset=-1", "?offset=1e3", "?limit=1&limit=2"} {
		if a := g.Get(member(g, "third"), "/v1/organizations/acme/projects"+query); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s, want 400", query, a.StatusCode, a.Text)
		}
	}
}

func TestAPagesValidatorsAreItsOwn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants})
	path := "/v1/organizations/" + sandbox.Acme + "/projects"
	ada := member(g, "payments-eng")
	all, first, second := g.Get(ada, path), g.Get(ada, path+"?limit=1"), g.Get(ada, path+"?limit=1&offset=1")
	tags := []string{all.Header.Get("ETag"), first.Header.Get("ETag"), second.Header.Get("ETag")}
	if tags[0] == "" || tags[0] == tags[1] || tags[1] == tags[2] {
		t.Errorf("ETags %q, want one for each page", tags)
	}
	if a := g.Get(ada, path+"?limit=1", "If-None-Match", tags[1]); a.StatusCode != http.StatusNotModified {
		t.Errorf("the same page again: %d", a.StatusCode)
	}
	if a := g.Get(ada, path+"?limit=1&offset=1", "If-None-Match", tags[1]); a.StatusCode != http.StatusOK {
		t.Errorf("another page with the first one's ETag: %d", a.StatusCode)
	}
	if a := g.Get(ada, path+"?limit=1&offset=2", "Cache-Control", "only-if-cached"); a.StatusCode != http.StatusOK || !isHit(a) {
		t.Errorf("a page cut from what is there: %d %s", a.StatusCode, a.Header.Get("Cache-Status"))
	}
	if a := g.Get(ada, path+"?search=x", "Cache-Control", "only-if-cached"); a.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("a list that was never asked for: %d", a.StatusCode)
	}
	if a := g.Do(ada, "HEAD", path+"?limit=1", ""); a.StatusCode != http.StatusOK || a.Text != "" || a.ContentLength != first.ContentLength {
		t.Errorf("HEAD: %d, length %d, want %d", a.StatusCode, a.ContentLength, first.ContentLength)
	}
}

func TestAnOrganizationTooLargeToSortOutIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: grants, Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/organizations/"+sandbox.Globex+"/projects") {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"projects":[{"ref":%q,"is_branch":false}],"pagination":{"count":100000,"limit":100,"offset":0}}`, sandbox.Billing)
		})
	}})
	a := g.Get(member(g, "field-eng"), "/v1/organizations/"+sandbox.Globex+"/projects")
	if p := a.Problem(t); a.StatusCode != http.StatusBadGateway || !strings.Contains(p.Message, "search") || strings.Contains(a.Text, sandbox.Billing) {
		t.Errorf("%d %s", a.StatusCode, a.Text)
	}
}
