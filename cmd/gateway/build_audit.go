package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/telemetry"
)

// openAudit opens the audit log with all its sinks.
func (g *gateway) openAudit(a *config.Audit) (err error) {
	out := audit.Config{Name: a.Name, KeyFile: a.Key.File, Flush: time.Duration(a.Flush), Log: g.log}
	for i, sink := range a.Sinks {
		configured := audit.Sink{Required: sink.Required}
		switch {
		case sink.File != nil:
			configured.File = auditFiles(sink.File)
		case sink.Redis != nil:
			configured.Shipper = auditStream(g.backplane, sink.Redis).Shipper(a.Name)
		case sink.OTLP != nil:
			if configured.Shipper, err = g.exportAudit(a.Name, sink.OTLP); err != nil {
				return fmt.Errorf("audit.sinks[%d].otlp.%w", i, err)
			}
		default:
			configured.Shipper = audit.Stdout(os.Stdout)
		}
		out.Sinks = append(out.Sinks, configured)
	}
	g.audit, err = audit.Open(out)
	return err
}

func auditFiles(f *config.FileSink) *audit.FileConfig {
	return &audit.FileConfig{Dir: f.Dir, MaxSize: int64(f.MaxSize), MaxAge: time.Duration(f.MaxAge), Keep: time.Duration(f.Retention), MaxTotal: int64(f.MaxTotal)}
}

func auditStream(shared *backplane.Backplane, r *config.RedisSink) *audit.Stream {
	return audit.NewStream(shared.Client(), r.Stream, r.MaxLen)
}

// exportAudit begins an export to a collector, which need not be there yet.
func (g *gateway) exportAudit(name string, o *config.Collector) (*audit.Shipper, error) {
	to, err := collector(o, g.getenv)
	if err != nil {
		return nil, err
	}
	export, err := telemetry.NewAuditExport(to, name)
	if err != nil {
		return nil, err
	}
	g.exports = append(g.exports, export)
	send := func(ctx context.Context, lines []byte) error {
		err := export.Send(ctx, lines)
		if errors.Is(err, telemetry.ErrRejected) {
			return fmt.Errorf("%w: %w", audit.ErrRejected, err)
		}
		return err
	}
	return &audit.Shipper{Name: "otlp", Send: send}, nil
}

func (g *gateway) closeAudit() error {
	var faults []error
	if g.audit != nil {
		faults = append(faults, g.audit.Close())
	}
	for _, export := range g.exports {
		if err := export.Close(context.Background()); err != nil { // everything was sent, or counted as lost
			g.log.Warn("the export of audit lines did not end well", "error", err)
		}
	}
	return errors.Join(faults...)
}

// auditLines is how the portal reads the log: from files where there are any, from Redis otherwise; nil where neither is.
func (g *gateway) auditLines(a *config.Audit) func(context.Context, audit.Filter) iter.Seq2[audit.Line, error] {
	switch {
	case a.Dir() != "":
		return audit.Dir(a.Dir()).Lines
	case a.Stream() != nil:
		return auditStream(g.backplane, a.Stream()).Lines
	}
	return nil
}

// auditSource is a log that can be read.
type auditSource interface {
	Lines(ctx context.Context, f audit.Filter) iter.Seq2[audit.Line, error]
	Follow(ctx context.Context, f audit.Filter) iter.Seq2[audit.Line, error]
}

// loadAuditDir is the folder of the first file sink.
func loadAuditDir(path string, getenv func(string) string) (string, error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return "", err
	}
	if dir := loaded.Audit.Dir(); dir != "" {
		return dir, nil
	}
	return "", fmt.Errorf("%s has no file sink under audit.sinks: there is nothing on this machine to read", filepath.Base(path))
}

// loadAuditSource finds the log of a configuration: which is files, redis, or auto for files where there are any and Redis
// otherwise. end gives back what was opened.
func loadAuditSource(path, which string, getenv func(string) string) (source auditSource, end func() error, err error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return nil, nil, err
	}
	dir, stream := loaded.Audit.Dir(), loaded.Audit.Stream()
	switch {
	case which == sourceRedis && stream == nil:
		return nil, nil, fmt.Errorf("--source redis: %s has no redis sink under audit.sinks", filepath.Base(path))
	case which == sourceFiles && dir == "", dir == "" && stream == nil:
		return nil, nil, fmt.Errorf("%s has no file sink under audit.sinks: there is nothing on this machine to read", filepath.Base(path))
	case which == sourceFiles, which == sourceAuto && dir != "":
		return audit.Dir(dir), func() error { return nil }, nil
	}
	shared, err := openRedis(loaded.State.Redis, getenv, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	return auditStream(shared, stream), shared.Close, nil
}
