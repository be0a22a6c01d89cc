package sandbox

import "time"

// span is a duration that is text in JSON, such as "1.5s".
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

// controlDelay is the body of PUT /_sandbox/delay.
type controlDelay struct {
	Latency span `json:"latency"`
	Jitter  span `json:"jitter"`
}

// controlSpend is the body of POST /_sandbox/spend.
type controlSpend struct {
	Owner     string `json:"owner"`
	Scope     string `json:"scope"`
	Operation string `json:"operation"`
	N         int    `json:"n"`
}

// controlLimits is LimitConfig as /_sandbox/limits tells and takes it.
type controlLimits struct {
	Off              bool        `json:"off"`
	Window           span        `json:"window"`
	ResetUnit        ResetUnit   `json:"reset_unit"`
	Granularity      Granularity `json:"granularity"`
	BlockOnOvershoot bool        `json:"block_on_overshoot"`
	Headers          HeaderMode  `json:"headers"`
	Bare429          bool        `json:"bare_429"`
	Outsider         float64     `json:"outsider"`
}

func (c controlLimits) config() LimitConfig {
	return LimitConfig{
		Off: c.Off, Window: time.Duration(c.Window), ResetUnit: c.ResetUnit, Granularity: c.Granularity,
		BlockOnOvershoot: c.BlockOnOvershoot, Headers: c.Headers, Bare429: c.Bare429, Outsider: c.Outsider,
	}
}

// controlQuota is the answer of GET /_sandbox/limits.
type controlQuota struct {
	Config  controlLimits `json:"config"`
	Refused int           `json:"refused"`
	Buckets []Bucket      `json:"buckets"`
}

// control gives the configuration and what was counted.
func (l *Limits) control() controlQuota {
	c := l.Config()
	return controlQuota{
		Config: controlLimits{
			Off: c.Off, Window: span(c.Window), ResetUnit: c.ResetUnit, Granularity: c.Granularity,
			BlockOnOvershoot: c.BlockOnOvershoot, Headers: c.Headers, Bare429: c.Bare429, Outsider: c.Outsider,
		},
		Refused: l.Refused(),
		Buckets: l.Buckets(),
	}
}
