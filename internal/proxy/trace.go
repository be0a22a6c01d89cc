package proxy

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"corp.example/gateway/internal/catalog"
)

// traceContext is how a trace travels: the W3C Trace Context headers.
var traceContext propagation.TraceContext

// tracing is the spans of one exchange: one for the request and one for the step it is in. The zero value traces nothing
// and costs nothing.
type tracing struct {
	tracer  trace.Tracer
	ctx     context.Context // the request's, with the span in it
	request trace.Span
	step    trace.Span
}

// beginTrace takes up the trace that the client's request belongs to, and begins the request's span where spans are
// exported. The request it returns carries both in its context, for the log lines and the steps.
func (p *Proxy) beginTrace(r *http.Request) (*http.Request, tracing) {
	if p.config.Tracer == nil && len(r.Header["Traceparent"]) == 0 {
		return r, tracing{}
	}
	ctx := traceContext.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if p.config.Tracer == nil {
		return r.WithContext(ctx), tracing{}
	}
	ctx, span := p.config.Tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), tracing{tracer: p.config.Tracer, ctx: ctx, request: span}
}

// traceID is the trace that a request belongs to, "" without one.
func traceID(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.HasTraceID() {
		return ""
	}
	return span.TraceID().String()
}

// enter ends the span of the last step and begins the next.
func (x *exchange) enter(step string) {
	if x.trace.request == nil || !x.trace.request.IsRecording() {
		return
	}
	x.trace.leave()
	_, x.trace.step = x.trace.tracer.Start(x.trace.ctx, step)
}

func (t *tracing) leave() {
	if t.step != nil {
		t.step.End()
	}
}

// end ends the request's span with what became of it: facts from closed sets, never a query, a body or a token.
func (t *tracing) end(x *exchange) {
	if t.request == nil {
		return
	}
	t.leave()
	if t.request.IsRecording() {
		name := x.r.Method
		if op := x.call.Op; op != nil {
			name = op.ID
			t.request.SetAttributes(semconv.HTTPRoute(op.Path))
		}
		t.request.SetName(name)
		t.request.SetAttributes(
			semconv.HTTPRequestMethodKey.String(x.r.Method),
			semconv.HTTPResponseStatusCode(x.answer.status),
			attribute.String("gateway.request_id", x.id),
			attribute.String("gateway.team", x.record.Team),
			attribute.String("gateway.outcome", x.record.Outcome),
			attribute.String("gateway.cache", x.record.Cache),
		)
		if x.answer.status >= http.StatusInternalServerError {
			t.request.SetStatus(codes.Error, x.record.Outcome)
		}
	}
	t.request.End()
}

// exemplar is the id of the trace that a measurement of this exchange may point at; "" where none is kept.
func (t *tracing) exemplar() string {
	if t.request == nil || !t.request.SpanContext().IsSampled() {
		return ""
	}
	return t.request.SpanContext().TraceID().String()
}

// span begins a span below the one in ctx, for work that may outlive the request that began it.
func (p *Proxy) span(ctx context.Context, name string, kind trace.SpanKind, op *catalog.Operation) (context.Context, trace.Span) {
	if p.config.Tracer == nil {
		return ctx, noop.Span{}
	}
	return p.config.Tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(semconv.HTTPRoute(op.Path)))
}

// answered notes upstream's status (0: none came) on the span of a call and ends it.
func answered(span trace.Span, status int) {
	if !span.IsRecording() {
		span.End() // without the attributes, which would be allocated for nothing
		return
	}
	if status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	} else {
		span.SetStatus(codes.Error, "no answer")
	}
	span.End()
}
