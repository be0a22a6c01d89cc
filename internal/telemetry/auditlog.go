package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"corp.example/gateway/internal/trust"
)

// AuditExport sends audit lines to a collector as OpenTelemetry logs. One goroutine may use it at a time.
type AuditExport struct {
	exporter sdklog.Exporter
	provider *sdklog.LoggerProvider
	logger   log.Logger
	batch    *gathered
}

// NewAuditExport makes the connection's parts; it does not wait for the collector. instance says which replica this is.
func NewAuditExport(to Collector, instance string) (*AuditExport, error) {
	exporter, err := newLogExporter(to)
	if err != nil {
		return nil, fmt.Errorf("exporting audit lines to %s: %w", to.Endpoint, err)
	}
	batch := &gathered{}
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(batch), sdklog.WithAttributeValueLengthLimit(-1),
		sdklog.WithResource(resource.NewSchemaless(semconv.ServiceName("gateway"), semconv.ServiceInstanceID(instance))))
	return &AuditExport{exporter: exporter, provider: provider, logger: provider.Logger("corp.example/gateway/audit"), batch: batch}, nil
}

// newLogExporter makes an exporter that tries once: the audit queue keeps the lines and tries again itself.
func newLogExporter(to Collector) (sdklog.Exporter, error) {
	tlsConfig, err := trust.Client(to.CAFile)
	if err != nil {
		return nil, err
	}
	secure := strings.HasPrefix(to.Endpoint, "https:") // the exporters refuse, or prefer, TLS options beside an http URL
	if to.HTTP {
		options := []otlploghttp.Option{otlploghttp.WithEndpointURL(strings.TrimSuffix(to.Endpoint, "/") + "/v1/logs"), otlploghttp.WithHeaders(to.Headers),
			otlploghttp.WithRetry(otlploghttp.RetryConfig{}), otlploghttp.WithCompression(otlploghttp.GzipCompression)}
		if secure {
			options = append(options, otlploghttp.WithTLSClientConfig(tlsConfig))
		}
		return otlploghttp.New(context.Background(), options...)
	}
	options := []otlploggrpc.Option{otlploggrpc.WithEndpointURL(to.Endpoint), otlploggrpc.WithHeaders(to.Headers),
		otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}), otlploggrpc.WithCompressor("gzip")}
	if secure {
		options = append(options, otlploggrpc.WithTLSCredentials(credentials.NewTLS(tlsConfig)))
	}
	return otlploggrpc.New(context.Background(), options...)
}

// Send exports whole lines and returns once the collector has them, or an error when it may not have all of them. The error
// has ErrRejected where the collector would refuse the same lines again.
func (a *AuditExport) Send(ctx context.Context, lines []byte) error {
	a.batch.records = a.batch.records[:0]
	for line := range bytes.Lines(lines) {
		a.emit(bytes.TrimSuffix(line, []byte("\n")))
	}
	err := a.exporter.Export(ctx, a.batch.records)
	switch {
	case err == nil, strings.Contains(err.Error(), warned):
		return nil
	case rejected(err):
		return fmt.Errorf("exporting audit lines: %w: %w", ErrRejected, err)
	}
	return fmt.Errorf("exporting audit lines: %w", err)
}

// ErrRejected says that the collector refuses a record as such: it took a part of the batch (OTLP's partial success), or it
// called the request malformed or too large. Everything else, refused credentials among it, may pass or be mended.
var ErrRejected = errors.New("the collector rejects them")

// The exporters' own errors are not exported: these are their words. A partial success that rejects nothing is a warning.
const (
	partly = "OTLP partial success: "
	warned = " (0 logs rejected)"
)

func rejected(err error) bool {
	text := err.Error()
	for _, code := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity} {
		if strings.Contains(text, fmt.Sprintf(": %d %s (body: ", code, http.StatusText(code))) {
			return true
		}
	}
	return strings.HasPrefix(text, partly) || status.Code(err) == codes.InvalidArgument
}

// emit makes one line a log record: the body is the line itself, byte for byte, and what collectors sort by stands beside it.
func (a *AuditExport) emit(line []byte) {
	var head struct {
		Time      time.Time `json:"time"`
		Phase     string    `json:"phase"`
		RequestID string    `json:"request_id"`
		TraceID   string    `json:"trace_id"`
		Operation string    `json:"operation"`
		Team      string    `json:"team"`
	}
	_ = json.Unmarshal(line, &head) // the log writes its own lines; the body says it all anyway
	var record log.Record
	record.SetEventName("gateway.audit")
	record.SetTimestamp(head.Time)
	record.SetObservedTimestamp(head.Time)
	record.SetSeverity(log.SeverityInfo)
	record.SetBody(attribute.StringValue(string(line)))
	for _, a := range [...]struct{ key, value string }{
		{"audit.phase", head.Phase}, {"audit.request_id", head.RequestID}, {"audit.operation", head.Operation}, {"audit.team", head.Team},
	} {
		if a.value != "" {
			record.AddAttributes(attribute.String(a.key, a.value))
		}
	}
	ctx := context.Background()
	if id, err := trace.TraceIDFromHex(head.TraceID); err == nil {
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
	}
	a.logger.Emit(ctx, record)
}

// Close releases the connection. Nothing is kept that would have to be sent.
func (a *AuditExport) Close(ctx context.Context) error {
	return errors.Join(a.provider.Shutdown(ctx), a.exporter.Shutdown(ctx))
}

// gathered is a processor that keeps what was emitted until it is exported as one batch, so that whoever sends learns how
// that went; the SDK's own processors report to a global error handler.
type gathered struct{ records []sdklog.Record }

func (g *gathered) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

func (g *gathered) OnEmit(_ context.Context, r *sdklog.Record) error {
	g.records = append(g.records, r.Clone())
	return nil
}

func (g *gathered) Shutdown(context.Context) error   { return nil }
func (g *gathered) ForceFlush(context.Context) error { return nil }
