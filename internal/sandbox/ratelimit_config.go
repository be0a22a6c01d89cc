package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// standardWindow is the length upstream documents for its windows. A LimitConfig.Window other than this scales every
// window by the same factor.
const standardWindow = time.Minute

// ResetUnit is the unit of X-RateLimit-Reset. Upstream's reference says milliseconds; every recorded answer says seconds.
type ResetUnit string

// The reset units. The empty one is Seconds.
const (
	Seconds      ResetUnit = "seconds"
	Milliseconds ResetUnit = "milliseconds"
)

// Granularity is what one window counts. Upstream's reference says one per project or organization; its later
// documentation and the recorded answers say one per endpoint inside that.
type Granularity string

// The granularities. The empty one is PerScope.
const (
	PerScope    Granularity = "scope"
	PerEndpoint Granularity = "endpoint"
)

// HeaderMode is which answers carry X-RateLimit-*.
type HeaderMode string

// The header modes. The empty one is HeadersRecorded.
const (
	HeadersRecorded HeaderMode = "recorded" // on every answer but that of POST /v1/organizations, as recorded
	HeadersAlways   HeaderMode = "always"
	HeadersNever    HeaderMode = "never"
)

// LimitConfig is how the stand-in counts requests. The zero value is upstream as it was recorded.
type LimitConfig struct {
	Off              bool          // no counting, no headers, no 429
	Window           time.Duration // length of the standard window; zero: 60 s. The other windows scale with it
	ResetUnit        ResetUnit     // unit of X-RateLimit-Reset
	Granularity      Granularity   // what one window counts
	BlockOnOvershoot bool          // one request too many blocks for a whole further window, and each made meanwhile prolongs it
	Headers          HeaderMode    // which answers carry X-RateLimit-*
	Bare429          bool          // a 429 carries Retry-After and no X-RateLimit-*
	Outsider         float64       // chance, 0 to 1, that a counted request is joined by one of somebody else's from the same quota
}

// withDefaults replaces empty values by what they stand for.
func (c LimitConfig) withDefaults() LimitConfig {
	if c.Window == 0 {
		c.Window = standardWindow
	}
	if c.ResetUnit == "" {
		c.ResetUnit = Seconds
	}
	if c.Granularity == "" {
		c.Granularity = PerScope
	}
	if c.Headers == "" {
		c.Headers = HeadersRecorded
	}
	return c
}

// validate reports every fault of a configuration that has its defaults.
func (c LimitConfig) validate() error {
	var faults []error
	// Below a millisecond the one-second limit, scaled, is shorter than a request takes.
	if c.Window < time.Millisecond || c.Window > 24*time.Hour {
		faults = append(faults, fmt.Errorf("window %v: use 1ms to 24h", c.Window))
	}
	if c.ResetUnit != Seconds && c.ResetUnit != Milliseconds {
		faults = append(faults, fmt.Errorf("reset unit %q: use seconds or milliseconds", c.ResetUnit))
	}
	if c.Granularity != PerScope && c.Granularity != PerEndpoint {
		faults = append(faults, fmt.Errorf("granularity %q: use scope or endpoint", c.Granularity))
	}
	if c.Headers != HeadersRecorded && c.Headers != HeadersAlways && c.Headers != HeadersNever {
		faults = append(faults, fmt.Errorf("headers %q: use recorded, always or never", c.Headers))
	}
	if !(c.Outsider >= 0 && c.Outsider <= 1) { // written so that NaN is a fault too
		faults = append(faults, fmt.Errorf("outsider %v: use a chance from 0 to 1", c.Outsider))
	}
	return errors.Join(faults...)
}

// limit is one fixed window: at most n requests, counted from the first.
type limit struct {
	n      int
	window time.Duration
}

// class is a set of operations that upstream counts by their own limits.
type class struct {
	name   string
	limits []limit // the first is the one X-RateLimit-* tells of
}

// classOf gives the class of an operation, named by method and path template. Upstream's reference writes the paths of
// its exceptions wrongly; these are the real ones. The limit of 10 on every vanity-subdomain operation, and the common
// limit on reading and activating a custom hostname, are what recorded answers show.
func classOf(operation string) class {
	standard := class{"default", []limit{{120, time.Minute}}}
	method, path, _ := strings.Cut(operation, " ")
	rest, inProject := strings.CutPrefix(path, "/v1/projects/{ref}/")
	if !inProject {
		return standard
	}
	switch {
	case strings.HasPrefix(rest, "analytics/endpoints/logs"), strings.HasPrefix(rest, "analytics/endpoints/usage."):
		return class{"logs", []limit{{30, time.Minute}}}
	case rest == "database/context":
		return class{"context", []limit{{10, time.Minute}, {1, time.Second}}}
	case rest == "vanity-subdomain", strings.HasPrefix(rest, "vanity-subdomain/"):
		return class{"vanity", []limit{{10, time.Minute}}}
	case rest == "custom-hostname/initialize", rest == "custom-hostname/reverify", rest == "custom-hostname" && method == "DELETE":
		return class{"hostname", []limit{{10, time.Minute}}}
	case rest == "database/migrations", strings.HasPrefix(rest, "database/migrations/"):
		return class{"migrations", []limit{{120, 3 * time.Minute}}}
	}
	return standard
}
