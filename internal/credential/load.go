package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"time"
)

// New reads every secret. The error joins all that cannot be read.
func New(configs []Config, getenv func(string) string) (*Set, error) {
	set := &Set{}
	var faults []error
	for _, config := range configs {
		c := &Credential{config: config}
		if _, err := c.reload(getenv); err != nil {
			faults = append(faults, err)
		}
		for _, pattern := range config.Scopes {
			if _, err := path.Match(pattern, ""); err != nil {
				faults = append(faults, fmt.Errorf("credential %s: scope %q is no pattern", config.Name, pattern))
			}
		}
		set.byBreadth = append(set.byBreadth, c)
		set.limited = set.limited || len(config.Organizations) > 0
	}
	slices.SortStableFunc(set.byBreadth, func(a, b *Credential) int { return cmp.Compare(a.breadth(), b.breadth()) })
	return set, errors.Join(faults...)
}

// reload reads the secret again and reports whether it is another one. A new secret is believed to be good.
func (c *Credential) reload(getenv func(string) string) (changed bool, err error) {
	text, err := c.config.Token.Read(getenv)
	if err != nil {
		return false, fmt.Errorf("credential %s: %w", c.config.Name, err)
	}
	if before := c.token.Load(); before != nil && *before == text {
		return false, nil
	}
	c.token.Store(&text)
	c.refused.Store(0)
	return true, nil
}

// watchEvery is how often secret files are read again: a rotated token is in use "within seconds", and reading a few
// small files that often costs nothing. Reading beats watching for events, which mounted secrets replace by symlinks.
const watchEvery = 2 * time.Second

// Watch takes up changed secret files until ctx ends. A file that cannot be read keeps the secret before it in use.
func (s *Set) Watch(ctx context.Context, getenv func(string) string, log *slog.Logger) {
	failing := map[string]bool{}
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		for _, c := range s.byBreadth {
			changed, err := c.reload(getenv)
			if err != nil && !failing[c.Name()] {
				log.Error("credential cannot be read again; the one before stays in use", "credential", c.Name(), "error", err)
			}
			if changed {
				log.Info("credential replaced", "credential", c.Name())
			}
			failing[c.Name()] = err != nil
		}
	}
}
