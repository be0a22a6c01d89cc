package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// New reads every token, and the stored tokens of OAuth apps. The error joins all that cannot be read; an OAuth app that
// is not connected yet is none.
func New(configs []Config, getenv func(string) string) (*Set, error) {
	set := &Set{}
	var faults []error
	for _, config := range configs {
		c := &Credential{config: config, getenv: getenv, changed: make(chan struct{}, 1), recheck: make(chan struct{}, 1)}
		if config.App != nil {
			c.open()
		} else if _, err := c.reload(); err != nil {
			faults = append(faults, err)
		}
		set.narrowestFirst = append(set.narrowestFirst, c)
		set.limited = set.limited || len(config.Organizations) > 0
	}
	slices.SortStableFunc(set.narrowestFirst, narrower)
	return set, errors.Join(faults...)
}

// open takes up what is stored, and from now on every change of it.
func (c *Credential) open() {
	ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
	defer cancel()
	c.take(kept{lost: "its tokens have not been read yet"})
	vault := c.config.App.Vault
	vault.store.Watch(grantsTable, func(key string) {
		if key == "" || key == c.Name() {
			wake(c.changed)
		}
	})
	_ = c.reread(ctx) // the keeper tries again
}

// reload reads a token again and reports whether it is another one. A new one is believed to be good.
func (c *Credential) reload() (changed bool, err error) {
	text, err := c.config.Token.ReadLine(c.getenv)
	if err != nil {
		return false, fmt.Errorf("credential %s: %w", c.config.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.kept.Load()
	if before == nil {
		c.take(kept{bearer: Bearer{text, 1}})
		return true, nil
	}
	if before.bearer.text == text {
		return false, nil
	}
	c.take(kept{bearer: Bearer{text, before.bearer.generation + 1}})
	c.accept()
	return true, nil
}

// watchEvery is how often token files are read again: a rotated token is in use "within seconds", and reading a few
// small files that often costs nothing. Reading beats watching for events, which mounted secrets replace by symlinks.
const watchEvery = 2 * time.Second

// Watch takes up changed token files, keeps the tokens of OAuth apps fresh and warns of tokens that are about to end,
// until ctx ends. A file that cannot be read keeps the token before it in use.
func (s *Set) Watch(ctx context.Context, log *slog.Logger) {
	var keepers sync.WaitGroup
	for _, c := range s.narrowestFirst {
		if c.config.App != nil {
			keepers.Go(func() { c.keep(ctx, log.With("credential", c.Name())) })
		} else {
			keepers.Go(func() { c.follow(ctx, log.With("credential", c.Name())) })
			keepers.Go(func() { c.foresee(ctx, log.With("credential", c.Name())) })
		}
	}
	keepers.Wait()
}

// follow looks after a token in a file or in the environment.
func (c *Credential) follow(ctx context.Context, log *slog.Logger) {
	failing := false
	generation := c.kept.Load().bearer.generation
	for tick := time.NewTicker(watchEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		_, err := c.reload()
		if err != nil && !failing {
			log.Error("credential cannot be read again; the one before stays in use", "error", err)
		}
		failing = err != nil
		if now := c.kept.Load().bearer.generation; now != generation { // also where a refused request looked first
			generation = now
			log.Info("credential replaced")
		}
	}
}
