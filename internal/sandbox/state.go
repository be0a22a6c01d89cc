package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// state is all that clients can change. Everything in it is read and written under mu.
type state struct {
	mu            sync.Mutex
	organizations []*organization
	projects      []*project // branches' own projects among them, in the order they were made
	snippets      []*snippet
	serial        int // the last numeric id given
}

// organization is one organization with what belongs to it.
type organization struct {
	Slug, Name, Plan string
	endpoints        *resources // webhooks
}

// project is one project, or a branch's own.
type project struct {
	number       int
	ref          string
	name         string
	organization *organization
	region       string
	created      time.Time
	status       status
	branch       *branch   // what makes it a branch; nil for a project of its own
	branches     []*branch // its branches, the default one first; empty: branching is off

	keys         []*apiKey
	legacyKeys   bool
	secrets      []*secret
	functions    []*function
	migrations   []*migration
	bans         []string
	access       []access // just-in-time database access, one to a user
	restrictions restrictions
	hostname     *hostname         // nil: none
	vanity       string            // "": none
	claim        *claim            // nil: none
	addons       map[string]string // chosen variants by type
	settings     map[string]doc    // configuration documents by name
	lists        map[string][]doc  // things clients add and remove, by kind
	resources    map[string]*resources
}

func newState(w World, now time.Time) (*state, error) {
	s := &state{serial: 100000}
	var faults []error
	for _, o := range w.Organizations {
		s.organizations = append(s.organizations, newOrganization(o.Slug, o.Name, o.Plan))
	}
	// Seeded things are some weeks old, each a day younger than the one before.
	created := now.Add(-60 * 24 * time.Hour).Truncate(time.Second)
	next := func() time.Time { created = created.Add(24 * time.Hour); return created }
	for _, p := range w.Projects {
		organization, err := s.organization(p.Organization)
		if err != nil {
			faults = append(faults, fmt.Errorf("seed: project %s: organization %q is not in it", p.Ref, p.Organization))
			continue
		}
		added := s.addProject(p.Ref, p.Name, p.Region, organization, next())
		added.status = status{now: activeHealthy}
		if p.Paused {
			added.status = status{now: inactive}
		}
	}
	for _, b := range w.Branches {
		parent, err := s.project(b.Parent)
		if err != nil {
			faults = append(faults, fmt.Errorf("seed: branch %s: parent %q is not in it", b.Name, b.Parent))
			continue
		}
		added := s.addBranch(parent, b.ID, b.Ref, b.Name, next())
		added.GitBranch, added.Persistent, added.Status = b.GitBranch, b.Persistent, branchReady
		added.project.status = status{now: activeHealthy}
	}
	for _, n := range w.Snippets {
		p, err := s.project(n.Project)
		if err != nil {
			faults = append(faults, fmt.Errorf("seed: snippet %s: project %q is not in it", n.ID, n.Project))
			continue
		}
		s.snippets = append(s.snippets, newSnippet(n, p, next()))
	}
	return s, errors.Join(faults...)
}

// number gives a new numeric id.
func (s *state) number() int {
	s.serial++
	return s.serial
}

func (s *state) organization(slug string) (*organization, error) {
	for _, o := range s.organizations {
		if o.Slug == slug {
			return o, nil
		}
	}
	return nil, missing("Organization")
}

func (s *state) project(ref string) (*project, error) {
	for _, p := range s.projects {
		if p.ref == ref {
			return p, nil
		}
	}
	return nil, missing("Project")
}

// branch finds a branch by its id or by its project's ref.
func (s *state) branch(idOrRef string) (*branch, error) {
	for _, p := range s.projects {
		for _, b := range p.branches {
			if b.ID == idOrRef || b.ProjectRef == idOrRef {
				return b, nil
			}
		}
	}
	return nil, missing("Branch")
}

// branchRef is the ref of a branch's own project, or the text itself where no branch is known by it.
func (s *state) branchRef(idOrRef string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, err := s.branch(idOrRef); err == nil {
		return b.ProjectRef
	}
	return idOrRef
}

// removeProject takes a project out, with its branches' projects and the snippets of all of them.
func (s *state) removeProject(gone *project) {
	for _, b := range gone.branches {
		if b.project != gone {
			s.removeProject(b.project)
		}
	}
	s.projects = slices.DeleteFunc(s.projects, func(p *project) bool { return p == gone })
	s.snippets = slices.DeleteFunc(s.snippets, func(n *snippet) bool { return n.project == gone })
}

// newRef is a fresh project ref.
func newRef() string {
	raw := make([]byte, 20)
	_, _ = rand.Read(raw) // never fails
	for i, b := range raw {
		raw[i] = 'a' + b%26
	}
	return string(raw)
}

// newID is a fresh version 4 UUID.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return formatID(raw)
}

// idOf is the UUID that stands for a name, the same each time.
func idOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return formatID([16]byte(sum[:16]))
}

func formatID(raw [16]byte) string {
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// userID is the id upstream knows a token's owner by.
func userID(owner string) string { return idOf("user " + owner) }

// userNumber is the numeric id upstream knows a user by in snippets.
func userNumber(owner string) int {
	sum := sha256.Sum256([]byte("user " + owner))
	return int(binary.BigEndian.Uint16(sum[:])) + 1
}

// digest is a hexadecimal SHA-256.
func digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// stamp is a time as upstream writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
