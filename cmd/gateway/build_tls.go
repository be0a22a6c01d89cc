package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/acme"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/server"
)

// openTLS prepares the public listener's certificate: from files or from an ACME server. nil without TLS.
func (g *gateway) openTLS(registry *prometheus.Registry) (_ *tls.Config, err error) {
	configured := g.config.Server.TLS
	expires := func() time.Time { return time.Time{} }
	switch {
	case configured == nil:
		return nil, nil
	case configured.ACME != nil:
		if g.acme, err = acme.New(g.acmeConfig(configured.ACME)); err != nil {
			return nil, err
		}
		expires = g.acme.Expires
	default:
		if g.certificate, err = server.LoadCertificate(configured.CertFile, configured.KeyFile); err != nil {
			return nil, err
		}
		expires = g.certificate.Expires
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gateway_certificate_expires_timestamp_seconds",
		Help: "When the public listener's certificate ends, as Unix time; 0 while there is none.",
	}, func() float64 {
		if at := expires(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	}))
	if g.acme != nil {
		return g.acme.TLSConfig(), nil
	}
	return g.certificate.TLSConfig(), nil
}

func (g *gateway) acmeConfig(a *config.ACME) acme.Config {
	out := acme.Config{Domains: a.Domains, Email: a.Email, Directory: a.Directory, CAFile: a.CAFile,
		TLSPort: port(g.config.Server.Listen), HTTPPort: port(a.HTTPListen), Log: g.log}
	if g.backplane != nil {
		out.Storage = acme.NewRedis(g.backplane.Client(), g.keys)
	} else {
		out.Storage = acme.Files(filepath.Join(g.config.State.Dir, "acme"))
	}
	return out
}

// challenges is the listener for HTTP-01; its zero value is none.
func (g *gateway) challenges() server.Plain {
	if g.acme == nil || g.config.Server.TLS.ACME.HTTPListen == "" {
		return server.Plain{}
	}
	return server.Plain{
		Listen:  g.config.Server.TLS.ACME.HTTPListen,
		Handler: g.acme.HTTPHandler(http.HandlerFunc(g.toPublicURL)),
	}
}

// toPublicURL sends a person who typed http:// on. An API client is refused instead: it has sent its token in the clear,
// and must not go on doing so unnoticed.
func (g *gateway) toPublicURL(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "This address is for people and certificates only: use "+g.config.Server.PublicURL+", and revoke the token that was just sent unencrypted.", http.StatusForbidden)
		return
	}
	to := r.URL.RequestURI()
	if r.URL.Opaque != "" {
		to = "/" // the target "http:@elsewhere" has no path: behind a host name it would make that a user's name
	}
	http.Redirect(w, r, g.config.Server.PublicURL+to, http.StatusPermanentRedirect)
}

// keepCertificate renews the certificate until ctx ends.
func (g *gateway) keepCertificate(ctx context.Context) {
	switch {
	case g.certificate != nil:
		g.certificate.Watch(ctx, g.log)
	case g.acme != nil:
		if err := g.acme.Manage(ctx); err != nil {
			g.log.Error("certificates", "error", err)
		}
	}
}

// port is the port of an address to listen on; 0 of none.
func port(address string) int {
	_, text, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(text) // the configuration was checked
	return number
}
