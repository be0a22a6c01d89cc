package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Log builds the process log and the variable that holds its level. level is debug, info, warn or error; format is json
// or text. A line that is written with a context carries the trace that the context belongs to.
func Log(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, error) {
	current := new(slog.LevelVar)
	if err := current.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("log level: %w", err)
	}
	options := &slog.HandlerOptions{Level: current}
	if format == "text" {
		return slog.New(traced{slog.NewTextHandler(w, options)}), current, nil
	}
	return slog.New(traced{slog.NewJSONHandler(w, options)}), current, nil
}

// traced adds the trace id to lines.
type traced struct{ slog.Handler }

// Handle implements slog.Handler.
func (t traced) Handle(ctx context.Context, line slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		line = line.Clone()
		line.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	return t.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
