package telemetry_test

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"corp.example/gateway/internal/telemetry"
)

const (
	lineOne = `{"v":1,"time":"2026-01-02T15:04:05.000000Z","phase":"outcome","id":"a","request_id":"r1","trace_id":"0af7651916cd43dd8448eb211c80319c","team":"payments","operation":"v1-get-project","seq":1,"prev":"00"}`
	lineTwo = `{"v":1,"time":"2026-01-02T15:04:06.000000Z","phase":"checkpoint","chain":"audit","seq":2,"prev":"01"}`
)

// receiver is a collector that keeps the last request and answers as it is told.
type receiver struct {
	collector.UnimplementedLogsServiceServer
	answer func(ctx context.Context) (*collector.ExportLogsServiceResponse, error)
	got    atomic.Pointer[collector.ExportLogsServiceRequest]
	key    atomic.Pointer[string] // header x-key
}

func (r *receiver) Export(ctx context.Context, in *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	r.got.Store(in)
	if values := metadata.ValueFromIncomingContext(ctx, "x-key"); len(values) > 0 {
		r.key.Store(&values[0])
	}
	return r.answer(ctx)
}

// ServeHTTP is the same over HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	unzip, err := gzip.NewReader(request.Body)
	if err != nil || request.URL.Path != "/v1/logs" {
		http.Error(w, request.URL.Path, http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(unzip)
	in := &collector.ExportLogsServiceRequest{}
	if err != nil || proto.Unmarshal(data, in) != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	out, err := r.Export(metadata.NewIncomingContext(request.Context(), metadata.Pairs("x-key", request.Header.Get("X-Key"))), in)
	if err != nil {
		codes := map[codes.Code]int{codes.InvalidArgument: http.StatusBadRequest, codes.Unauthenticated: http.StatusUnauthorized, codes.Unavailable: http.StatusServiceUnavailable}
		http.Error(w, err.Error(), cmp.Or(codes[status.Code(err)], http.StatusServiceUnavailable))
		return
	}
	body, _ := proto.Marshal(out)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

// export starts r with one of the protocols and returns what sends to it.
func (r *receiver) export(t *testing.T, overHTTP bool) *telemetry.AuditExport {
	t.Helper()
	var url string
	if overHTTP {
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		url = server.URL
	} else {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		collector.RegisterLogsServiceServer(server, r)
		go func() { _ = server.Serve(listener) }() // ends with Stop
		t.Cleanup(server.Stop)
		url = "http://" + listener.Addr().String()
	}
	export, err := telemetry.NewAuditExport(telemetry.Collector{Endpoint: url, HTTP: overHTTP, Headers: map[string]string{"x-key": "k"}}, "replica-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { export.Close(context.Background()) })
	return export
}

func each(t *testing.T, test func(t *testing.T, overHTTP bool)) {
	t.Run("grpc", func(t *testing.T) { test(t, false) })
	t.Run("http", func(t *testing.T) { test(t, true) })
}

func TestAuditLinesArriveAsTheyStand(t *testing.T) {
	each(t, func(t *testing.T, overHTTP bool) {
		r := &receiver{answer: func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return &collector.ExportLogsServiceResponse{}, nil
		}}
		export := r.export(t, overHTTP)
		for range 2 { // nothing of the first batch is left in the second
			if err := export.Send(t.Context(), []byte(lineOne+"\n"+lineTwo+"\n")); err != nil {
				t.Fatal(err)
			}
		}
		if key := r.key.Load(); key == nil || *key != "k" {
			t.Errorf("header x-key = %v", key)
		}
		var records []*logs.LogRecord
		for _, resource := range r.got.Load().ResourceLogs {
			for _, scope := range resource.ScopeLogs {
				records = append(records, scope.LogRecords...)
			}
		}
		if len(records) != 2 || records[0].Body.GetStringValue() != lineOne || records[1].Body.GetStringValue() != lineTwo {
			t.Fatalf("received %v", records)
		}
		first := records[0]
		if got := time.Unix(0, int64(first.TimeUnixNano)).UTC(); got != time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) || len(first.TraceId) != 16 || first.EventName != "gateway.audit" || len(first.Attributes) != 4 {
			t.Errorf("record %v", first)
		}
	})
}

func TestACollectorThatDoesNotTakeLinesIsAnError(t *testing.T) {
	for name, answer := range map[string]func(context.Context) (*collector.ExportLogsServiceResponse, error){
		"refuses": func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return nil, status.Error(codes.Unavailable, "not now")
		},
		"hangs": func(ctx context.Context) (*collector.ExportLogsServiceResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"takes a part": func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "too many"}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, overHTTP bool) {
				r := &receiver{answer: answer}
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				if err := r.export(t, overHTTP).Send(ctx, []byte(lineOne+"\n")); err == nil {
					t.Error("no error")
				}
				if r.got.Load() == nil {
					t.Error("nothing was sent")
				}
			})
		})
	}
}

// TestWhatTheCollectorRejectsForGood tells lines that it would refuse again from a collector that is in trouble.
func TestWhatTheCollectorRejectsForGood(t *testing.T) {
	partial := func(rejected int64, message string) func(context.Context) (*collector.ExportLogsServiceResponse, error) {
		return func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: message}}, nil
		}
	}
	refuse := func(code codes.Code, words string) func(context.Context) (*collector.ExportLogsServiceResponse, error) {
		return func(context.Context) (*collector.ExportLogsServiceResponse, error) {
			return nil, status.Error(code, words)
		}
	}
	for name, c := range map[string]struct {
		answer         func(context.Context) (*collector.ExportLogsServiceResponse, error)
		fails, forGood bool
	}{
		"a part":                       {partial(1, "too old"), true, true},
		"a part, without a word":       {partial(1, ""), true, true},
		"nothing, with a warning":      {partial(0, "deprecated"), false, false},
		"a malformed request":          {refuse(codes.InvalidArgument, "what is this"), true, true},
		"no credentials":               {refuse(codes.Unauthenticated, "who are you"), true, false},
		"not now":                      {refuse(codes.Unavailable, "later"), true, false},
		"not now, in misleading words": {refuse(codes.Unavailable, ": 400 Bad Request"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, overHTTP bool) {
				r := &receiver{answer: c.answer}
				err := r.export(t, overHTTP).Send(t.Context(), []byte(lineOne+"\n"))
				if (err != nil) != c.fails || errors.Is(err, telemetry.ErrRejected) != c.forGood {
					t.Errorf("Send = %v, want an error %t, for good %t", err, c.fails, c.forGood)
				}
			})
		})
	}
}

func TestACollectorThatIsNotThereIsAnErrorAtOnce(t *testing.T) {
	each(t, func(t *testing.T, overHTTP bool) {
		export, err := telemetry.NewAuditExport(telemetry.Collector{Endpoint: "http://127.0.0.1:1", HTTP: overHTTP}, "audit")
		if err != nil {
			t.Fatal(err)
		}
		defer export.Close(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := export.Send(ctx, []byte(lineOne+"\n")); err == nil || ctx.Err() != nil {
			t.Errorf("Send = %v, %v", err, ctx.Err())
		}
	})
}
