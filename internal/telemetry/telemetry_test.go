package telemetry_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"corp.example/gateway/internal/telemetry"
)

func TestLogHasTheFormatAndLevelAskedFor(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"shown"`, "text": "msg=shown"} {
		var out bytes.Buffer
		log, _, err := telemetry.Log(&out, "warn", format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hidden")
		log.Warn("shown")
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s log: %s", format, out.String())
		}
	}
	if _, _, err := telemetry.Log(&bytes.Buffer{}, "loud", "json"); err == nil {
		t.Error("an unknown level was taken")
	}
}

func TestRegistryDescribesTheProcess(t *testing.T) {
	families, err := telemetry.Registry("1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, family := range families {
		found[family.GetName()] = family.Metric[0].String()
	}
	for name, holds := range map[string]string{"gateway_build_info": "1.2.3", "go_goroutines": "", "process_resident_memory_bytes": ""} {
		if text, there := found[name]; !there || !strings.Contains(text, holds) {
			t.Errorf("%s is %q, want it with %q", name, text, holds)
		}
	}
}

func TestLinesOfATraceCarryIt(t *testing.T) {
	var out bytes.Buffer
	log, level, err := telemetry.Log(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	id := trace.TraceID{15: 7}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}}))
	log.With("a", "b").WithGroup("g").InfoContext(ctx, "with")
	log.InfoContext(t.Context(), "without")
	log.Debug("hidden")
	level.Set(slog.LevelDebug)
	log.Debug("shown")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], id.String()) || strings.Contains(lines[1], "trace_id") || strings.Contains(out.String(), "hidden") || !strings.Contains(out.String(), "shown") {
		t.Errorf("log:\n%s", out.String())
	}
}
