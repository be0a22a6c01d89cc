package inventory_test

import (
	"errors"
	"testing"

	"corp.example/gateway/internal/inventory"
)

func TestSnippet(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	got, err := known.Snippet(t.Context(), snippetID, nil)
	if got != beta || err != nil {
		t.Errorf("Snippet = %q, %v, want beta", got, err)
	}
	// The snippet names its project, so the project of that name is looked at first.
	up.expect(t, "for a snippet anywhere", "/v1/snippets/"+snippetID, "/v1/projects", "/v1/snippets?limit=10&project_ref="+beta)
	if got, err := known.Snippet(t.Context(), snippetID, []string{beta}); got != beta || err != nil {
		t.Errorf("Snippet = %q, %v, want beta", got, err)
	}
	if _, err := known.Snippet(t.Context(), "none", nil); !errors.Is(err, inventory.ErrNotFound) {
		t.Errorf("Snippet(none) = %v, want ErrNotFound", err)
	}
	up.expect(t, "then", "/v1/snippets/none")
}

func TestSnippetUnderCandidatesOnly(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	if _, err := known.Snippet(t.Context(), snippetID, []string{alpha}); !errors.Is(err, inventory.ErrNotFound) {
		t.Errorf("Snippet = %v, want ErrNotFound: alpha does not have it", err)
	}
	up.expect(t, "for one candidate", "/v1/snippets/"+snippetID, "/v1/snippets?limit=10&project_ref="+alpha)
}

func TestSnippetProjects(t *testing.T) {
	up := newUpstream()
	known := inventory.New(up.fetch)
	got, err := known.SnippetProjects(t.Context(), []int64{alphaNumber, betaNumber, 999}, []string{gamma, alpha, beta})
	if err != nil || len(got) != 2 || got[alphaNumber] != alpha || got[betaNumber] != beta {
		t.Errorf("SnippetProjects = %v, %v", got, err)
	}
	up.questions()
	got, err = known.SnippetProjects(t.Context(), []int64{betaNumber}, []string{gamma})
	if err != nil || got[betaNumber] != beta {
		t.Errorf("SnippetProjects = %v, %v, want what is known already", got, err)
	}
	up.expect(t, "for a number that is known")
}

// TestSnippetFilterIsNotTrustedBlindly: were project_ref ever ignored, every project would seem to have every snippet.
func TestSnippetFilterIsNotTrustedBlindly(t *testing.T) {
	for name, change := range map[string]func(*upstream){
		"several projects in one answer": func(up *upstream) {
			up.answers["/v1/snippets?limit=10&project_ref="+alpha] = `{"data":[` + snippet("b1", betaNumber, "Beta") + `,` + snippet("a1", alphaNumber, "Alpha") + `]}`
		},
		"one number for two projects": func(up *upstream) {
			up.answers["/v1/snippets?limit=10&project_ref="+alpha] = up.answers["/v1/snippets?limit=10&project_ref="+gamma]
			up.answers["/v1/snippets?limit=10&project_ref="+gamma] = `{"data":[` + snippet("b1", betaNumber, "Beta") + `]}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream()
			change(up)
			known := inventory.New(up.fetch)
			refs := map[int64]string{}
			for range 2 {
				refs, _ = known.SnippetProjects(t.Context(), []int64{betaNumber, alphaNumber}, []string{beta, alpha, gamma})
			}
			if refs[betaNumber] == alpha || refs[betaNumber] == gamma {
				t.Errorf("SnippetProjects = %v: a snippet of beta passes for another project's", refs)
			}
		})
	}
}
