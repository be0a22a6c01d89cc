package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/proxy"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/server"
	"corp.example/gateway/internal/state"
	"corp.example/gateway/internal/telemetry"
)

// gateway is everything that runs, in the order it was built. It ends in the reverse order.
type gateway struct {
	started     time.Time
	config      *config.Loaded
	getenv      func(string) string
	log         *slog.Logger
	backplane   *backplane.Backplane // nil where one replica keeps everything itself
	keys        *seal.Keys           // nil where nothing is sealed
	store       *state.Embedded
	identity    *identity.Service
	credentials *credential.Set
	audit       *audit.Log
	cache       *cache.Cache
	upstream    *proxy.Upstream
	proxy       *proxy.Proxy
	server      *server.Server
	certificate *server.Certificate
	reload      *reload
}

// build makes everything and binds the listeners; nothing is answered yet. All wiring is here.
func build(loaded *config.Loaded, getenv func(string) string, log *slog.Logger) (*gateway, error) {
	g := &gateway{started: time.Now(), config: loaded, getenv: getenv, log: log}
	if err := g.assemble(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) assemble() (err error) {
	file := &g.config.File
	registry := telemetry.Registry()
	trusted, err := clientaddr.Parse(file.Server.TrustedProxies)
	if err != nil {
		return err
	}
	if err := g.openShared(&file.State); err != nil {
		return err
	}
	if g.store, err = state.Open(file.State.Dir); err != nil {
		return err
	}
	identityConfig, err := identityConfig(file, g.getenv, g.log)
	if err != nil {
		return err
	}
	if g.identity, err = identity.New(identityConfig, g.store); err != nil {
		return err
	}
	if g.credentials, err = credential.New(credentialConfigs(file.Credentials), g.getenv); err != nil {
		return err
	}
	if g.audit, err = audit.Open(auditConfig(&file.Audit, g.log)); err != nil {
		return err
	}
	if g.upstream, err = proxy.NewUpstream(proxy.UpstreamConfig{
		URL: file.Upstream.URL, CAFile: file.Upstream.CAFile, Timeout: time.Duration(file.Upstream.Timeout), ForwardHeaders: file.Upstream.ForwardHeaders,
	}); err != nil {
		return err
	}
	limits := limiterConfig(&file.Limits)
	if err := limits.Validate(); err != nil {
		return err
	}
	queue := limiter.New(limits)
	if g.cache, err = cache.New(cache.Config{Memory: int64(file.Cache.Memory), StaleIfError: time.Duration(*file.Cache.StaleIfError),
		Timeout: time.Duration(file.Limits.MaxWait + file.Upstream.Timeout), Forwards: g.upstream.Forwards}); err != nil {
		return err
	}
	g.proxy = proxy.New(proxy.Config{
		Catalog: g.config.Catalog, Authenticate: g.identity.Authenticate, Credentials: g.credentials, Limiter: queue, Cache: g.cache,
		Audit: g.audit, Upstream: g.upstream, PublicURL: file.Server.PublicURL, MaxWait: time.Duration(file.Limits.MaxWait),
		TrustedProxies: trusted, Registry: registry, Log: g.log,
	}, g.config.Policy)
	g.reload = newReload(g.config, g.proxy.SetPolicy, registry, g.log)
	pages, err := portal.New(portal.Config{
		Identity: g.identity, Policy: g.proxy.Policy, Catalog: g.config.Catalog, PublicURL: file.Server.PublicURL,
		MaxTokenAge: time.Duration(file.Identity.Tokens.MaxAge), Resolve: g.proxy.Resolve, Names: g.proxy.Names, Quota: queue.Snapshot, AuditDir: file.Audit.Dir(),
		Audit: g.audit, Service: g.status, Purge: g.purge, TrustedProxies: trusted, Log: g.log,
	})
	if err != nil {
		return err
	}
	return g.listen(publicHandler(g.proxy, pages), registry)
}

// openShared opens what replicas share and what seals.
func (g *gateway) openShared(s *config.State) (err error) {
	if !s.SealKey.IsZero() {
		if g.keys, err = seal.Load(s.SealKey, g.getenv); err != nil {
			return err
		}
	}
	if s.Redis == nil {
		return nil
	}
	place := backplane.Config{URL: s.Redis.URL, CAFile: s.Redis.CAFile, Log: g.log}
	if !s.Redis.Password.IsZero() {
		if place.Password, err = s.Redis.Password.Read(g.getenv); err != nil {
			return err
		}
	}
	g.backplane, err = backplane.Open(place)
	return err
}

// publicHandler joins what the public listener serves. It does not clean paths as http.ServeMux would: the catalogue
// refuses what is not clean.
func publicHandler(api, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if portal.Serves(r) {
			pages.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

func (g *gateway) listen(public http.Handler, registry *prometheus.Registry) (err error) {
	file := &g.config.File
	if file.Server.TLS != nil {
		if g.certificate, err = server.LoadCertificate(file.Server.TLS.CertFile, file.Server.TLS.KeyFile); err != nil {
			return err
		}
	}
	checks := []server.Check{
		{Name: "audit", Ready: g.audit.Healthy},
		{Name: "credentials", Ready: g.credentials.Ready},
		{Name: "policy", Ready: g.reload.healthy, Detail: true},
	}
	if g.backplane != nil {
		// Told, but not a reason to send clients elsewhere: every replica has the same Redis, and some answers need none.
		checks = append(checks, server.Check{Name: "redis", Ready: g.backplane.Healthy, Detail: true})
	}
	g.server, err = server.Listen(server.Config{
		Listen: file.Server.Listen, Public: public, Certificate: g.certificate, MaxBody: int64(file.Server.MaxBody),
		AdminListen: file.Admin.Listen, DrainTimeout: time.Duration(file.Server.DrainTimeout), Log: g.log,
		Admin: server.AdminHandler(registry, checks...),
	})
	return err
}

// run answers until ctx ends, then drains and closes everything.
func (g *gateway) run(ctx context.Context) error {
	background, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	watchers.Go(func() { g.identity.Warm(background) })
	watchers.Go(func() { g.credentials.Watch(background, g.getenv, g.log) })
	signal.Ignore(syscall.SIGPIPE) // a reader of standard output that leaves is the audit sink's fault to report
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	watchers.Go(func() { config.WatchFile(background, g.config.File.Policy.File, time.Second, hangup, g.reload.policy) })
	if g.certificate != nil {
		watchers.Go(func() { g.certificate.Watch(background, g.log) })
	}
	g.log.Info("gateway listening", "version", buildVersion(), "address", g.server.Addr().String(), "admin", g.server.AdminAddr().String(),
		"public_url", g.config.Server.PublicURL, "policy", g.config.Policy.Version())
	err := g.server.Serve(ctx)
	signal.Stop(hangup)
	stop()
	watchers.Wait()
	return errors.Join(err, g.close())
}

// close ends what was built, the last first: who writes ends before what is written to.
func (g *gateway) close() error {
	var faults []error
	if g.upstream != nil {
		g.upstream.Close()
	}
	if g.audit != nil {
		faults = append(faults, g.audit.Close())
	}
	if g.identity != nil {
		g.identity.Close()
	}
	if g.store != nil {
		faults = append(faults, g.store.Close())
	}
	if g.backplane != nil {
		faults = append(faults, g.backplane.Close())
	}
	return errors.Join(faults...)
}

func identityConfig(file *config.File, getenv func(string) string, log *slog.Logger) (identity.Config, error) {
	out := identity.Config{
		PublicURL: file.Server.PublicURL,
		Tokens:    identity.Tokens{MaxAge: time.Duration(file.Identity.Tokens.MaxAge), ReauthenticateAfter: time.Duration(file.Identity.Tokens.ReauthenticateAfter)},
		Log:       log,
	}
	for _, issuer := range file.Identity.Issuers {
		configured := identity.Issuer{Name: issuer.Name, URL: issuer.URL, Audience: issuer.Audience, CAFile: issuer.CAFile,
			Claims: identity.Claims{Groups: issuer.Claims.Groups, Email: issuer.Claims.Email}}
		if issuer.Client != nil {
			configured.Client = &identity.Client{ID: issuer.Client.ID}
			if !issuer.Client.Secret.IsZero() {
				secret, err := issuer.Client.Secret.Read(getenv)
				if err != nil {
					return out, fmt.Errorf("identity issuer %s: %w", issuer.Name, err)
				}
				configured.Client.Secret = secret.Reveal()
			}
		}
		out.Issuers = append(out.Issuers, configured)
	}
	return out, nil
}

func credentialConfigs(configured []config.Credential) []credential.Config {
	out := make([]credential.Config, len(configured))
	for i, c := range configured {
		out[i] = credential.Config{Name: c.Name, Owner: c.Owner, Token: c.Token, Organizations: c.Organizations, Projects: c.Projects, Scopes: c.Scopes}
	}
	return out
}

func limiterConfig(l *config.Limits) limiter.Config {
	out := limiter.Config{Granularity: limiter.Granularity(l.Granularity), Headroom: l.Headroom, MaxWait: time.Duration(l.MaxWait)}
	for _, reserve := range l.Reserve {
		out.Reserve = append(out.Reserve, limiter.Reserve{Team: reserve.Team, Share: float64(reserve.Percent) / 100})
	}
	return out
}

func auditConfig(a *config.Audit, log *slog.Logger) audit.Config {
	out := audit.Config{Name: a.Name, KeyFile: a.Key.File, Flush: time.Duration(a.Flush), Log: log}
	for _, sink := range a.Sinks {
		configured := audit.Sink{Required: sink.Required}
		if sink.File != nil {
			configured.File = &audit.FileConfig{Dir: sink.File.Dir, MaxSize: int64(sink.File.MaxSize), MaxAge: time.Duration(sink.File.MaxAge), Keep: time.Duration(sink.File.Retention), MaxTotal: int64(sink.File.MaxTotal)}
		} else {
			configured.Stream = os.Stdout
		}
		out.Sinks = append(out.Sinks, configured)
	}
	return out
}

// loadTokenSettings is what "gateway token" needs of the configuration.
func loadTokenSettings(path string, getenv func(string) string) (tokenSettings, error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return tokenSettings{}, err
	}
	return tokenSettings{StateDir: loaded.State.Dir, Teams: loaded.Policy.TeamNames(),
		Tokens: identity.Tokens{MaxAge: time.Duration(loaded.Identity.Tokens.MaxAge), ReauthenticateAfter: time.Duration(loaded.Identity.Tokens.ReauthenticateAfter)}}, nil
}

// loadAuditDir is the folder of the first file sink.
func loadAuditDir(path string, getenv func(string) string) (string, error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return "", err
	}
	if dir := loaded.Audit.Dir(); dir != "" {
		return dir, nil
	}
	return "", fmt.Errorf("%s has no file sink under audit.sinks: there is nothing on this machine to read", filepath.Base(path))
}
