package main

import (
	"log/slog"
	"sync/atomic"

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
	fault   atomic.Pointer[error]
}

func newReload(loaded *config.Loaded, set func(*policy.Policy), registry prometheus.Registerer, log *slog.Logger) *reload {
	r := &reload{config: loaded, set: set, log: log,
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gateway_config_reload_success", Help: "1 while the policy in force is the policy in its file."})}
	r.success.Set(1)
	registry.MustRegister(r.success)
	return r
}

func (r *reload) policy() {
	rules, err := config.LoadPolicy(r.config.File.Policy.File, r.config.Catalog, r.config.File.IssuerNames())
	if err != nil {
		r.fault.Store(&err)
		r.success.Set(0)
		r.log.Error("the changed policy has faults; the one before stays in force", "error", err)
		return
	}
	r.fault.Store(nil)
	r.success.Set(1)
	r.set(rules)
	r.log.Info("policy replaced", "version", rules.Version())
}

func (r *reload) healthy() error {
	if err := r.fault.Load(); err != nil {
		return *err
	}
	return nil
}
