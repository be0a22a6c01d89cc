// Package acme gets and renews the public listener's certificate from an ACME server (RFC 8555) by certmagic, over
// HTTP-01 and TLS-ALPN-01, and keeps it where all replicas find it.
//
// Invariants: of several replicas one asks for a certificate and all serve it; private keys leave the process only sealed
// (Redis) or into files that their owner alone may read. The package serves no traffic itself.
package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"corp.example/gateway/internal/trust"
)

// Config says for what names certificates are asked for, and where.
type Config struct {
	Domains   []string
	Email     string // of the account: the authority warns there of what goes wrong
	Directory string // URL of the ACME server; "": Let's Encrypt
	CAFile    string // PEM authorities of the ACME server itself; "": the system's
	TLSPort   int    // of the public listener, which answers TLS-ALPN-01
	HTTPPort  int    // of the listener that HTTPHandler is served on, which answers HTTP-01; 0: there is none

	Storage certmagic.Storage // Files or Redis
	Log     *slog.Logger
	// RenewCheck is how often certificates are looked at. 0: certmagic's ten minutes, which suits what lives for days.
	RenewCheck time.Duration
}

// Files keeps certificates and keys in a folder: for one replica.
func Files(dir string) certmagic.Storage { return &certmagic.FileStorage{Path: dir} }

// Manager has the certificates.
type Manager struct {
	domains []string
	cache   *certmagic.Cache
	config  *certmagic.Config
	issuer  *certmagic.ACMEIssuer
	failed  atomic.Pointer[error] // why the last attempt came to nothing
}

// New prepares a manager. Nothing is asked for before Manage.
func New(c Config) (*Manager, error) {
	m := &Manager{domains: c.Domains}
	log := zap.New(forwarder{c.Log})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		RenewCheckInterval: c.RenewCheck,
		Logger:             log,
	})
	m.config = certmagic.New(m.cache, certmagic.Config{
		Storage:           c.Storage,
		DefaultServerName: c.Domains[0], // for clients that send no name
		Logger:            log,
		OnEvent:           m.event,
	})
	template := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true,
		AltTLSALPNPort: c.TLSPort, AltHTTPPort: c.HTTPPort, DisableHTTPChallenge: c.HTTPPort == 0,
		Logger: log,
	}
	if c.Directory == "" {
		template.CA = certmagic.LetsEncryptProductionCA
	} else {
		template.TestCA = c.Directory // there is no other to try a failing configuration on
	}
	var err error
	if template.TrustedRoots, err = trust.Roots(c.CAFile); err != nil {
		return nil, fmt.Errorf("server.tls.acme.ca_file: %w", err)
	}
	m.issuer = certmagic.NewACMEIssuer(m.config, template)
	m.config.Issuers = []certmagic.Issuer{m.issuer}
	return m, nil
}

// Manage loads the certificates, or asks for them, and keeps them renewed until ctx ends. The listeners must be bound: the
// ACME server connects to them. It returns at once; Ready tells when there is a certificate.
func (m *Manager) Manage(ctx context.Context) error {
	if err := m.config.ManageAsync(ctx, m.domains); err != nil {
		return fmt.Errorf("managing certificates: %w", err)
	}
	return nil
}

// Close ends renewals.
func (m *Manager) Close() { m.cache.Stop() }

// TLSConfig is what the public listener serves with.
func (m *Manager) TLSConfig() *tls.Config {
	config := m.config.TLSConfig()
	config.MinVersion = tls.VersionTLS12
	config.NextProtos = append([]string{"h2", "http/1.1"}, config.NextProtos...)
	return config
}

// HTTPHandler answers HTTP-01 challenges and gives everything else to next.
func (m *Manager) HTTPHandler(next http.Handler) http.Handler {
	return m.issuer.HTTPChallengeHandler(next)
}

// Ready is nil when every name has a certificate that is valid now.
func (m *Manager) Ready() error {
	for _, domain := range m.domains {
		if m.expires(domain).After(time.Now()) {
			continue
		}
		if cause := m.failed.Load(); cause != nil {
			return fmt.Errorf("no certificate for %s: %w", domain, *cause)
		}
		return fmt.Errorf("no certificate for %s yet", domain)
	}
	return nil
}

// Expires is when the first of the certificates ends; the zero time while one is missing.
func (m *Manager) Expires() time.Time {
	var first time.Time
	for i, domain := range m.domains {
		if at := m.expires(domain); i == 0 || at.Before(first) {
			first = at
		}
	}
	return first
}

func (m *Manager) expires(domain string) time.Time {
	var last time.Time
	for _, certificate := range m.cache.AllMatchingCertificates(domain) {
		if leaf := certificate.Leaf; leaf != nil && leaf.NotAfter.After(last) {
			last = leaf.NotAfter
		}
	}
	return last
}

// event notes how attempts end.
func (m *Manager) event(_ context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtained":
		m.failed.Store(nil)
	case "cert_failed":
		err, isError := data["error"].(error)
		if !isError {
			err = errors.New("the ACME server did not issue it; the log says why")
		}
		m.failed.Store(&err)
	}
	return nil
}
