package e2e_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// receiver is a collector that remembers the spans it took, by trace.
type receiver struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans map[string][]string
}

// Export implements the collector's gRPC service.
func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spans == nil {
		r.spans = map[string][]string{}
	}
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				trace := string(span.TraceId)
				r.spans[trace] = append(r.spans[trace], span.Name)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP is the collector's HTTP side.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	data, _ := io.ReadAll(request.Body)
	var export collector.ExportTraceServiceRequest
	if request.URL.Path != "/v1/traces" || request.Header.Get("X-Key") != "collector-key" || proto.Unmarshal(data, &export) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = r.Export(request.Context(), &export)
}

func (r *receiver) trace(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spans[id]
}

const traceHex = "0af7651916cd43dd8448eb211c80319c"

var traceBytes = "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c"

func TestTracesReachACollector(t *testing.T) {
	for protocol, start := range map[string]func(*testing.T, *receiver) string{
		"http": func(t *testing.T, r *receiver) string {
			server := httptest.NewServer(r)
			t.Cleanup(server.Close)
			return server.URL
		},
		"grpc": func(t *testing.T, r *receiver) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			collector.RegisterTraceServiceServer(server, r)
			go func() { _ = server.Serve(listener) }()
			t.Cleanup(server.Stop)
			return "http://" + listener.Addr().String()
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r := &receiver{}
			g := harness.Start(t, harness.Options{
				Telemetry: "otlp: {endpoint: " + start(t, r) + ", protocol: " + protocol + ", share: 0, headers: {X-Key: {file: collector-key}}}, ",
				Files:     map[string]string{"collector-key": "collector-key"},
			})
			token := g.Token("payments")
			answer := g.Get(token, "/v1/projects/"+sandbox.Payments, "Traceparent", "00-"+traceHex+"-b7ad6b7169203331-01")
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("answered %d %s", answer.StatusCode, answer.Text)
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the exporter's batch is another process's
				if spans := strings.Join(r.trace(traceBytes), " "); strings.Contains(spans, "forward") && strings.Contains(spans, "v1-get-project") {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the collector has %q", r.trace(traceBytes))
				}
			}
			records := g.Audit(answer.Header.Get("X-Request-Id"))
			if got := records[len(records)-1].TraceID; got != traceHex {
				t.Errorf("the audit log has trace %q", got)
			}
			if !strings.Contains(g.Log(), `"trace_id":"`+traceHex+`"`) {
				t.Error("no log line carries the trace")
			}
			if strings.Contains(g.Log(), "collector-key") {
				t.Error("the collector's key is in the log")
			}
		})
	}
}

func TestACollectorThatIsAwayCostsNothing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	g := harness.Start(t, harness.Options{Telemetry: "otlp: {endpoint: \"http://" + listener.Addr().String() + "\", share: 1}, "})
	token := g.Token("payments")
	began := time.Now()
	for range 200 {
		if answer := g.Get(token, "/v1/projects/"+sandbox.Payments); answer.StatusCode != http.StatusOK {
			t.Fatalf("answered %d %s", answer.StatusCode, answer.Text)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("200 requests took %s with the collector away", took)
	}
}
