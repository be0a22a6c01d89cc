package limiter

import (
	"errors"
	"fmt"
	"time"

	"corp.example/gateway/internal/catalog"
)

// Granularity says what upstream keeps one count for.
type Granularity string

// The granularities.
const (
	Auto        Granularity = "auto"     // one count per scope until upstream's own counts prove that it keeps one per endpoint
	PerScope    Granularity = "scope"    // one count per scope, and one per limit class in it
	PerEndpoint Granularity = "endpoint" // one count per operation in a scope
)

// Reserve keeps a part of every limit for somebody who may come late.
type Reserve struct {
	Team  string  // for whom; "" for outsiders: whoever spends the same quota without the gateway, such as a dashboard user
	Share float64 // part of the limit, 0 to 1; rounded down to whole requests, so a limit of 1 is never reserved away
}

// Config holds the limiter's settings. The zero value is a working limiter.
type Config struct {
	// Granularity says what upstream keeps one count for. Empty: Auto.
	Granularity Granularity

	// Headroom is how many requests of every limit are never sent, against outsiders who spend the same quota.
	// At least one request per window is always sent. Zero: the whole quota is used.
	Headroom int

	// MaxWait is how long a request may wait for its turn; an Ask may shorten it and cannot lengthen it.
	// Zero: 50 s, since the most used client gives up after 60.
	MaxWait time.Duration

	// Reserve lists what is kept for outsiders and for teams. Empty: nothing.
	Reserve []Reserve

	// QueuePerTeam bounds how many requests one team may have waiting in one queue. Zero: 1,000, which is more than
	// any known limit serves within MaxWait.
	QueuePerTeam int

	// QueuePerBucket bounds how many requests may wait in one owner's scope, all teams together. Zero: 5,000, which
	// cost about 5 MiB here and a goroutine each in the server.
	QueuePerBucket int

	// Scopes bounds how many scopes (projects, organizations, accounts) are counted at a time. Scopes at rest are
	// forgotten first. Zero: 20,000, about 60 MiB at worst.
	Scopes int

	// Classes overrides the catalogue's limits by class name. A class left out keeps the catalogue's limits.
	Classes map[string][]catalog.Limit
}

// Validate returns every fault of c, joined.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch c.Granularity {
	case "", Auto, PerScope, PerEndpoint:
	default:
		fault("granularity %q: must be auto, scope or endpoint", c.Granularity)
	}
	for name, n := range map[string]int{"headroom": c.Headroom, "queue_per_team": c.QueuePerTeam, "queue_per_bucket": c.QueuePerBucket, "scopes": c.Scopes} {
		if n < 0 {
			fault("%s %d: must not be negative", name, n)
		}
	}
	if c.MaxWait < 0 {
		fault("max_wait %s: must not be negative", c.MaxWait)
	}
	total, seen := 0.0, map[string]bool{}
	for i, r := range c.Reserve {
		if !(r.Share > 0 && r.Share < 1) {
			fault("reserve[%d].share %v: must lie between 0 and 1", i, r.Share)
		}
		if seen[r.Team] {
			fault("reserve[%d].team %q: appears twice", i, r.Team)
		}
		seen[r.Team] = true
		total += r.Share
	}
	if total >= 1 {
		fault("reserve: the shares add up to %v, which leaves nothing for anybody else", total)
	}
	for name, limits := range c.Classes {
		if len(limits) == 0 {
			fault("classes.%s: must list at least one limit", name)
		}
		for i, l := range limits {
			if l.N < 1 || l.Window <= 0 {
				fault("classes.%s[%d]: %d per %s: must be at least 1 request in a positive time", name, i, l.N, l.Window)
			}
		}
	}
	return errors.Join(faults...)
}

// general is the limit upstream documents for everything that no class speaks of.
var general = []catalog.Limit{{N: 120, Window: time.Minute}}

// defaultClass is the class of an operation that has none.
const defaultClass = "default"

// filled returns c with its defaults written out.
func (c Config) filled() Config {
	if c.Granularity == "" {
		c.Granularity = Auto
	}
	if c.MaxWait == 0 {
		c.MaxWait = 50 * time.Second
	}
	if c.QueuePerTeam == 0 {
		c.QueuePerTeam = 1000
	}
	if c.QueuePerBucket == 0 {
		c.QueuePerBucket = 5000
	}
	if c.Scopes == 0 {
		c.Scopes = 20_000
	}
	return c
}

// kind returns what the arithmetic needs to know of op. Its class is limited to what the operator says, else to what the
// catalogue says, else to the general limit.
func (c *Config) kind(op *catalog.Operation) kind {
	k := kind{operation: op.ID, class: defaultClass, limits: general}
	if op.Class != nil {
		k.class = op.Class.Name
		if len(op.Class.Limits) > 0 {
			k.limits = op.Class.Limits
		}
	}
	if l := c.Classes[k.class]; len(l) > 0 {
		k.limits = l
	}
	return k
}

// settings is the part of the configuration that decisions follow from. Replicas that share buckets must share it.
type settings struct {
	Granularity    Granularity `json:"granularity"`
	Headroom       int         `json:"headroom"`
	Reserve        []Reserve   `json:"reserve,omitempty"`
	QueuePerTeam   int         `json:"queue_per_team"`
	QueuePerBucket int         `json:"queue_per_bucket"`
}

func (c *Config) settings() *settings {
	return &settings{Granularity: c.Granularity, Headroom: c.Headroom, Reserve: c.Reserve, QueuePerTeam: c.QueuePerTeam, QueuePerBucket: c.QueuePerBucket}
}

// patience returns how long a request may wait.
func (c *Config) patience(a *Ask) time.Duration {
	if a.MaxWait == 0 {
		return c.MaxWait
	}
	return max(0, min(c.MaxWait, a.MaxWait))
}
