package config

import (
	"crypto/tls"
	"fmt"
	"net/mail"
	"strings"
)

// TLS is where the public listener's certificate comes from: two files, or an ACME server.
type TLS struct {
	// CertFile and KeyFile are PEM files, read again when they change.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ACME gets and renews a certificate.
	ACME *ACME `yaml:"acme"`
}

// ACME is a certificate authority that speaks RFC 8555. TLS-ALPN-01 is answered on server.listen, which must be reachable
// from the authority as port 443.
type ACME struct {
	// Domains are the names to be certified.
	Domains []string `yaml:"domains"`
	// Email is where the authority tells of trouble.
	Email string `yaml:"email"`
	// Directory is the authority's URL. Default: Let's Encrypt.
	Directory string `yaml:"directory"`
	// CAFile holds the certificate authorities the directory's own certificate is checked against. Default: the system's.
	CAFile string `yaml:"ca_file"`
	// HTTPListen is an address for HTTP-01, reachable from the authority as port 80; everything else there is redirected to
	// public_url. Default: none, HTTP-01 is not offered.
	HTTPListen string `yaml:"http_listen"`
}

func (v *validation) tls(t *TLS) {
	switch files := t.CertFile != "" || t.KeyFile != ""; {
	case files == (t.ACME != nil):
		v.fault("wants either cert_file and key_file, or acme", "server", "tls")
	case files:
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			v.fault(fmt.Sprintf("the certificate cannot be used: %v", err), "server", "tls")
		}
	default:
		v.acme(t.ACME)
	}
}

func (v *validation) acme(a *ACME) {
	if len(a.Domains) == 0 {
		v.fault("is missing: name what clients connect to, as in [supabase.corp.example]", "server", "tls", "acme", "domains")
	}
	for i, domain := range a.Domains {
		if domain == "" || strings.ContainsAny(domain, ":/* ") {
			v.fault(fmt.Sprintf("%q is no host name (a wildcard would need DNS-01, which is not offered)", domain), "server", "tls", "acme", "domains", i)
		}
	}
	if _, err := mail.ParseAddress(a.Email); a.Email != "" && err != nil {
		v.fault(fmt.Sprintf("%q is no e-mail address", a.Email), "server", "tls", "acme", "email")
	}
	if a.Directory != "" {
		v.baseURL(a.Directory, "server", "tls", "acme", "directory")
	}
	v.authorities(a.CAFile, "server", "tls", "acme", "ca_file")
	if a.HTTPListen != "" {
		v.listener(a.HTTPListen, "server", "tls", "acme", "http_listen")
	}
}

// acmeState checks that a shared certificate's key is kept sealed.
func (v *validation) acmeState(f *File) {
	if t := f.Server.TLS; t != nil && t.ACME != nil && f.State.Redis != nil && f.State.SealKey.IsZero() {
		v.fault("is missing: with server.tls.acme and state.redis the certificate's private key is kept in Redis, sealed (openssl rand -hex 32 makes a key)", "state", "seal_key")
	}
}

// paths are those of the section, to be made absolute.
func (t *TLS) paths() []*string {
	if t == nil {
		return nil
	}
	paths := []*string{&t.CertFile, &t.KeyFile}
	if t.ACME != nil {
		paths = append(paths, &t.ACME.CAFile)
	}
	return paths
}
