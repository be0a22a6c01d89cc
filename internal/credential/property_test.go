package credential_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
)

// within reports whether a list that means everything when empty is a part of another.
func within(a, b []string) bool {
	return len(b) == 0 || len(a) > 0 && !slices.ContainsFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}

// reachWithin reports whether a's reach is a part of b's. No project here is in one of the organizations.
func reachWithin(a, b credential.Config) bool {
	if len(b.Projects)+len(b.Organizations) == 0 {
		return true
	}
	if len(a.Projects)+len(a.Organizations) == 0 {
		return false
	}
	return (len(a.Projects) == 0 || len(b.Projects) > 0 && within(a.Projects, b.Projects)) &&
		(len(a.Organizations) == 0 || len(b.Organizations) > 0 && within(a.Organizations, b.Organizations))
}

// some picks up to three of the words.
func some(r *rand.Rand, words []string) []string {
	words = slices.Clone(words)
	r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return words[:r.IntN(4)]
}

// TestNoNarrowerHealthyCredentialIsPassedOver: of the healthy credentials that cover a call, none whose reach and rights
// both lie within the chosen one's is left aside for it.
func TestNoNarrowerHealthyCredentialIsPassedOver(t *testing.T) {
	projects := []string{"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc"}
	organizations := []string{"acme", "globex", "initech"}
	scopes := []string{"database:read", "database:write", "projects:read"}
	r := rand.New(rand.NewPCG(7, 11)) // the same cases each time
	for range 2000 {
		configs := make([]credential.Config, 2+r.IntN(4))
		for i := range configs {
			configs[i] = credential.Config{Name: string(rune('a' + i)), Projects: some(r, projects), Organizations: some(r, organizations), Rights: some(r, scopes)}
		}
		set := newSet(t, configs...)
		byName := map[string]credential.Config{}
		for _, config := range configs {
			byName[config.Name] = config
		}
		now := time.Now()
		var healthy []credential.Config
		for _, c := range set.All() {
			if r.IntN(4) == 0 {
				c.Observe(bearerOf(t, c), http.StatusUnauthorized, now)
			} else {
				healthy = append(healthy, byName[c.Name()])
			}
		}
		op := &catalog.Operation{ID: "op", Target: catalog.Project, Scope: scopes[r.IntN(len(scopes))]}
		target := credential.Target{Project: projects[r.IntN(len(projects))], Organization: organizations[r.IntN(len(organizations))]}
		covers := func(c credential.Config) bool {
			reaches := len(c.Projects)+len(c.Organizations) == 0 || slices.Contains(c.Projects, target.Project) || slices.Contains(c.Organizations, target.Organization)
			return reaches && within([]string{op.Scope}, c.Rights)
		}
		chosen, err := set.Choose(op, op.Effect, target, now)
		if (err == nil) != slices.ContainsFunc(healthy, covers) {
			t.Fatalf("chosen %v, %v of %+v for %+v %s", chosen, err, healthy, target, op.Scope)
		}
		if err != nil {
			continue
		}
		got := byName[chosen.Name()]
		if !covers(got) {
			t.Fatalf("chosen %+v does not cover %+v %s", got, target, op.Scope)
		}
		for _, other := range healthy {
			narrower := reachWithin(other, got) && within(other.Rights, got.Rights) && !(reachWithin(got, other) && within(got.Rights, other.Rights))
			if covers(other) && narrower {
				t.Fatalf("chosen %+v though %+v is narrower, for %+v %s", got, other, target, op.Scope)
			}
		}
	}
}
