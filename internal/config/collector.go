package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"corp.example/gateway/internal/secret"
)

// Collector is an OpenTelemetry collector, which takes traces or audit records by OTLP.
type Collector struct {
	// Endpoint is the collector's base URL, such as https://collector.corp.example:4317.
	Endpoint string `yaml:"endpoint"`
	// Protocol is grpc or http. Default grpc.
	Protocol string `yaml:"protocol" jsonschema:"enum=grpc,enum=http"`
	// Headers are sent along, such as a collector's key; each value is kept in a file or in the environment.
	Headers map[string]*secret.Source `yaml:"headers"`
	// CAFile holds the certificate authorities the collector's certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// paths are those of the section, to be made absolute.
func (o *Collector) paths() []*string {
	paths := []*string{&o.CAFile}
	for _, source := range o.Headers {
		if source != nil {
			paths = append(paths, &source.File)
		}
	}
	return paths
}

// collector checks one. Collectors inside a cluster often speak no TLS, which is for its operator to decide as
// long as no key travels along.
func (v *validation) collector(o *Collector, path ...any) {
	at := func(keys ...any) []any { return append(slices.Clone(path), keys...) }
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		v.fault(fmt.Sprintf("%q is no URL such as https://collector.corp.example:4317", o.Endpoint), at("endpoint")...)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.fault(fmt.Sprintf("%q must hold no user, query or fragment", u.Redacted()), at("endpoint")...)
	case u.Scheme == "http" && len(o.Headers) > 0 && !isLoopback(u.Hostname()):
		v.fault(fmt.Sprintf("%q would carry the headers in the clear: use https", o.Endpoint), at("endpoint")...)
	}
	if o.Protocol != "grpc" && o.Protocol != "http" {
		v.fault(fmt.Sprintf("%q is not one of grpc, http", o.Protocol), at("protocol")...)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		source := o.Headers[name]
		if source == nil {
			source = &secret.Source{}
		}
		v.secret(*source, at("headers", name)...)
	}
	v.authorities(o.CAFile, at("ca_file")...)
}
