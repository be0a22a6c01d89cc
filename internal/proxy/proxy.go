// Package proxy is the request's way through the gateway, as one straight line of numbered steps (serve.go). It is the
// only package that knows their order; each step is the work of one other package.
//
// Invariants: what policy judged is byte for byte what upstream gets; the upstream credential is added last and nowhere
// else; every request, however it ends, leaves one audit record; nothing is shown that this caller may not see, whether
// it came from upstream or from the cache.
package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/clientaddr"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/inventory"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/policy"
)

// Config is what the line is made of. All of it is required but for TrustedProxies and Tracer.
type Config struct {
	Catalog        *catalog.Catalog
	Authenticate   func(ctx context.Context, authorization []string, client netip.Addr) (*identity.Caller, error)
	Credentials    *credential.Set
	Limiter        limiter.Limiter
	Cache          *cache.Cache
	Audit          *audit.Log
	Upstream       *Upstream
	PublicURL      string        // where clients reach the gateway, without a slash at its end
	MaxWait        time.Duration // the longest a request queues
	TrustedProxies clientaddr.Trusted
	RecordSQL      bool // audit records hold SQL statements without their literals
	Registry       prometheus.Registerer
	Tracer         trace.Tracer // nil: nothing is traced
	Log            *slog.Logger
}

// Proxy answers the proxied API.
type Proxy struct {
	config    Config
	inventory *inventory.Inventory
	policy    atomic.Pointer[policy.Policy]
	metrics   *metrics
	shadows   shadows
	exchanges sync.Pool
}

// New builds the line. Rules are the first policy; SetPolicy replaces it.
func New(config Config, rules *policy.Policy) *Proxy {
	config.PublicURL = strings.TrimSuffix(config.PublicURL, "/")
	p := &Proxy{config: config, metrics: newMetrics(config.Registry), exchanges: sync.Pool{New: func() any { return new(exchange) }}}
	p.inventory = inventory.New(p.lookUp)
	p.policy.Store(rules)
	config.Registry.MustRegister(newState(config))
	return p
}

// SetPolicy puts a new policy in force for every request that begins from now on.
func (p *Proxy) SetPolicy(rules *policy.Policy) { p.policy.Store(rules) }

// Policy returns the policy in force.
func (p *Proxy) Policy() *policy.Policy { return p.policy.Load() }
