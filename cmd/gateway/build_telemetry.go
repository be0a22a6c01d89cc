package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/telemetry"
)

// openTraces begins the export of traces and returns what begins them; nil where none are exported.
func (g *gateway) openTraces(o *config.OTLP) (trace.Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	to, err := collector(&o.Collector, g.getenv)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp.%w", err)
	}
	if g.traces, err = telemetry.NewTraces(context.Background(), to, *o.Share, buildVersion(), g.log); err != nil {
		return nil, err
	}
	return g.traces.Tracer(), nil
}

// collector reads what a collector's headers are kept in.
func collector(o *config.Collector, getenv func(string) string) (telemetry.Collector, error) {
	to := telemetry.Collector{Endpoint: o.Endpoint, HTTP: o.Protocol == "http", CAFile: o.CAFile, Headers: map[string]string{}}
	for name, source := range o.Headers {
		value, err := source.Read(getenv)
		if err != nil {
			return to, fmt.Errorf("headers.%s: %w", name, err)
		}
		to.Headers[name] = value.Reveal()
	}
	return to, nil
}
