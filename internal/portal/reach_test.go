package portal_test

import (
	"errors"
	"net/http"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/portal"
)

func TestAccessSaysWhatOneMayDoInEachProject(t *testing.T) {
	s := newStage(t, calling(map[string]string{"project:" + billing: "Billing", "organization:acme": "Acme"}),
		resolving(func(call *catalog.Call) (policy.Target, error) {
			if call.Target.Kind == catalog.Organization {
				return policy.Target{Kind: call.Target.Kind, Organization: call.Target.ID, Resolved: true}, nil
			}
			return policy.Target{Kind: call.Target.Kind, Project: call.Target.ID, Organization: "acme", Resolved: true}, nil
		}))
	ada := s.signIn(t, "ada")
	page := ada.get("/-/access")
	page.wants(t, http.StatusOK,
		`<bdi>Billing</bdi></th><td data-label="What">project</td>`, `href="/-/access?project=`+billing+`">1 of `, // by its organization, one operation
		`no name known</span></th><td data-label="What">project</td><td data-label="Reference"><code>`+payments, // granted, though the list of names does not have it
		`<bdi>Acme</bdi></th><td data-label="What">organization</td><td data-label="Reference"><code>acme</code></td><td data-label="Operations you may use"><a href="/-/access?organization=acme">`)

	one := ada.get("/-/access?project=" + payments)
	one.wants(t, http.StatusOK, "What you may do in project", "You may not: ", "<code>v1-get-project</code>", "<code>v1-pause-a-project</code>", "<code>v1-delete-a-project</code>")
	ada.get("/-/access?organization=acme").wants(t, http.StatusOK, "What you may do in organization <bdi>Acme</bdi>", "<code>v1-get-an-organization</code>")
	ada.get("/-/access?organization=globex").wants(t, http.StatusOK, "What you may do in organization <code>globex</code>", "<p>nothing.</p>")
	ada.get("/-/access?project=nonsense").hides(t, "What you may do in")
	s.signIn(t, "grace").get("/-/access?project="+billing).hides(t, "You may not: ")
}

func TestAccessDoesNotClaimWhatCouldNotBeFoundOut(t *testing.T) {
	asked := 0
	s := newStage(t, calling(map[string]string{"project:" + billing: "Billing"}), func(c *portal.Config) {
		resolving(func(*catalog.Call) (policy.Target, error) {
			asked++
			return policy.Target{}, errors.New("upstream is away")
		})(c)
	})
	s.signIn(t, "ada").get("/-/access").wants(t, http.StatusOK, `href="/-/access?project=`+billing+`">not known at the moment<`)
	if asked != 1 {
		t.Errorf("an upstream in trouble was asked %d times for one page", asked)
	}
}
