package telemetry

// Collector is an OpenTelemetry collector.
type Collector struct {
	Endpoint string            // URL: scheme, host, port; a path with HTTP
	HTTP     bool              // OTLP over HTTP; else gRPC
	Headers  map[string]string // sent with each export; their values are secrets
	CAFile   string            // PEM authorities of its certificate; "": the system's
}
