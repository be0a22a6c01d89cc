package inventory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/inventory"
)

// The world upstream: acme has the projects alpha (with the branch staging) and beta, other has gamma.
const (
	alpha   = "alphaalphaalphaalpha"
	beta    = "betabetabetabetabeta"
	gamma   = "gammagammagammagamma"
	staging = "stagingstagingstagin"
	unknown = "unknownunknownunknow"

	stagingID = "11111111-2222-4333-8444-555555555555"
	mainID    = "11111111-2222-4333-8444-000000000000"
	snippetID = "99999999-2222-4333-8444-555555555555"
)

const (
	alphaNumber = 101
	betaNumber  = 102
	gammaNumber = 103
)

// upstream answers questions and records them.
type upstream struct {
	mu      sync.Mutex
	answers map[string]string // request URI → body
	failing map[string]error
	asked   []string
}

func newUpstream() *upstream {
	listed := func(ref, organization, name string) string {
		return fmt.Sprintf(`{"id":%q,"ref":%q,"organization_id":%q,"organization_slug":%q,"name":%q}`, ref, ref, organization, organization, name)
	}
	branch := func(id, ref, parent string) string {
		return fmt.Sprintf(`{"id":%q,"name":"x","project_ref":%q,"parent_project_ref":%q}`, id, ref, parent)
	}
	return &upstream{failing: map[string]error{}, answers: map[string]string{
		"/v1/projects":                               "[" + listed(alpha, "acme", "Alpha") + "," + listed(beta, "acme", "Beta") + "," + listed(gamma, "other", "Gamma") + "]",
		"/v1/projects/" + alpha:                      listed(alpha, "acme", "Alpha"),
		"/v1/projects/" + staging:                    listed(staging, "acme", "staging"),
		"/v1/projects/" + alpha + "/branches":        "[" + branch(mainID, alpha, alpha) + "," + branch(stagingID, staging, alpha) + "]",
		"/v1/projects/" + beta + "/branches":         "[]",
		"/v1/branches/" + stagingID:                  `{"ref":"` + staging + `","db_pass":"s3cret"}`,
		"/v1/snippets/" + snippetID:                  snippet(snippetID, betaNumber, "Beta"),
		"/v1/snippets?limit=10&project_ref=" + alpha: `{"data":[` + snippet("a1", alphaNumber, "Alpha") + `]}`,
		"/v1/snippets?limit=10&project_ref=" + beta:  `{"data":[` + snippet("b1", betaNumber, "Beta") + `,` + snippet("b2", betaNumber, "Beta") + `]}`,
		"/v1/snippets?limit=10&project_ref=" + gamma: `{"data":[]}`,
	}}
}

func snippet(id string, number int, name string) string {
	return fmt.Sprintf(`{"id":%q,"project":{"id":%d,"name":%q}}`, id, number, name)
}

func (u *upstream) fetch(_ context.Context, method, requestURI string) ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if method != "GET" {
		return nil, fmt.Errorf("asked with %s", method)
	}
	u.asked = append(u.asked, requestURI)
	if err := u.failing[requestURI]; err != nil {
		return nil, err
	}
	if body, ok := u.answers[requestURI]; ok {
		return []byte(body), nil
	}
	return nil, fmt.Errorf("404: %w", inventory.ErrNotFound)
}

// questions returns what was asked since it was last called.
func (u *upstream) questions() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	asked := u.asked
	u.asked = nil
	return asked
}

func (u *upstream) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := u.questions(); !slices.Equal(got, want) {
		t.Errorf("%s upstream was asked %q, want %q", when, got, want)
	}
}

func TestProject(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	for _, step := range []struct {
		ref  string
		want inventory.Project
		err  error
		asks []string
	}{
		{alpha, inventory.Project{Ref: alpha, Organization: "acme"}, nil, []string{"/v1/projects"}},
		{gamma, inventory.Project{Ref: gamma, Organization: "other"}, nil, nil}, // the list told it
		{staging, inventory.Project{Ref: staging, Organization: "acme", Branch: true}, nil, []string{"/v1/projects/" + staging}},
		{unknown, inventory.Project{}, inventory.ErrNotFound, []string{"/v1/projects/" + unknown}},
		{unknown, inventory.Project{}, inventory.ErrNotFound, nil}, // not asked again at once
	} {
		got, err := known.Project(t.Context(), step.ref)
		if got != step.want || !errors.Is(err, step.err) {
			t.Errorf("Project(%s) = %+v, %v, want %+v, %v", step.ref, got, err, step.want, step.err)
		}
		up.expect(t, "for Project("+step.ref+")", step.asks...)
	}
}

func TestBranch(t *testing.T) {
	own := inventory.BranchInfo{ID: stagingID, Ref: staging, Parent: alpha}
	for _, row := range []struct {
		name, idOrRef string
		candidates    []string
		want          inventory.BranchInfo
		err           error
		asks          []string
	}{
		{"by ref, one candidate", staging, []string{alpha}, own, nil, []string{"/v1/projects", "/v1/projects/" + alpha + "/branches"}},
		{"by id, one candidate", stagingID, []string{alpha}, own, nil, []string{"/v1/projects/" + alpha + "/branches"}},
		{"the search stops where it is found", stagingID, []string{alpha, beta}, own, nil, []string{"/v1/projects/" + alpha + "/branches"}},
		{"by id, anywhere: its organization's projects only", stagingID, nil, own, nil,
			[]string{"/v1/branches/" + stagingID, "/v1/projects", "/v1/projects/" + staging, "/v1/projects/" + alpha + "/branches"}},
		{"by ref, anywhere", staging, nil, own, nil, []string{"/v1/projects", "/v1/projects/" + staging, "/v1/projects/" + alpha + "/branches"}},
		{"a default branch is its own parent", mainID, []string{alpha}, inventory.BranchInfo{ID: mainID, Ref: alpha, Parent: alpha}, nil, []string{"/v1/projects/" + alpha + "/branches"}},
		{"a project that is no branch is its own parent", beta, []string{alpha}, inventory.BranchInfo{Ref: beta, Parent: beta}, nil, []string{"/v1/projects"}},
		{"not under the candidates", stagingID, []string{beta}, inventory.BranchInfo{}, inventory.ErrNotFound, []string{"/v1/projects/" + beta + "/branches"}},
		{"no candidates", stagingID, []string{}, inventory.BranchInfo{}, inventory.ErrNotFound, nil},
		{"nowhere", unknown, nil, inventory.BranchInfo{}, inventory.ErrNotFound, []string{"/v1/projects", "/v1/projects/" + unknown}},
	} {
		t.Run(row.name, func(t *testing.T) {
			up := newUpstream()
			known := inventory.New(up.fetch)
			got, err := known.Branch(t.Context(), row.idOrRef, row.candidates)
			if got != row.want || !errors.Is(err, row.err) {
				t.Errorf("Branch = %+v, %v, want %+v, %v", got, err, row.want, row.err)
			}
			up.expect(t, "at first", row.asks...)
			_, _ = known.Branch(t.Context(), row.idOrRef, row.candidates)
			up.expect(t, "the second time")
		})
	}
}

func TestBranchTellsItsProject(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	if got := known.KnownParent(staging); got != "" {
		t.Errorf("KnownParent = %q before anything was asked", got)
	}
	if _, err := known.Branch(t.Context(), stagingID, []string{alpha}); err != nil {
		t.Fatal(err)
	}
	if got := known.KnownParent(staging); got != alpha {
		t.Errorf("KnownParent(staging) = %q, want alpha", got)
	}
	if got := known.KnownParent(alpha); got != "" {
		t.Errorf("KnownParent(alpha) = %q, want none: it is a default branch", got)
	}
	up.questions()
	got, err := known.Project(t.Context(), staging)
	if want := (inventory.Project{Ref: staging, Organization: "acme", Branch: true, Parent: alpha}); got != want || err != nil {
		t.Errorf("Project(staging) = %+v, %v, want %+v", got, err, want)
	}
	up.expect(t, "for the organization of a known branch", "/v1/projects") // its parent's is its own
}

func TestOneFailingCandidateDoesNotHideAnother(t *testing.T) {
	up := newUpstream()
	up.failing["/v1/projects/"+beta+"/branches"] = errors.New("out of quota")
	known := inventory.New(up.fetch)
	if got, err := known.Branch(t.Context(), stagingID, []string{beta, alpha}); err != nil || got.Parent != alpha {
		t.Errorf("Branch = %+v, %v, want it under alpha", got, err)
	}
	up = newUpstream()
	up.failing["/v1/projects/"+alpha+"/branches"] = errors.New("out of quota")
	_, err := inventory.New(up.fetch).Branch(t.Context(), stagingID, []string{alpha, beta})
	if err == nil || errors.Is(err, inventory.ErrNotFound) || !strings.Contains(err.Error(), "out of quota") {
		t.Errorf("Branch = %v, want the failure: it may be where nobody could look", err)
	}
}

func TestLearn(t *testing.T) {
	up := newUpstream()
	table, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	created := strings.Repeat("n", 20)
	for _, row := range []struct {
		operation string
		target    catalog.Target
		body      string
		project   inventory.Project // learnt, without asking
	}{
		{"v1-list-all-projects", catalog.Target{Kind: catalog.Account}, up.answers["/v1/projects"], inventory.Project{Ref: alpha, Organization: "acme"}},
		{"v1-create-a-project", catalog.Target{Kind: catalog.Organization}, `{"ref":"` + created + `","organization_slug":"acme"}`, inventory.Project{Ref: created, Organization: "acme"}},
		{"v1-create-a-project", catalog.Target{Kind: catalog.Organization}, `{"id":"` + created + `","organization_id":"acme"}`, inventory.Project{Ref: created, Organization: "acme"}},
		{"v1-get-all-projects-for-organization", catalog.Target{Kind: catalog.Organization, ID: "acme"},
			`{"projects":[{"ref":"` + staging + `","is_branch":true}],"pagination":{}}`, inventory.Project{Ref: staging, Organization: "acme", Branch: true}},
	} {
		known := inventory.New(up.fetch)
		known.Learn(table.Lookup(row.operation), row.target, []byte(row.body))
		got, err := known.Project(t.Context(), row.project.Ref)
		if got != row.project || err != nil {
			t.Errorf("after %s Project = %+v, %v, want %+v", row.operation, got, err, row.project)
		}
		up.expect(t, "after "+row.operation)
	}
	branch, _ := json.Marshal(map[string]string{"id": stagingID, "project_ref": staging, "parent_project_ref": alpha})
	for _, operation := range []string{"v1-create-a-branch", "v1-get-a-branch", "v1-update-a-branch-config", "v1-list-all-branches"} {
		known := inventory.New(up.fetch)
		body := string(branch)
		if operation == "v1-list-all-branches" {
			body = "[" + body + "]"
		}
		known.Learn(table.Lookup(operation), catalog.Target{}, []byte(body))
		if got := known.KnownParent(staging); got != alpha {
			t.Errorf("after %s KnownParent = %q, want alpha", operation, got)
		}
	}
}

func TestLearnBelievesOnlyWhatItUnderstands(t *testing.T) {
	table, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ operation, body string }{
		{"v1-list-all-projects", `{"message":"no"}`},
		{"v1-list-all-projects", `[{"ref":"short","organization_slug":"acme"}]`},
		{"v1-list-all-projects", `[{"ref":"` + alpha + `"}]`},
		{"v2ListOrganizationProjects", `{"projects":[{"ref":"` + alpha + `"}]}`}, // branches could be among them
		{"v1-create-a-branch", `{"id":"` + alpha + `","project_ref":"x","parent_project_ref":"` + beta + `"}`},
		{"v1-list-all-snippets", `not JSON`},
	} {
		up := &upstream{}
		known := inventory.New(up.fetch)
		known.Learn(table.Lookup(row.operation), catalog.Target{ID: "acme"}, []byte(row.body))
		if got, err := known.Project(t.Context(), alpha); err == nil {
			t.Errorf("%s with %s taught %+v", row.operation, row.body, got)
		}
	}
}

func TestForget(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	learn := func() {
		t.Helper()
		if _, err := known.Branch(t.Context(), stagingID, []string{alpha}); err != nil {
			t.Fatal(err)
		}
		if _, err := known.Snippet(t.Context(), snippetID, nil); err != nil {
			t.Fatal(err)
		}
		up.questions()
	}
	for _, name := range []string{stagingID, staging, alpha} {
		learn()
		known.Forget(name)
		if got := known.KnownParent(staging); got != "" {
			t.Errorf("after Forget(%s) staging is still known as a branch of %s", name, got)
		}
	}
	learn()
	known.Forget(beta)
	if refs, _ := known.SnippetProjects(t.Context(), []int64{betaNumber}, []string{}); len(refs) > 0 {
		t.Errorf("after Forget(beta) its number is still known: %v", refs)
	}
}

func TestSameQuestionAtOnceIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream()
		known := inventory.New(func(ctx context.Context, method, uri string) ([]byte, error) {
			time.Sleep(time.Second)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return up.fetch(ctx, method, uri)
		})
		leader, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := known.Project(leader, alpha); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		})
		synctest.Wait()
		for range 100 {
			all.Go(func() {
				if p, err := known.Project(t.Context(), alpha); err != nil || p.Organization != "acme" {
					t.Errorf("Project = %+v, %v", p, err)
				}
			})
		}
		synctest.Wait()
		leave() // the fetch goes on for the others
		all.Wait()
		up.expect(t, "by 101 callers", "/v1/projects")
	})
}

func TestPanickingFetchIsAnError(t *testing.T) {
	known := inventory.New(func(context.Context, string, string) ([]byte, error) { panic("bug") })
	if _, err := known.Project(t.Context(), alpha); err == nil || !strings.Contains(err.Error(), "panic: bug") {
		t.Errorf("Project = %v, want the panic as an error", err)
	}
}

func TestFactsEnd(t *testing.T) {
	for _, row := range []struct {
		name  string
		look  func(*inventory.Inventory) error
		after time.Duration
		again int // questions then
	}{
		{"a project before", func(k *inventory.Inventory) error { _, err := k.Project(context.Background(), alpha); return err }, 10*time.Minute - time.Second, 0},
		{"a project after", func(k *inventory.Inventory) error { _, err := k.Project(context.Background(), alpha); return err }, 10 * time.Minute, 1},
		{"a guess before", func(k *inventory.Inventory) error { _, err := k.Project(context.Background(), staging); return err }, 29 * time.Second, 0},
		{"a guess after", func(k *inventory.Inventory) error { _, err := k.Project(context.Background(), staging); return err }, 30 * time.Second, 2},
		{"a branch before", func(k *inventory.Inventory) error {
			_, err := k.Branch(context.Background(), stagingID, []string{alpha})
			return err
		}, time.Hour - time.Second, 0},
		{"a branch after", func(k *inventory.Inventory) error {
			_, err := k.Branch(context.Background(), stagingID, []string{alpha})
			return err
		}, time.Hour, 1},
		{"nothing before", func(k *inventory.Inventory) error {
			_, err := k.Branch(context.Background(), stagingID, []string{beta})
			return err
		}, 4 * time.Second, 0},
		{"nothing after", func(k *inventory.Inventory) error {
			_, err := k.Branch(context.Background(), stagingID, []string{beta})
			return err
		}, 5 * time.Second, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newUpstream()
				known := inventory.New(up.fetch)
				first := row.look(known)
				up.questions()
				time.Sleep(row.after)
				if err := row.look(known); (err == nil) != (first == nil) {
					t.Errorf("%v, then %v", first, err)
				}
				if got := len(up.questions()); got != row.again {
					t.Errorf("after %s upstream was asked %d times, want %d", row.after, got, row.again)
				}
			})
		})
	}
}

// TestFailureIsNotRemembered: only what upstream said is, not that it could not be asked.
func TestFailureIsNotRemembered(t *testing.T) {
	up := newUpstream()
	up.failing["/v1/projects"] = errors.New("upstream is away")
	known := inventory.New(up.fetch)
	if _, err := known.Project(t.Context(), alpha); err == nil || errors.Is(err, inventory.ErrNotFound) {
		t.Errorf("Project = %v, want the failure", err)
	}
	delete(up.failing, "/v1/projects")
	if _, err := known.Project(t.Context(), alpha); err != nil {
		t.Errorf("Project = %v once upstream is back", err)
	}
}

func TestNewProjectIsNotTakenForABranchForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream()
		known := inventory.New(up.fetch)
		list := up.answers["/v1/projects"]
		up.answers["/v1/projects"] = "[]" // a list from before alpha was made
		if p, err := known.Project(t.Context(), alpha); err != nil || !p.Branch {
			t.Fatalf("Project = %+v, %v, want it taken for a branch", p, err)
		}
		up.answers["/v1/projects"] = list
		time.Sleep(30 * time.Second)
		if p, err := known.Project(t.Context(), alpha); err != nil || p.Branch {
			t.Errorf("Project = %+v, %v, want it known as a project", p, err)
		}
	})
}

func TestFloodOfInventedIDsStaysBounded(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	for n := range 25_000 {
		_, _ = known.Snippet(t.Context(), fmt.Sprintf("invented-%d", n), []string{})
	}
	if got := known.Size(); got > 11_000 {
		t.Errorf("%d things are held after a flood", got)
	}
	if _, err := known.Snippet(t.Context(), snippetID, nil); err != nil {
		t.Errorf("after a flood: %v", err)
	}
}

func TestKnownProjectCostsNoAllocation(t *testing.T) {
	known := inventory.New(newUpstream().fetch)
	ctx := t.Context()
	if _, err := known.Project(ctx, alpha); err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() { _, _ = known.Project(ctx, alpha) }); got > 0 {
		t.Errorf("a known project costs %v allocations", got)
	}
}
