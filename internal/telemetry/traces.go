package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"corp.example/gateway/internal/trust"
)

// Bounds on what waits for a collector that is slow or away: spans beyond them are dropped and no request waits. 2048
// spans of some 1 KiB are 2 MiB; a collector that has not taken a batch within 5 s will not take it at all.
const (
	spanQueue     = 2048
	exportTimeout = 5 * time.Second
)

// Traces exports the gateway's spans.
type Traces struct{ provider *sdktrace.TracerProvider }

// NewTraces begins to export to the collector. share is the part of the requests that is traced, from 0 to 1, where the
// client's own trace context does not decide it. The collector need not be there: what it does not take is dropped, and
// said in the log once a minute.
func NewTraces(ctx context.Context, to Collector, share float64, version string, log *slog.Logger) (*Traces, error) {
	exporter, err := newSpanExporter(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp: %w", err)
	}
	// The SDK reports what its exporters meet to one handler of the process, which prints by itself unless it is set.
	otel.SetErrorHandler(&quiet{log: log})
	return &Traces{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(spanQueue), sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("gateway"), semconv.ServiceVersion(version))),
	)}, nil
}

// Tracer begins spans.
func (t *Traces) Tracer() trace.Tracer { return t.provider.Tracer("corp.example/gateway") }

// Close exports what still waits, for at most the time an export may take.
func (t *Traces) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

func newSpanExporter(ctx context.Context, to Collector) (*otlptrace.Exporter, error) {
	tlsConfig, err := trust.Client(to.CAFile)
	if err != nil {
		return nil, err
	}
	encrypted := strings.HasPrefix(to.Endpoint, "https:")
	if to.HTTP {
		options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(strings.TrimSuffix(to.Endpoint, "/") + "/v1/traces"),
			otlptracehttp.WithHeaders(to.Headers), otlptracehttp.WithTimeout(exportTimeout)}
		if encrypted {
			options = append(options, otlptracehttp.WithTLSClientConfig(tlsConfig))
		}
		return otlptracehttp.New(ctx, options...)
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(to.Endpoint), otlptracegrpc.WithHeaders(to.Headers), otlptracegrpc.WithTimeout(exportTimeout)}
	if encrypted {
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(tlsConfig)))
	}
	return otlptracegrpc.New(ctx, options...)
}

// quiet says in the log at most once a minute that telemetry is not taken: a collector may be away for days.
type quiet struct {
	log  *slog.Logger
	last atomic.Int64 // Unix seconds of the last line
}

// Handle implements otel.ErrorHandler.
func (q *quiet) Handle(err error) {
	now, last := time.Now().Unix(), q.last.Load()
	if now-last >= 60 && q.last.CompareAndSwap(last, now) {
		q.log.Warn("telemetry is not exported and what waits too long is dropped", "error", err)
	}
}
