package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"corp.example/gateway/internal/strictyaml"
)

// Audit says where the audit log goes.
type Audit struct {
	// Name is this replica's chain, and the prefix of its files: replicas that share a folder or a stream need one each.
	// Default "audit".
	Name string `yaml:"name"`
	// Key is where the Ed25519 key (PEM, PKCS #8) is kept that signs checkpoints. Default: NAME.key in the sink's folder,
	// made at the first start.
	Key KeyFile `yaml:"key"`
	// Sinks get every record. Default: one required file sink in audit/ below state.dir.
	Sinks []Sink `yaml:"sinks"`
	// Flush is the longest a read's record stays in memory. Default 1s.
	Flush strictyaml.Duration `yaml:"flush" zero:"no"`
	// SQL is what the record of a database query tells of it besides the SHA-256 of its body: digest, nothing more, or
	// redacted, the statement with every literal replaced. Default digest.
	SQL string `yaml:"sql" jsonschema:"enum=digest,enum=redacted"`
}

// The values of Audit.SQL.
const (
	SQLDigest   = "digest"
	SQLRedacted = "redacted"
)

// KeyFile names a private key.
type KeyFile struct {
	File string `yaml:"file"`
}

// Sink is one place for audit records: exactly one of a file sink, stdout, a Redis stream and an OTLP receiver.
type Sink struct {
	File   *FileSink  `yaml:"file"`
	Stdout bool       `yaml:"stdout"`
	Redis  *RedisSink `yaml:"redis"`
	OTLP   *Collector `yaml:"otlp"`
	// Required: without it recording, writes are refused.
	Required bool `yaml:"required"`
}

// FileSink keeps records in files of one folder.
type FileSink struct {
	Dir string `yaml:"dir"`
	// MaxSize of one file before the next is begun. Default 64MiB.
	MaxSize strictyaml.Bytes `yaml:"max_size" zero:"no"`
	// MaxAge of one file before the next is begun. Default 24h.
	MaxAge strictyaml.Duration `yaml:"max_age" zero:"no"`
	// Retention is how long ended files are kept. Default 400d.
	Retention strictyaml.Duration `yaml:"retention" zero:"no"`
	// MaxTotal bounds all files together; the oldest go first. Default 50GiB.
	MaxTotal strictyaml.Bytes `yaml:"max_total" zero:"no"`
}

// RedisSink adds records to a stream of the Redis that state.redis names.
type RedisSink struct {
	// Stream is its key. Default "gateway:audit".
	Stream string `yaml:"stream"`
	// MaxLen is how many records it keeps, about; the oldest go first. Default 100000, some 80 MiB of Redis's memory.
	MaxLen int64 `yaml:"max_len" zero:"no"`
}

func (a *Audit) fillDefaults(stateDir string) {
	setDefault(&a.Name, "audit")
	setDefault(&a.Flush, strictyaml.Duration(time.Second))
	setDefault(&a.SQL, SQLDigest)
	if len(a.Sinks) == 0 {
		a.Sinks = []Sink{{File: &FileSink{Dir: filepath.Join(stateDir, "audit")}, Required: true}}
	}
	for _, sink := range a.Sinks {
		switch {
		case sink.File != nil:
			setDefault(&sink.File.MaxSize, 64<<20)
			setDefault(&sink.File.MaxAge, strictyaml.Duration(24*time.Hour))
			setDefault(&sink.File.Retention, strictyaml.Duration(400*24*time.Hour))
			setDefault(&sink.File.MaxTotal, 50<<30)
		case sink.Redis != nil:
			setDefault(&sink.Redis.Stream, "gateway:audit")
			setDefault(&sink.Redis.MaxLen, 100_000)
		case sink.OTLP != nil:
			setDefault(&sink.OTLP.Protocol, "grpc")
		}
	}
}

// Dir is the folder of the first file sink, which is the one that is searched; "" without one.
func (a *Audit) Dir() string {
	for _, sink := range a.Sinks {
		if sink.File != nil {
			return sink.File.Dir
		}
	}
	return ""
}

// Stream is the first Redis sink, which is searched where there are no files; nil without one.
func (a *Audit) Stream() *RedisSink {
	for _, sink := range a.Sinks {
		if sink.Redis != nil {
			return sink.Redis
		}
	}
	return nil
}

// paths are those of the section, to be made absolute.
func (a *Audit) paths() []*string {
	paths := []*string{&a.Key.File}
	for _, sink := range a.Sinks {
		switch {
		case sink.File != nil:
			paths = append(paths, &sink.File.Dir)
		case sink.OTLP != nil:
			paths = append(paths, sink.OTLP.paths()...)
		}
	}
	return paths
}

func (v *validation) audit(a *Audit, s *State) {
	if !nameForm.MatchString(a.Name) || len(a.Name) > 40 {
		v.fault(fmt.Sprintf("%q is no name: use at most 40 lower-case letters, digits and inner dashes", a.Name), "audit", "name")
	}
	if a.SQL != SQLDigest && a.SQL != SQLRedacted {
		v.fault(fmt.Sprintf("%q is not one of %s, %s", a.SQL, SQLDigest, SQLRedacted), "audit", "sql")
	}
	if a.Key.File != "" {
		if _, err := os.Stat(a.Key.File); err != nil {
			v.fault(err.Error(), "audit", "key", "file")
		}
	}
	for i := range a.Sinks {
		v.sink(&a.Sinks[i], s, "audit", "sinks", i)
	}
	if !slices.ContainsFunc(a.Sinks, func(s Sink) bool { return s.Required }) {
		v.fault("none is required: mark one with required: true, or a write could go unrecorded", "audit", "sinks")
	}
}

func (v *validation) sink(sink *Sink, s *State, path ...any) {
	at := func(keys ...any) []any { return append(slices.Clone(path), keys...) }
	kinds := 0
	for _, named := range []bool{sink.File != nil, sink.Stdout, sink.Redis != nil, sink.OTLP != nil} {
		if named {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		v.fault("wants one of {file: {dir: PATH}}, {stdout: true}, {redis: {stream: KEY}} and {otlp: {endpoint: URL}}", path...)
	case sink.File != nil && sink.File.Dir == "":
		v.fault("is missing", at("file", "dir")...)
	case sink.File != nil:
		v.writableParent(sink.File.Dir, at("file", "dir")...)
	case sink.Redis != nil && s.Redis == nil:
		v.fault("needs state.redis.url, which says where Redis is", at("redis")...)
	case sink.Redis != nil && sink.Redis.MaxLen < 1:
		v.fault(fmt.Sprintf("%d keeps nothing: give the number of records to keep", sink.Redis.MaxLen), at("redis", "max_len")...)
	case sink.OTLP != nil:
		v.collector(sink.OTLP, at("otlp")...)
	}
}

// writableParent finds a folder that cannot be made before the first request would.
func (v *validation) writableParent(dir string, path ...any) {
	for {
		info, err := os.Stat(dir)
		switch {
		case (errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && dir != filepath.Dir(dir):
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			v.fault(err.Error(), path...)
		case !info.IsDir():
			v.fault(fmt.Sprintf("%s is a file, not a folder", dir), path...)
		}
		return
	}
}
