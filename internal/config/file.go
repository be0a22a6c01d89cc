// Package config reads gateway.yaml strictly and says everything that is wrong with it at once.
//
// Invariant: a File that Load returned without error is complete: defaults are filled in, paths are absolute, and the
// policy and catalogue it names have been compiled. The package builds nothing that runs; that is main's work.
package config

import (
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/secret"
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
	MaxBody strictyaml.Bytes `yaml:"max_body"`
	// DrainTimeout is how long running and queued requests may take to finish after SIGTERM. Default 55s: a little over
	// limits.max_wait.
	DrainTimeout strictyaml.Duration `yaml:"drain_timeout"`
}

// TLS is a certificate in two PEM files, read again when they change.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
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
	Timeout strictyaml.Duration `yaml:"timeout"`
	// ForwardHeaders are request headers let through besides the built-in list. Default: none.
	ForwardHeaders []string `yaml:"forward_headers"`
}

// Credential is one upstream secret.
type Credential struct {
	// Name names it in logs, metrics and the audit log.
	Name string `yaml:"name"`
	// Owner is the upstream user whose quota it spends; credentials of one owner share it. Default: its name.
	Owner string `yaml:"owner"`
	// Token is where its personal access token is kept. A changed file is taken up within seconds.
	Token secret.Source `yaml:"token"`
	// Organizations and Projects are what it reaches. Both empty: everything.
	Organizations []string `yaml:"organizations"`
	Projects      []string `yaml:"projects"`
	// Scopes are the OAuth scopes it has. Empty: all.
	Scopes []string `yaml:"scopes"`
}

// Identity is who may be known.
type Identity struct {
	// Issuers are OpenID Connect issuers whose tokens are believed. None: minted tokens only.
	Issuers []Issuer `yaml:"issuers"`
	Tokens  Tokens   `yaml:"tokens"`
}

// Issuer is one OpenID Connect issuer.
type Issuer struct {
	// Name names the issuer in the policy, in logs and in the audit log.
	Name string `yaml:"name"`
	// URL is its issuer identifier, exactly as in its tokens' iss. Plain HTTP only on loopback.
	URL string `yaml:"url"`
	// Audience is what a token's aud must hold one of.
	Audience []string `yaml:"audience"`
	// Client is the gateway's own registration there. Present: people sign in to the portal through this issuer.
	Client *Client `yaml:"client"`
	// Claims names the claims that hold groups and e-mail. Default {groups: groups, email: email}.
	Claims Claims `yaml:"claims"`
	// CAFile holds the certificate authorities the issuer's certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// Client is an OpenID Connect client registration.
type Client struct {
	ID     string        `yaml:"id"`
	Secret secret.Source `yaml:"secret"`
}

// Claims names claims.
type Claims struct {
	Groups string `yaml:"groups"`
	Email  string `yaml:"email"`
}

// Tokens are the rules for minted tokens.
type Tokens struct {
	// MaxAge is the longest life of a minted token. Default 90d.
	MaxAge strictyaml.Duration `yaml:"max_age"`
	// ReauthenticateAfter is how long after its owner's last sign-in a minted token works. Default 30d.
	ReauthenticateAfter strictyaml.Duration `yaml:"reauthenticate_after"`
}

// Policy names the policy file. It is read again when it changes.
type Policy struct {
	// File is its path. Default "policy.yaml".
	File string `yaml:"file"`
}

// Limits steers the queue for upstream's quota.
type Limits struct {
	// Granularity is how upstream counts: scope, endpoint, or auto to find out. Default auto.
	Granularity string `yaml:"granularity"`
	// Headroom is how many requests of each window are left unused. Default 0.
	Headroom int `yaml:"headroom"`
	// MaxWait is the longest a request queues. Default 50s: the Supabase CLI gives up after 60 s.
	MaxWait strictyaml.Duration `yaml:"max_wait"`
	// Reserve keeps shares of the quota for others. Default: none.
	Reserve []Reserve `yaml:"reserve"`
}

// Reserve keeps a share of every window, for one team or for spenders outside the gateway.
type Reserve struct {
	// Team is whose share it is. Empty: outsiders', which the gateway leaves unused.
	Team string `yaml:"team"`
	// Percent of each window, 1 to 90.
	Percent int `yaml:"percent"`
}

// Cache steers the cache of reads.
type Cache struct {
	// Memory bounds what the cache holds. Default 256MiB.
	Memory strictyaml.Bytes `yaml:"memory"`
	// StaleIfError is how old an answer may be that is served because upstream failed. Default 10m; 0s: never.
	StaleIfError *strictyaml.Duration `yaml:"stale_if_error"`
}

// Catalog extends the embedded table of operations.
type Catalog struct {
	// Extra are further operations, in the table's own form.
	Extra []catalog.Row `yaml:"extra"`
}

// Audit says where the audit log goes.
type Audit struct {
	// Name is this replica's chain, and the prefix of its files: replicas that share a folder need one each. Default "audit".
	Name string `yaml:"name"`
	// Key is where the Ed25519 key (PEM, PKCS #8) is kept that signs checkpoints. Default: NAME.key in the sink's folder,
	// made at the first start.
	Key KeyFile `yaml:"key"`
	// Sinks get every record. Default: one required file sink in audit/ below state.dir.
	Sinks []Sink `yaml:"sinks"`
	// Flush is the longest a read's record stays in memory. Default 1s.
	Flush strictyaml.Duration `yaml:"flush"`
}

// KeyFile names a private key.
type KeyFile struct {
	File string `yaml:"file"`
}

// Sink is one place for audit records: a file sink or stdout.
type Sink struct {
	File   *FileSink `yaml:"file"`
	Stdout bool      `yaml:"stdout"`
	// Required: without it recording, writes are refused.
	Required bool `yaml:"required"`
}

// FileSink keeps records in files of one folder.
type FileSink struct {
	Dir string `yaml:"dir"`
	// MaxSize of one file before the next is begun. Default 64MiB.
	MaxSize strictyaml.Bytes `yaml:"max_size"`
	// MaxAge of one file before the next is begun. Default 24h.
	MaxAge strictyaml.Duration `yaml:"max_age"`
	// Retention is how long ended files are kept. Default 400d.
	Retention strictyaml.Duration `yaml:"retention"`
	// MaxTotal bounds all files together; the oldest go first. Default 50GiB.
	MaxTotal strictyaml.Bytes `yaml:"max_total"`
}

// Telemetry is what the gateway says about itself.
type Telemetry struct {
	Log Log `yaml:"log"`
}

// Log is the process log on standard error.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is json or text. Default json.
	Format string `yaml:"format"`
}
