// Package telemetry builds what the gateway tells about itself: the log, the metrics registry and the export of traces.
//
// It only builds them; what is counted and logged is decided where it happens.
package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// Registry builds a metrics registry with the process's and the runtime's own metrics, and the version that runs.
func Registry(version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gateway_build_info", Help: "1, labelled with the version that runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	registry.MustRegister(
		build,
		// Deprecated for a package that also collects of database/sql, which would be compiled for nothing.
		prometheus.NewGoCollector(),                                       //lint:ignore SA1019 see above
		prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}), //lint:ignore SA1019 see above
	)
	return registry
}
