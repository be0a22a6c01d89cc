package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/strictyaml"
)

// Loaded is a configuration that was found to be right, with what was compiled on the way.
type Loaded struct {
	File
	Catalog *catalog.Catalog
	Policy  *policy.Policy
}

// Load reads the configuration at path and everything it names. The error joins all faults of all files, each with file,
// line, key and remedy. Secrets are looked for, so that a missing one is found now, but not kept.
func Load(path string, getenv func(string) string) (*Loaded, error) {
	return load(path, getenv, false)
}

// Check is Load for a person: what a gateway would serve with a warning is a fault here.
func Check(path string, getenv func(string) string) (*Loaded, error) {
	return load(path, getenv, true)
}

func load(path string, getenv func(string) string, strict bool) (*Loaded, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the configuration: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w (start from configs/gateway.yaml)", err)
	}
	var loaded Loaded
	source, err := strictyaml.Decode(shown(path), data, &loaded.File)
	if err != nil && !source.HasKeys() {
		return nil, err // nothing was read: that keys are missing would not be true
	}
	v := &validation{source: source, getenv: getenv}
	errors.As(err, &v.faults)
	loaded.fillDefaults()
	loaded.resolvePaths(filepath.Dir(path))
	v.file(&loaded.File)

	var policyErr error
	if loaded.Catalog, err = catalog.New(loaded.File.Catalog.Extra...); err != nil {
		v.catalog(err)
	} else {
		v.rights(loaded.File.Credentials, loaded.Catalog)
		v.classes(loaded.File.Limits.Classes, loaded.Catalog)
		loaded.Policy, policyErr = LoadPolicy(loaded.File.Policy.File, loaded.Catalog, loaded.File.IssuerNames())
		if strict && policyErr == nil {
			v.reserves(&loaded.Limits, loaded.Policy.TeamNames())
		}
	}
	if err := errors.Join(v.faults.Err(), policyErr); err != nil {
		return nil, err
	}
	return &loaded, nil
}

// LoadPolicy reads and compiles the policy file, whose members may name the given issuers; a reload calls it alone.
func LoadPolicy(path string, cat *catalog.Catalog, issuers []string) (*policy.Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w (policy.file in gateway.yaml names it)", err)
	}
	rules, err := policy.Load(shown(path), data, cat)
	if err != nil {
		return nil, err
	}
	return rules, rules.CheckIssuers(issuers)
}

// IssuerNames are the configured issuers' names.
func (f *File) IssuerNames() []string {
	names := make([]string, len(f.Identity.Issuers))
	for i, issuer := range f.Identity.Issuers {
		names[i] = issuer.Name
	}
	return names
}

// shown is a path as a person in the current folder would name it.
func shown(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}

func (f *File) fillDefaults() {
	setDefault(&f.Server.Listen, ":8443")
	setDefault(&f.Server.MaxBody, 64<<20)
	setDefault(&f.Server.MaxConnections, 4096)
	if f.Server.DrainDelay == nil {
		f.Server.DrainDelay = new(strictyaml.Duration(5 * time.Second))
	}
	setDefault(&f.Server.DrainTimeout, strictyaml.Duration(55*time.Second))
	setDefault(&f.Admin.Listen, "127.0.0.1:9090")
	setDefault(&f.State.Dir, "data")
	setDefault(&f.Upstream.URL, "https://api.supabase.com")
	setDefault(&f.Upstream.Timeout, strictyaml.Duration(60*time.Second))
	for i := range f.Credentials {
		setDefault(&f.Credentials[i].Owner, f.Credentials[i].Name)
	}
	f.Identity.fillDefaults()
	setDefault(&f.Policy.File, "policy.yaml")
	f.Limits.fillDefaults()
	f.Cache.fillDefaults()
	f.Audit.fillDefaults(f.State.Dir)
	f.Telemetry.fillDefaults()
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// resolvePaths makes every path absolute, so that nothing depends on the folder the gateway was started in.
func (f *File) resolvePaths(base string) {
	paths := append(f.State.paths(), &f.Upstream.CAFile, &f.Policy.File)
	paths = append(paths, f.Audit.paths()...)
	paths = append(paths, f.Telemetry.OTLP.paths()...)
	paths = append(paths, f.Server.TLS.paths()...)
	paths = append(paths, credentialPaths(f.Credentials)...)
	paths = append(paths, f.Identity.paths()...)
	for _, path := range paths {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(base, *path)
		}
	}
}
