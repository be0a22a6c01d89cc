package e2e

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // the gateway compresses

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// logReceiver is a collector of logs that rejects every batch with certain words in it.
type logReceiver struct {
	logs.UnimplementedLogsServiceServer

	words string

	mu    sync.Mutex
	lines []string // in the order in which they came; some twice
}

// Export implements the collector's gRPC service.
func (r *logReceiver) Export(_ context.Context, request *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	var lines []string
	for _, resource := range request.ResourceLogs {
		for _, scope := range resource.ScopeLogs {
			for _, record := range scope.LogRecords {
				lines = append(lines, record.Body.GetStringValue())
			}
		}
	}
	if r.words != "" && strings.Contains(strings.Join(lines, ""), r.words) {
		return &logs.ExportLogsServiceResponse{PartialSuccess: &logs.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "not this one"}}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, lines...)
	return &logs.ExportLogsServiceResponse{}, nil
}

func (r *logReceiver) has(words string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.lines, func(line string) bool { return strings.Contains(line, words) })
}

// serve starts the collector and returns its URL.
func (r *logReceiver) serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	logs.RegisterLogsServiceServer(server, r)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

const beside = "audit: {flush: 10ms, sinks: [{file: {dir: state/audit}, required: true}, {otlp: {endpoint: \"COLLECTOR\", protocol: grpc}}]}\n"

// TestAuditReachesACollector: the lines arrive as they stand in the log, and a record that the collector always rejects
// holds up neither calls nor other records.
func TestAuditReachesACollector(t *testing.T) {
	t.Parallel()
	r := &logReceiver{words: "v1-list-all-functions"}
	g := harness.Start(t, harness.Options{Config: strings.Replace(beside, "COLLECTOR", r.serve(t), 1)})
	ada := g.JWT("ada")
	if a := g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`); a.StatusCode != http.StatusCreated {
		t.Fatalf("answered %d %s", a.StatusCode, a.Text)
	}
	waitFor(t, "the write's outcome", func() bool { return r.has(`"phase":"outcome"`) && r.has(`"operation":"v1-bulk-create-secrets"`) })
	if !r.has(`"phase":"intent"`) || r.has(`"value"`) {
		t.Errorf("the collector has %q", r.lines)
	}

	rejected := g.Get(ada, "/v1/projects/"+sandbox.Payments+"/functions")
	after := g.Get(ada, "/v1/projects/"+sandbox.Payments)
	if rejected.StatusCode != http.StatusOK || after.StatusCode != http.StatusOK {
		t.Errorf("reads are answered %d and %d", rejected.StatusCode, after.StatusCode)
	}
	waitFor(t, "the record after the rejected one", func() bool { return r.has(after.Header.Get("X-Request-Id")) })
	waitFor(t, "the rejected record to be counted", func() bool {
		_, metrics := operator(t, g, "/metrics")
		return strings.Contains(metrics, `gateway_audit_records_total{result="dropped",sink="otlp2"} 1`)
	})
	if n := len(g.Audit(rejected.Header.Get("X-Request-Id"))); n != 1 {
		t.Errorf("the files have %d records of the read that the collector rejected, want 1", n)
	}
}
