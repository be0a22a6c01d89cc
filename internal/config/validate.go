package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/strictyaml"
	"corp.example/gateway/internal/trust"
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
	v.acmeState(f)
	v.upstream(&f.Upstream)
	v.credentials(f.Credentials, !f.State.SealKey.IsZero())
	v.identity(&f.Identity)
	v.limits(&f.Limits)
	v.cache(&f.Cache)
	v.audit(&f.Audit, &f.State)
	v.telemetry(&f.Telemetry)
}

// leastConnections is what one person's browser and tools need of server.max_connections, of which one client gets half.
const leastConnections = 32

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
	if s.MaxConnections < leastConnections {
		v.fault(fmt.Sprintf("%d is too few: a browser and its tools open a dozen; at least %d", s.MaxConnections, leastConnections), "server", "max_connections")
	}
	if s.TLS != nil {
		v.tls(s.TLS)
	}
}

func (v *validation) listener(address string, path ...any) {
	_, port, err := net.SplitHostPort(address)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port) // a number up to 65535, or a name such as https
	}
	if err != nil || port == "" {
		v.fault(fmt.Sprintf("%q is no address to listen on: write it as :8443 or 127.0.0.1:8443", address), path...)
	}
}

// catalog takes over what is wrong with catalog.extra.
func (v *validation) catalog(err error) {
	var faults catalog.Faults
	if !errors.As(err, &faults) {
		v.fault(err.Error(), "catalog", "extra")
	}
	for _, f := range faults {
		path := []any{"catalog", "extra", f.Row}
		if f.Key != "" {
			path = append(path, f.Key)
		}
		v.fault(f.Message, path...)
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
	if _, err := trust.Roots(file); err != nil {
		v.fault(err.Error(), path...)
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

func (v *validation) secret(source secret.Source, path ...any) {
	if _, err := source.ReadLine(v.getenv); err != nil {
		v.fault(err.Error(), path...)
	}
}
