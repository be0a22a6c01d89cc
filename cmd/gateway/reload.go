package main

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/policy"
)

// reload takes up a changed policy. A faulty one changes nothing; it is logged, and seen in the metric and in /readyz.
type reload struct {
	config  *config.Loaded
	set     func(*policy.Policy)
	success prometheus.Gauge
	log     *slog.Logger
	state   atomic.Pointer[attempt]
}

// attempt is how the last reading of the policy went.
type attempt struct {
	inForce time.Time // when the policy in force was read
	tried   time.Time // when a changed one was last read; zero: none was
	fault   error     // why that one is not in force
}

func newReload(loaded *config.Loaded, set func(*policy.Policy), registry prometheus.Registerer, log *slog.Logger) *reload {
	r := &reload{config: loaded, set: set, log: log,
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gateway_config_reload_success", Help: "1 while the policy in force is the policy in its file."})}
	r.success.Set(1)
	r.state.Store(&attempt{inForce: time.Now()})
	registry.MustRegister(r.success)
	r.warn(loaded.Policy)
	return r
}

func (r *reload) policy() {
	rules, err := config.LoadPolicy(r.config.File.Policy.File, r.config.Catalog, r.config.File.IssuerNames())
	if err != nil {
		r.state.Store(&attempt{inForce: r.last().inForce, tried: time.Now(), fault: err})
		r.success.Set(0)
		r.log.Error("the changed policy has faults; the one before stays in force", "error", err)
		return
	}
	r.set(rules)
	r.success.Set(1)
	now := time.Now()
	r.state.Store(&attempt{inForce: now, tried: now})
	r.log.Info("policy replaced", "version", rules.Version())
	r.warn(rules)
}

// warn tells of quota that is kept for a team which the policy does not have. It takes effect all the same: whoever takes a
// team out of the policy does not want to wait for its share.
func (r *reload) warn(rules *policy.Policy) {
	for _, i := range r.config.Limits.ReservedForNobody(rules.TeamNames()) {
		r.log.Warn("limits.reserve keeps a share of the quota that nobody can spend: the policy has no such team", "team", r.config.Limits.Reserve[i].Team)
	}
}

func (r *reload) healthy() error {
	return r.last().fault
}

// last is how it stands.
func (r *reload) last() attempt { return *r.state.Load() }
