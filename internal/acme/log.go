package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// forwarder hands certmagic's log lines, which it writes by zap, to the process log.
type forwarder struct{ log *slog.Logger }

var levels = map[zapcore.Level]slog.Level{
	zapcore.DebugLevel: slog.LevelDebug,
	zapcore.InfoLevel:  slog.LevelInfo,
	zapcore.WarnLevel:  slog.LevelWarn,
}

func level(l zapcore.Level) slog.Level {
	if ours, known := levels[l]; known {
		return ours
	}
	return slog.LevelError
}

// Enabled implements zapcore.Core.
func (f forwarder) Enabled(l zapcore.Level) bool {
	return f.log.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (f forwarder) With(fields []zapcore.Field) zapcore.Core {
	return forwarder{f.log.With(attributes(fields)...)}
}

// Check implements zapcore.Core.
func (f forwarder) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if f.Enabled(entry.Level) {
		return checked.AddCore(entry, f)
	}
	return checked
}

// Write implements zapcore.Core.
func (f forwarder) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	f.log.Log(context.Background(), level(entry.Level), "certificates: "+entry.Message, attributes(fields)...)
	return nil
}

// Sync implements zapcore.Core.
func (forwarder) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	encoded := zapcore.NewMapObjectEncoder()
	var out []any
	for _, field := range fields {
		field.AddTo(encoded)
	}
	for key, value := range encoded.Fields {
		out = append(out, slog.Any(key, value))
	}
	return out
}
