package config

import (
	"fmt"
	"path"
	"slices"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/strictyaml"
)

// Credential is one upstream secret: a personal access token, or the tokens of an OAuth app.
type Credential struct {
	// Name names it in logs, metrics and the audit log.
	Name string `yaml:"name"`
	// Owner is the upstream user or app whose quota it spends; credentials of one owner share it. Default: its name.
	Owner string `yaml:"owner"`
	// Token is where its personal access token is kept. A changed file is taken up within seconds.
	Token secret.Source `yaml:"token"`
	// OAuth is the app whose tokens it uses instead of Token. It is connected by "gateway credential connect".
	OAuth *OAuth `yaml:"oauth"`
	// Expires is the day on which its personal access token ends, as upstream's dashboard shows it; upstream's API does not
	// tell. It is warned of 30, 7, 3 and 1 days ahead. Default: not known.
	Expires Day `yaml:"expires"`
	// Organizations and Projects are what it reaches. Both empty: everything.
	Organizations []string `yaml:"organizations"`
	Projects      []string `yaml:"projects"`
	// Scopes and Permissions are what it may do, in upstream's two vocabularies; "database:*" is all that begin so. Scopes
	// may hold permissions too. Both empty: everything.
	Scopes      []string `yaml:"scopes"`
	Permissions []string `yaml:"permissions"`
}

// OAuth is an app that is registered with upstream. Its tokens are kept in the state, sealed with state.seal_key.
type OAuth struct {
	ClientID     string        `yaml:"client_id"`
	ClientSecret secret.Source `yaml:"client_secret"`
}

// Day is a date, written as 2027-01-31. As a time it is that day's beginning in UTC: what ends on a day is warned of
// rather early than late.
type Day struct{ time.Time }

// UnmarshalText reads a day.
func (d *Day) UnmarshalText(text []byte) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q is no date: write it as 2027-01-31", text)
	}
	return nil
}

// MarshalText writes a day that UnmarshalText reads back.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.Format(time.DateOnly)), nil }

// Rights are the scopes and permissions that a credential's patterns stand for, each in full; none where it may do
// everything.
func (c *Credential) Rights(cat *catalog.Catalog) []string {
	var rights []string
	for _, pattern := range slices.Concat(c.Scopes, c.Permissions) {
		rights = append(rights, matching(pattern, slices.Concat(cat.Scopes(), cat.Permissions()))...)
	}
	slices.Sort(rights)
	return slices.Compact(rights)
}

// matching are the known names that a pattern stands for.
func matching(pattern string, known []string) []string {
	return slices.DeleteFunc(slices.Clone(known), func(name string) bool {
		matched, err := path.Match(pattern, name)
		return err != nil || !matched
	})
}

func (v *validation) credentials(credentials []Credential, sealed bool) {
	if len(credentials) == 0 {
		v.fault("is missing: the gateway needs at least one upstream token, as in [{name: shared, token: {file: /run/secrets/supabase-pat}}]", "credentials")
	}
	seen := map[string]bool{}
	for i, c := range credentials {
		v.name(c.Name, seen, "credentials", i, "name")
		v.upstreamSecret(&c, sealed, "credentials", i)
		for j, ref := range c.Projects {
			if !refForm.MatchString(ref) {
				v.fault(fmt.Sprintf("%q is no project ref: it has 20 lower-case letters", ref), "credentials", i, "projects", j)
			}
		}
		for j, slug := range c.Organizations {
			if !slugForm.MatchString(slug) {
				v.fault(fmt.Sprintf("%q is no organization slug", slug), "credentials", i, "organizations", j)
			}
		}
	}
}

// upstreamSecret checks that there is exactly one secret, and all that it needs.
func (v *validation) upstreamSecret(c *Credential, sealed bool, at ...any) {
	under := func(keys ...any) []any { return slices.Concat(at, keys) }
	switch {
	case c.OAuth == nil:
		v.secret(c.Token, under("token")...)
		return
	case !c.Token.IsZero():
		v.fault("stands beside token: a credential has one of the two", under("oauth")...)
	case !sealed:
		v.fault("needs state.seal_key, which encrypts the app's tokens where they are kept: make a key with openssl rand -hex 32", under("oauth")...)
	}
	if c.OAuth.ClientID == "" {
		v.fault("is missing", under("oauth", "client_id")...)
	}
	v.secret(c.OAuth.ClientSecret, under("oauth", "client_secret")...)
	if !c.Expires.IsZero() {
		v.fault("is for personal access tokens: an OAuth app's tokens are renewed by themselves", under("expires")...)
	}
}

// rights checks the names of scopes and permissions against the catalogue.
func (v *validation) rights(credentials []Credential, cat *catalog.Catalog) {
	for i, c := range credentials {
		for j, pattern := range c.Scopes {
			v.known(pattern, "scope or permission", slices.Concat(cat.Scopes(), cat.Permissions()), "credentials", i, "scopes", j)
		}
		for j, pattern := range c.Permissions {
			v.known(pattern, "permission", cat.Permissions(), "credentials", i, "permissions", j)
		}
	}
}

func (v *validation) known(pattern, kind string, names []string, at ...any) {
	if len(matching(pattern, names)) > 0 {
		return
	}
	hint := ""
	if near := strictyaml.Nearest(pattern, slices.Values(names)); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	v.fault(fmt.Sprintf("%q is no %s of any operation%s", pattern, kind, hint), at...)
}

// credentialPaths are the files that credentials name, to be made absolute.
func credentialPaths(credentials []Credential) (paths []*string) {
	for i := range credentials {
		paths = append(paths, &credentials[i].Token.File)
		if app := credentials[i].OAuth; app != nil {
			paths = append(paths, &app.ClientSecret.File)
		}
	}
	return paths
}
