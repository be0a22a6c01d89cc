package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/acme"
	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
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
	store       state.Connection
	identity    *identity.Service
	credentials *credential.Set
	audit       *audit.Log
	exports     []*telemetry.AuditExport // of audit's OTLP sinks
	limiter     limiter.Limiter
	shared      *limiter.Shared // the same where replicas share it; nil otherwise
	cache       *cache.Cache
	upstream    *proxy.Upstream
	proxy       *proxy.Proxy
	server      *server.Server
	checks      []server.Check      // what must be well for it to be ready
	certificate *server.Certificate // from files
	acme        *acme.Manager       // or from an ACME server
	reload      *reload
	traces      *telemetry.Traces // nil where none are exported
	level       *slog.LevelVar    // of the log
	memory      memory
}

// build makes everything and binds the listeners; nothing is answered yet. All wiring is here. The log goes to stderr.
func build(loaded *config.Loaded, getenv func(string) string, stderr io.Writer) (*gateway, error) {
	log, level, err := telemetry.Log(stderr, loaded.Telemetry.Log.Level, loaded.Telemetry.Log.Format)
	if err != nil {
		return nil, err
	}
	g := &gateway{started: time.Now(), config: loaded, getenv: getenv, log: log, level: level}
	if err := g.assemble(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) assemble() (err error) {
	file := &g.config.File
	registry := telemetry.Registry(buildVersion())
	trusted, err := clientaddr.Parse(file.Server.TrustedProxies)
	if err != nil {
		return err
	}
	if err := g.openShared(&file.State); err != nil {
		return err
	}
	if err := g.openIdentity(file); err != nil {
		return err
	}
	if g.upstream, err = newUpstream(file); err != nil {
		return err
	}
	if g.credentials, err = credential.New(credentialConfigs(g.config, g.upstream, g.store, g.keys, g.getenv), g.getenv); err != nil {
		return err
	}
	if err := g.openAudit(&file.Audit); err != nil {
		return err
	}
	tracer, err := g.openTraces(&file.Telemetry.OTLP)
	if err != nil {
		return err
	}
	if err := g.openLimiter(&file.Limits); err != nil {
		return err
	}
	if g.cache, err = cache.New(cache.Config{Memory: int64(file.Cache.Memory), StaleIfError: time.Duration(*file.Cache.StaleIfError),
		Timeout: time.Duration(file.Limits.MaxWait + file.Upstream.Timeout), Forwards: g.upstream.Forwards, IgnoreCookies: file.Cache.IgnoreCookies,
		Backplane: g.backplane, Keys: g.keys}); err != nil {
		return err
	}
	g.proxy = proxy.New(proxy.Config{
		Catalog: g.config.Catalog, Authenticate: g.identity.Authenticate, Credentials: g.credentials, Limiter: g.limiter, Cache: g.cache,
		Audit: g.audit, RecordSQL: file.Audit.SQL == config.SQLRedacted, Upstream: g.upstream, PublicURL: file.Server.PublicURL, MaxWait: time.Duration(file.Limits.MaxWait),
		TrustedProxies: trusted, Registry: registry, Tracer: tracer, Log: g.log,
	}, g.config.Policy)
	g.reload = newReload(g.config, g.setPolicy, registry, g.log)
	pages, err := portal.New(portal.Config{
		Identity: g.identity, Policy: g.proxy.Policy, Catalog: g.config.Catalog, PublicURL: file.Server.PublicURL,
		MaxTokenAge: time.Duration(file.Identity.Tokens.MaxAge), Resolve: g.proxy.Resolve, Names: g.proxy.Names, Quota: g.limiter.Snapshot, AuditLines: g.auditLines(&file.Audit),
		Audit: g.audit, Service: g.status, Purge: g.purge, Connect: g.connectApp(), Connected: g.credentials.Connected, TrustedProxies: trusted, Log: g.log,
	})
	if err != nil {
		return err
	}
	return g.listen(publicHandler(g.proxy, pages), trusted, registry)
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
	g.backplane, err = openRedis(s.Redis, g.getenv, g.log)
	return err
}

func openRedis(r *config.Redis, getenv func(string) string, log *slog.Logger) (_ *backplane.Backplane, err error) {
	place := backplane.Config{URL: r.URL, CAFile: r.CAFile, Log: log}
	if !r.Password.IsZero() {
		if place.Password, err = r.Password.Read(getenv); err != nil {
			return nil, err
		}
	}
	return backplane.Open(place)
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

func (g *gateway) listen(public http.Handler, trusted clientaddr.Trusted, registry *prometheus.Registry) (err error) {
	file := &g.config.File
	encrypted, err := g.openTLS(registry)
	if err != nil {
		return err
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
	if g.acme != nil {
		checks = append(checks, server.Check{Name: "certificate", Ready: g.acme.Ready})
	}
	g.checks = checks
	sockets, err := g.sockets()
	if err != nil {
		return err
	}
	plain := g.challenges()
	plain.Bound = sockets[plainSocket]
	g.server, err = server.Listen(server.Config{
		Listen: file.Server.Listen, Bound: sockets[publicSocket], Public: public, TLS: encrypted, Plain: plain, MaxBody: int64(file.Server.MaxBody),
		MaxConnections: file.Server.MaxConnections, TrustedProxies: trusted, Registry: registry,
		AdminListen: file.Admin.Listen, DrainDelay: time.Duration(*file.Server.DrainDelay), DrainTimeout: time.Duration(file.Server.DrainTimeout), Log: g.log,
		Admin: server.AdminHandler(registry, g.level, checks...),
	})
	return err
}

// run answers until ctx ends, then drains and closes everything.
func (g *gateway) run(ctx context.Context) error {
	background, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	watchers.Go(func() { g.identity.Warm(background) })
	watchers.Go(func() { g.identity.RefreshMembership(background) })
	watchers.Go(func() { g.credentials.Watch(background, g.log) })
	watchers.Go(func() { g.credentials.Record(background, g.store, g.log) })
	signal.Ignore(syscall.SIGPIPE) // a reader of standard output that leaves is the audit sink's fault to report
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	watchers.Go(func() {
		config.WatchFile(background, g.config.File.Policy.File, time.Second/2, hangup, g.reloadPolicy)
	})
	watchers.Go(func() { g.keepCertificate(background) })
	watchers.Go(func() { g.announce(background) })
	watchers.Go(func() { g.memory.follow(background, g.log) })
	draining, drained := context.WithCancel(context.WithoutCancel(ctx))
	watchers.Go(func() { g.watchdog(draining) })
	g.log.Info("gateway listening", "version", buildVersion(), "address", g.server.Addr().String(), "admin", g.server.AdminAddr().String(),
		"public_url", g.config.Server.PublicURL, "policy", g.config.Policy.Version())
	watchers.Go(func() {
		<-background.Done()
		g.tell(daemon.SdNotifyStopping)
	})
	g.tell(daemon.SdNotifyReady)
	err := g.server.Serve(ctx)
	signal.Stop(hangup)
	stop()
	drained()
	watchers.Wait()
	return errors.Join(err, g.close())
}

// close ends what was built, the last first: who writes ends before what is written to.
func (g *gateway) close() error {
	var faults []error
	if g.acme != nil {
		g.acme.Close()
	}
	if g.credentials != nil {
		g.credentials.Close()
	}
	if g.upstream != nil {
		g.upstream.Close()
	}
	if g.shared != nil {
		g.shared.Close()
	}
	faults = append(faults, g.closeAudit())
	if g.traces != nil {
		if err := g.traces.Close(); err != nil { // a collector that is away must not make a good ending a bad one
			g.log.Warn("the last traces were not exported", "error", err)
		}
	}
	if g.identity != nil {
		g.identity.Close()
	}
	if g.store != nil {
		faults = append(faults, g.store.Close())
	}
	if g.cache != nil {
		g.cache.Close()
	}
	if g.backplane != nil {
		faults = append(faults, g.backplane.Close())
	}
	return errors.Join(faults...)
}

// setPolicy puts a new policy in force. Callers that are remembered hold what the one before said of them, and with it all of
// it: they are recognised anew, or each policy would stay in memory for as long as the last of them.
func (g *gateway) setPolicy(rules *policy.Policy) {
	g.proxy.SetPolicy(rules)
	g.identity.Forget()
}
