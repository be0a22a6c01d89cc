package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"corp.example/gateway/internal/sandbox"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	sampled     = "Traceparent: 00-" + clientTrace + "-b7ad6b7169203331-01"
	unsampled   = "Traceparent: 00-" + clientTrace + "-b7ad6b7169203331-00"
)

// tracedLine is a line whose spans are recorded, and an upstream that remembers the trace it was told.
func tracedLine(t *testing.T) (*line, *tracetest.SpanRecorder, *string) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	told := new(string)
	l := newLine(t, options{tracer: provider.Tracer("test"), upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*told = r.Header.Get("Traceparent")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"` + sandbox.Payments + `"}`))
	})})
	return l, spans, told
}

func names(spans *tracetest.SpanRecorder) string {
	var out []string
	for _, span := range spans.Ended() {
		out = append(out, span.Name())
	}
	return strings.Join(out, ", ")
}

func TestATraceShowsEachStepOfTheWay(t *testing.T) {
	l, spans, told := tracedLine(t)
	if a := l.call(t.Context(), "GET", "/v1/projects/"+sandbox.Payments+"?secret=in-query", "", sampled); a.Code != http.StatusOK {
		t.Fatalf("answered %d %s", a.Code, a.Body)
	}
	const miss = "parse, identify, resolve, authorise, intent, queue, forward, look up, narrow, respond, v1-get-project"
	if got := names(spans); got != miss {
		t.Errorf("a miss has the spans\n%s, want\n%s", got, miss)
	}
	root := spans.Ended()[len(spans.Ended())-1]
	for _, span := range spans.Ended() {
		if span.SpanContext().TraceID().String() != clientTrace {
			t.Errorf("%s is of the trace %s, want the client's", span.Name(), span.SpanContext().TraceID())
		}
		if span != root && span.Parent().SpanID() != root.SpanContext().SpanID() {
			t.Errorf("%s does not stand below the request", span.Name())
		}
		for _, attribute := range span.Attributes() {
			if text := attribute.Value.String(); strings.Contains(text, "in-query") || strings.Contains(text, "caller") {
				t.Errorf("%s carries %s=%s", span.Name(), attribute.Key, text)
			}
		}
	}
	if !strings.Contains(*told, clientTrace) {
		t.Errorf("upstream was told the trace %q", *told)
	}

	spans.Reset()
	l.call(t.Context(), "GET", "/v1/projects/"+sandbox.Payments+"?secret=in-query", "", sampled)
	if got, want := names(spans), strings.Replace(miss, "queue, forward, ", "", 1); got != want {
		t.Errorf("a hit has the spans\n%s, want\n%s", got, want)
	}
}

func TestARefusedRequestsTraceEndsWhereItWasRefused(t *testing.T) {
	l, spans, _ := tracedLine(t)
	l.token = "stranger"
	l.call(t.Context(), "GET", "/v1/projects", "", sampled)
	if got := names(spans); got != "parse, identify, v1-list-all-projects" {
		t.Errorf("spans %s", got)
	}
}

func TestWhatTheClientDoesNotSampleIsNotTraced(t *testing.T) {
	l, spans, _ := tracedLine(t)
	l.call(t.Context(), "GET", "/v1/projects/"+sandbox.Payments, "", unsampled)
	if got := names(spans); got != "" {
		t.Errorf("spans %s", got)
	}
}

func TestASampledRequestIsTheExemplarOfItsDuration(t *testing.T) {
	l, _, _ := tracedLine(t)
	l.call(t.Context(), "GET", "/v1/projects/"+sandbox.Payments, "", sampled)
	families, err := l.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "gateway_request_duration_seconds" {
			continue
		}
		for _, bucket := range family.Metric[0].Histogram.Bucket {
			if labels := bucket.GetExemplar().GetLabel(); len(labels) == 1 && labels[0].GetName() == "trace_id" && labels[0].GetValue() == clientTrace {
				return
			}
		}
	}
	t.Error("no bucket of gateway_request_duration_seconds points at the trace")
}

func TestUpstreamIsToldNothingWhereNothingIsTraced(t *testing.T) {
	var told []string
	l := newLine(t, options{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told = append(told, r.Header.Get("Traceparent")+r.Header.Get("Tracestate"))
		_, _ = w.Write([]byte(`{}`))
	})})
	l.call(t.Context(), "GET", "/v1/projects/"+sandbox.Payments, "", sampled)
	if len(told) != 1 || told[0] != "" {
		t.Errorf("upstream was told %q", told)
	}
}
