// Package config reads gateway.yaml strictly and says everything that is wrong with it at once.
//
// Invariant: a File that Load returned without error is complete: defaults are filled in, paths are absolute, and the
// policy and catalogue it names have been compiled. The package builds nothing that runs; that is main's work.
package config

import (
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
)

// File is gateway.yaml. Paths in it are relative to the folder it stands in.
type File struct {
	Server      Server       `yaml:"server"`
	Admin       Admin        `yaml:"admin"`
	State       State        `yaml:"state"`
	Upstream    Upstream     `yaml:"upstream"`
	Credentials []Credential `yaml:"credentials"`
	Identity    Identity     `yaml:"identity"`
	Policy      Policy       `yaml:"policy"`
	Limits      Limits       `yaml:"limits"`
	Cache       Cache        `yaml:"cache"`
	Catalog     Catalog      `yaml:"catalog"`
	Audit       Audit        `yaml:"audit"`
	Telemetry   Telemetry    `yaml:"telemetry"`
}

// Server is the public listener.
type Server struct {
	// Listen is the address of the public listener. Default ":8443".
	Listen string `yaml:"listen"`
	// PublicURL is where clients and browsers reach the gateway: scheme and host, no path. Plain HTTP only on loopback.
	PublicURL string `yaml:"public_url"`
	// TLS serves HTTPS. Left out: plain HTTP, for a load balancer that ends TLS in front.
	TLS *TLS `yaml:"tls"`
	// TrustedProxies are the networks (CIDR) whose X-Forwarded-For is believed for the client's address. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// MaxBody is the largest request body. Default 64MiB: twice the largest function bundle upstream takes.
	MaxBody strictyaml.Bytes `yaml:"max_body" zero:"no"`
	// MaxConnections is how many connections there may be at a time; further ones wait. One client (an IPv4 address or a
	// /64 of IPv6; not a trusted proxy) may have half of them. Default 4096: each costs some 20 KiB, and 100 KiB while it
	// sends the largest header.
	MaxConnections int `yaml:"max_connections" zero:"no"`
	// DrainDelay is how long /readyz fails after SIGTERM, while everything is still served, before the listener closes: a
	// load balancer must have looked and gone elsewhere. Default 5s; 0s: none, where nothing stands in front.
	DrainDelay *strictyaml.Duration `yaml:"drain_delay"`
	// DrainTimeout is how long running and queued requests may take to finish after that. Default 55s: a little over
	// limits.max_wait.
	DrainTimeout strictyaml.Duration `yaml:"drain_timeout" zero:"no"`
}

// Admin is the listener for metrics, health and profiles.
type Admin struct {
	// Listen is its address, never the public listener's. Default "127.0.0.1:9090".
	Listen string `yaml:"listen"`
}

// Upstream is the API behind the gateway.
type Upstream struct {
	// URL is upstream's base URL: scheme and host. Default "https://api.supabase.com". Plain HTTP only on loopback.
	URL string `yaml:"url"`
	// CAFile holds the certificate authorities upstream's certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
	// Timeout is how long upstream may take to begin its answer. Default 60s.
	Timeout strictyaml.Duration `yaml:"timeout" zero:"no"`
	// ForwardHeaders are request headers let through besides the built-in list. Default: none.
	ForwardHeaders []string `yaml:"forward_headers"`
}

// Policy names the policy file. It is read again when it changes.
type Policy struct {
	// File is its path. Default "policy.yaml".
	File string `yaml:"file"`
}

// Catalog extends the embedded table of operations.
type Catalog struct {
	// Extra are further operations, in the table's own form.
	Extra []catalog.Row `yaml:"extra"`
}
