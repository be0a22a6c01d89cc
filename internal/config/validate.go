package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/strictyaml"
)

// validation collects the faults of one configuration.
type validation struct {
	source *strictyaml.Source
	getenv func(string) string
	faults strictyaml.Faults
}

func (v *validation) fault(message string, path ...any) {
	v.faults = append(v.faults, v.source.Fault(message, path...))
}

func (v *validation) file(f *File) {
	v.server(&f.Server)
	v.listener(f.Admin.Listen, "admin", "listen")
	if f.Admin.Listen == f.Server.Listen {
		v.fault("is also the public listener's address: metrics and profiles must not be public; give it a port of its own", "admin", "listen")
	}
	v.state(&f.State)
	v.upstream(&f.Upstream)
	v.credentials(f.Credentials)
	v.identity(&f.Identity)
	v.limits(&f.Limits)
	v.audit(&f.Audit)
	v.telemetry(&f.Telemetry)
}

func (v *validation) server(s *Server) {
	v.listener(s.Listen, "server", "listen")
	if s.PublicURL == "" {
		v.fault("is missing: clients and sign-in need to know where the gateway is, as in https://supabase.corp.example", "server", "public_url")
	} else {
		v.hostURL(s.PublicURL, "server", "public_url")
	}
	for i, text := range s.TrustedProxies {
		if _, err := netip.ParsePrefix(text); err != nil {
			v.fault(fmt.Sprintf("%q is no network: write it as 10.0.0.0/8 or 192.0.2.7/32", text), "server", "trusted_proxies", i)
		}
	}
	if s.TLS == nil {
		return
	}
	if _, err := tls.LoadX509KeyPair(s.TLS.CertFile, s.TLS.KeyFile); err != nil {
		v.fault(fmt.Sprintf("the certificate cannot be used: %v", err), "server", "tls")
	}
}

func (v *validation) listener(address string, path ...any) {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		v.fault(fmt.Sprintf("%q is no address to listen on: write it as :8443 or 127.0.0.1:8443", address), path...)
	}
}

// baseURL checks a URL that credentials or tokens travel to.
func (v *validation) baseURL(text string, path ...any) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		v.fault(fmt.Sprintf("%q is no URL such as https://host.example", text), path...)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		v.fault(fmt.Sprintf("%q would carry tokens in the clear: use https (plain http is allowed on loopback only)", text), path...)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.fault(fmt.Sprintf("%q must hold no user, query or fragment", u.Redacted()), path...)
	}
}

// hostURL is a baseURL without a path.
func (v *validation) hostURL(text string, path ...any) {
	before := len(v.faults)
	v.baseURL(text, path...)
	if u, err := url.Parse(text); len(v.faults) == before && err == nil && strings.Trim(u.Path, "/") != "" {
		v.fault(fmt.Sprintf("%q must have no path: the gateway keeps request paths as they are", text), path...)
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func (v *validation) upstream(u *Upstream) {
	v.hostURL(u.URL, "upstream", "url")
	v.authorities(u.CAFile, "upstream", "ca_file")
	for i, name := range u.ForwardHeaders {
		if reason := unforwardable(name); reason != "" {
			v.fault(fmt.Sprintf("%q %s", name, reason), "upstream", "forward_headers", i)
		}
	}
}

// unforwardable says why a request header can never be let through, "" where it can.
func unforwardable(name string) string {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9-]+$`).MatchString(name):
		return "is no header name"
	case slices.Contains([]string{"Authorization", "Cookie", "Proxy-Authorization", "Host", "Connection", "Te", "Upgrade", "Transfer-Encoding", "Content-Length", "Expect", "Trailer", "Keep-Alive"}, canonical):
		return "is never forwarded: it carries credentials or belongs to one connection"
	case slices.Contains([]string{"Accept-Encoding", "Cache-Control", "Pragma", "Prefer", "X-Gateway-Team"}, canonical):
		return "is never forwarded: the gateway answers to it itself"
	case slices.Contains([]string{"Range", "If-Range"}, canonical):
		return "is never forwarded: what a caller may see of a part of an answer cannot be judged"
	case strings.HasPrefix(canonical, "X-Forwarded-") || canonical == "Forwarded" || canonical == "X-Real-Ip":
		return "is never forwarded: upstream must not learn or believe addresses from clients"
	}
	return ""
}

func (v *validation) authorities(file string, path ...any) {
	if file == "" {
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		v.fault(err.Error(), path...)
	} else if !x509.NewCertPool().AppendCertsFromPEM(data) {
		v.fault(fmt.Sprintf("%s holds no PEM certificate", file), path...)
	}
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	refForm  = regexp.MustCompile(`^[a-z]{20}$`)
	slugForm = regexp.MustCompile(`^[\w-]{1,64}$`)
)

func (v *validation) name(name string, seen map[string]bool, path ...any) {
	switch {
	case !nameForm.MatchString(name):
		v.fault(fmt.Sprintf("%q is no name: use lower-case letters, digits and inner dashes", name), path...)
	case seen[name]:
		v.fault(fmt.Sprintf("%q is used twice", name), path...)
	}
	seen[name] = true
}

func (v *validation) credentials(credentials []Credential) {
	if len(credentials) == 0 {
		v.fault("is missing: the gateway needs at least one upstream token, as in [{name: shared, token: {file: /run/secrets/supabase-pat}}]", "credentials")
	}
	seen := map[string]bool{}
	for i, c := range credentials {
		v.name(c.Name, seen, "credentials", i, "name")
		v.secret(c.Token, "credentials", i, "token")
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

func (v *validation) secret(source secret.Source, path ...any) {
	if _, err := source.Read(v.getenv); err != nil {
		v.fault(err.Error(), path...)
	}
}

func (v *validation) identity(identity *Identity) {
	seen := map[string]bool{}
	urls := map[string]bool{}
	for i, issuer := range identity.Issuers {
		at := func(keys ...any) []any { return append([]any{"identity", "issuers", i}, keys...) }
		v.name(issuer.Name, seen, at("name")...)
		v.baseURL(issuer.URL, at("url")...)
		if urls[issuer.URL] {
			v.fault(fmt.Sprintf("%q is configured twice", issuer.URL), at("url")...)
		}
		urls[issuer.URL] = true
		if len(issuer.Audience) == 0 || slices.Contains(issuer.Audience, "") {
			v.fault("is missing: name the audience its tokens carry for the gateway, or any token of that issuer would do", at("audience")...)
		}
		if issuer.Client != nil {
			if issuer.Client.ID == "" {
				v.fault("is missing", at("client", "id")...)
			}
			if !issuer.Client.Secret.IsZero() {
				v.secret(issuer.Client.Secret, at("client", "secret")...)
			}
		}
		v.authorities(issuer.CAFile, at("ca_file")...)
	}
	if tokens := identity.Tokens; tokens.MaxAge > strictyaml.Duration(366*24*time.Hour) {
		v.fault(fmt.Sprintf("%s is over a year: a forgotten token must end by itself", tokens.MaxAge), "identity", "tokens", "max_age")
	}
}

func (v *validation) limits(l *Limits) {
	if !slices.Contains([]string{"auto", "scope", "endpoint"}, l.Granularity) {
		v.fault(fmt.Sprintf("%q is not one of auto, scope, endpoint", l.Granularity), "limits", "granularity")
	}
	if l.Headroom < 0 || l.Headroom > 60 {
		v.fault(fmt.Sprintf("%d is not between 0 and 60 requests of a window", l.Headroom), "limits", "headroom")
	}
	total := 0
	for i, reserve := range l.Reserve {
		if total += reserve.Percent; reserve.Percent < 1 || total > 90 {
			v.fault("wants a percentage from 1, and not more than 90 for all together", "limits", "reserve", i, "percent")
		}
	}
}

func (v *validation) audit(a *Audit) {
	if !nameForm.MatchString(a.Name) || len(a.Name) > 40 {
		v.fault(fmt.Sprintf("%q is no name: use at most 40 lower-case letters, digits and inner dashes", a.Name), "audit", "name")
	}
	if a.Key.File != "" {
		if _, err := os.Stat(a.Key.File); err != nil {
			v.fault(err.Error(), "audit", "key", "file")
		}
	}
	for i, sink := range a.Sinks {
		switch {
		case (sink.File != nil) == sink.Stdout:
			v.fault("wants one of {file: {dir: PATH}} and {stdout: true}", "audit", "sinks", i)
		case sink.File != nil && sink.File.Dir == "":
			v.fault("is missing", "audit", "sinks", i, "file", "dir")
		case sink.File != nil:
			v.writableParent(sink.File.Dir, "audit", "sinks", i, "file", "dir")
		}
	}
	if !slices.ContainsFunc(a.Sinks, func(s Sink) bool { return s.Required }) {
		v.fault("none is required: mark one with required: true, or a write could go unrecorded", "audit", "sinks")
	}
}

// writableParent finds a folder that cannot be made before the first request would.
func (v *validation) writableParent(dir string, path ...any) {
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir):
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			v.fault(err.Error(), path...)
		case !info.IsDir():
			v.fault(fmt.Sprintf("%s is a file, not a folder", dir), path...)
		}
		return
	}
}

func (v *validation) telemetry(t *Telemetry) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, t.Log.Level) {
		v.fault(fmt.Sprintf("%q is not one of debug, info, warn, error", t.Log.Level), "telemetry", "log", "level")
	}
	if !slices.Contains([]string{"json", "text"}, t.Log.Format) {
		v.fault(fmt.Sprintf("%q is not one of json, text", t.Log.Format), "telemetry", "log", "format")
	}
}
