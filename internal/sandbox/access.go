package sandbox

import (
	"net/http"
	"slices"
)

// accessRoutes are just-in-time access to a project's database: which user may take which database roles.
func (s *Sandbox) accessRoutes() []route {
	const base = "/v1/projects/{ref}/database/jit"
	return []route{
		op("v1-get-jit-access", "GET "+base, 200, s.getAccess),
		op("v1-authorize-jit-access", "POST "+base, 200, s.authorizeAccess),
		op("v1-update-jit-access", "PUT "+base, 200, s.updateAccess),
		op("v1-list-jit-access", "GET "+base+"/list", 200, s.listAccess),
		op("v1-delete-jit-access", "DELETE "+base+"/{user_id}", 200, s.deleteAccess),
		op("v1InviteExternalJitAccess", "POST "+base+"/invite", 201, s.inviteAccess),
		op("v1AcceptInviteExternalJitAccess", "POST "+base+"/invite/accept", 201, s.acceptAccess),
		op("v1DeleteInviteExternalJitAccess", "DELETE "+base+"/invite/{invite_id}", 200, nothing),
	}
}

// access is one user's roles.
type access struct {
	UserID string `json:"user_id"`
	Roles  []doc  `json:"user_roles"`
}

// accessOf finds a user's roles: none where nobody gave any.
func (p *project) accessOf(user string) access {
	if i := slices.IndexFunc(p.access, func(a access) bool { return a.UserID == user }); i >= 0 {
		return p.access[i]
	}
	return access{user, []doc{}}
}

func (p *project) setAccess(a access) {
	p.access = append(slices.DeleteFunc(p.access, func(other access) bool { return other.UserID == a.UserID }), a)
}

func (s *Sandbox) getAccess(c *call) (any, error) {
	return c.project.accessOf(userID(ownerOf(c.Request))), nil
}

func (s *Sandbox) authorizeAccess(c *call) (any, error) {
	var request struct {
		Role string `json:"role"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	mine := c.project.accessOf(userID(ownerOf(c.Request)))
	for _, role := range mine.Roles {
		if role["role"] == request.Role {
			return doc{"user_id": mine.UserID, "user_role": role}, nil
		}
	}
	return nil, refuse(http.StatusForbidden, "The role %q is not granted", request.Role)
}

// accessBody is what giving and inviting say.
type accessBody struct {
	UserID string `json:"user_id"`
	Email  string `json:"email"`
	Roles  []doc  `json:"roles"`
}

func (s *Sandbox) updateAccess(c *call) (any, error) {
	var request accessBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.UserID == "" || request.Roles == nil {
		return nil, refuse(http.StatusBadRequest, "user_id and roles are required")
	}
	given := access{request.UserID, request.Roles}
	c.project.setAccess(given)
	return given, nil
}

func (s *Sandbox) listAccess(c *call) (any, error) {
	return doc{"items": append([]access{}, c.project.access...)}, nil
}

func (s *Sandbox) deleteAccess(c *call) (any, error) {
	user := c.PathValue("user_id")
	c.project.access = slices.DeleteFunc(c.project.access, func(a access) bool { return a.UserID == user })
	return nil, nil
}

func (s *Sandbox) inviteAccess(c *call) (any, error) {
	var request accessBody
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Email == "" || request.Roles == nil {
		return nil, refuse(http.StatusBadRequest, "email and roles are required")
	}
	return doc{"email": request.Email, "invite_id": newID(), "user_roles": request.Roles}, nil
}

func (s *Sandbox) acceptAccess(c *call) (any, error) {
	return c.project.accessOf(userID(ownerOf(c.Request))), nil
}
