package config

import (
	"fmt"
	"slices"
)

// Telemetry is what the gateway says about itself.
type Telemetry struct {
	// OTLP is where traces are exported to. Default: nowhere.
	OTLP OTLP `yaml:"otlp"`
	Log  Log  `yaml:"log"`
}

// OTLP is a collector of traces. Without an endpoint nothing is traced.
type OTLP struct {
	Collector `yaml:",inline"`
	// Share is the part of the requests that is traced, 0 to 1, where the client's own trace does not decide it. Default 0.1.
	Share *float64 `yaml:"share"`
	// Propagate tells upstream the trace that a call belongs to. Default false: upstream learns nothing of the company's traces.
	Propagate bool `yaml:"propagate"`
}

// Log is the process log on standard error.
type Log struct {
	// Level is debug, info, warn or error; PUT /log/level on the admin listener changes it until the next start. Default info.
	Level string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// Format is json or text. Default json.
	Format string `yaml:"format" jsonschema:"enum=json,enum=text"`
}

func (t *Telemetry) fillDefaults() {
	setDefault(&t.Log.Level, "info")
	setDefault(&t.Log.Format, "json")
	setDefault(&t.OTLP.Protocol, "grpc")
	if t.OTLP.Share == nil {
		t.OTLP.Share = new(0.1)
	}
}

func (v *validation) telemetry(t *Telemetry) {
	if t.OTLP.Endpoint != "" {
		v.collector(&t.OTLP.Collector, "telemetry", "otlp")
	}
	if *t.OTLP.Share < 0 || *t.OTLP.Share > 1 {
		v.fault(fmt.Sprintf("%v is not between 0 and 1", *t.OTLP.Share), "telemetry", "otlp", "share")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, t.Log.Level) {
		v.fault(fmt.Sprintf("%q is not one of debug, info, warn, error", t.Log.Level), "telemetry", "log", "level")
	}
	if !slices.Contains([]string{"json", "text"}, t.Log.Format) {
		v.fault(fmt.Sprintf("%q is not one of json, text", t.Log.Format), "telemetry", "log", "format")
	}
}
