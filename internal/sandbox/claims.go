package sandbox

import (
	"crypto/rand"
	"strings"
	"time"
)

// claim is a token with which an organization may take a project over.
type claim struct {
	token, by string
	created   time.Time
}

// claimLife is how long a claim token works.
const claimLife = 24 * time.Hour

func (k *claim) shown() doc {
	return doc{
		"token_alias": k.token[:8] + "…", "created_at": stamp(k.created), "expires_at": stamp(k.created.Add(claimLife)),
		"created_by": userID(k.by),
	}
}

func (s *Sandbox) claimRoutes() []route {
	const token, claimed = "/v1/projects/{ref}/claim-token", "/v1/organizations/{slug}/project-claim/{token}"
	return []route{
		op("v1-get-project-claim-token", "GET "+token, 200, s.getClaimToken),
		op("v1-create-project-claim-token", "POST "+token, 200, s.createClaimToken),
		op("v1-delete-project-claim-token", "DELETE "+token, 204, s.deleteClaimToken),
		op("v1-get-organization-project-claim", "GET "+claimed, 200, s.getProjectClaim),
		op("v1-claim-project-for-organization", "POST "+claimed, 204, s.claimProject),
	}
}

func (s *Sandbox) getClaimToken(c *call) (any, error) {
	if c.project.claim == nil {
		return nil, missing("Claim token")
	}
	return c.project.claim.shown(), nil
}

func (s *Sandbox) createClaimToken(c *call) (any, error) {
	c.project.claim = &claim{token: strings.ToLower(rand.Text()), by: ownerOf(c.Request), created: time.Now()}
	shown := c.project.claim.shown()
	shown["token"] = c.project.claim.token
	return shown, nil
}

func (s *Sandbox) deleteClaimToken(c *call) (any, error) {
	c.project.claim = nil
	return nil, nil
}

// claimed finds what an organization may take over with the token in the path.
func (s *Sandbox) claimed(c *call) (*project, *organization, error) {
	o, err := s.state.organization(c.PathValue("slug"))
	if err != nil {
		return nil, nil, err
	}
	for _, p := range s.state.projects {
		if p.claim != nil && p.claim.token == c.PathValue("token") && time.Since(p.claim.created) < claimLife {
			return p, o, nil
		}
	}
	return nil, nil, missing("Claim token")
}

func (s *Sandbox) getProjectClaim(c *call) (any, error) {
	p, o, err := s.claimed(c)
	if err != nil {
		return nil, err
	}
	shown := p.claim.shown()
	return doc{
		"project": doc{"ref": p.ref, "name": p.name}, "expires_at": shown["expires_at"],
		"created_at": shown["created_at"], "created_by": shown["created_by"],
		"preview": doc{
			"valid": true, "warnings": []any{}, "errors": []any{}, "info": []any{}, "members_exceeding_free_project_limit": []any{},
			"source_subscription_plan": p.organization.Plan, "target_subscription_plan": o.Plan,
		},
	}, nil
}

func (s *Sandbox) claimProject(c *call) (any, error) {
	p, o, err := s.claimed(c)
	if err != nil {
		return nil, err
	}
	p.moveTo(o)
	p.claim = nil
	return nil, nil
}

// moveTo gives the project, with its branches, to an organization.
func (p *project) moveTo(o *organization) {
	p.organization = o
	for _, b := range p.branches {
		b.project.organization = o
	}
}
