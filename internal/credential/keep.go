package credential

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/state"
)

// idle is how long a keeper sleeps at most: a change that it was not told of is found then.
const idle = time.Minute

// keep looks after an OAuth app's tokens: it takes up what others stored, renews in time, and says what became of it.
func (c *Credential) keep(ctx context.Context, log *slog.Logger) {
	said := status{}
	for {
		asking, cancel := context.WithTimeout(ctx, storeWithin)
		err := c.reread(asking)
		cancel()
		if unsaved := c.notStored(); unsaved != nil {
			c.store(ctx, unsaved)
		}
		if held := c.kept.Load(); held.lost == "" && !held.span.due.IsZero() && !time.Now().Before(held.span.due) {
			_ = c.renewed(ctx, held.bearer, false) // said below
		}
		if held := c.kept.Load(); held.holds() && !lasts(held.span.expires, time.Now()) {
			c.refuse(time.Now()) // before a request has to find out
		}
		said = c.say(said, err, log)
		sleep := time.NewTimer(c.rest(time.Now(), err))
		select {
		case <-ctx.Done():
			sleep.Stop()
			return
		case <-c.changed:
			sleep.Stop()
		case <-sleep.C:
		}
	}
}

// rest is how long there is nothing to do.
func (c *Credential) rest(now time.Time, unread error) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := now.Add(idle)
	if c.unsaved != nil || isAway(unread) {
		next = now.Add(firstPause)
	}
	if held := c.kept.Load(); held.lost == "" && !held.span.due.IsZero() && held.span.due.Before(next) {
		next = held.span.due
		if c.again.After(next) {
			next = c.again
		}
	}
	return max(next.Sub(now), 0)
}

func (c *Credential) notStored() *grant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsaved
}

// status is what was said of a credential last.
type status struct {
	generation uint64
	lost       string
	failed     bool
	unsaved    bool
	unread     bool
}

// isAway reports whether an error of the store says nothing about what is stored.
func isAway(err error) bool {
	return err != nil && !errors.Is(err, state.ErrNotFound) && !errors.Is(err, seal.ErrUnreadable)
}

// say logs what changed since it was said before.
func (c *Credential) say(before status, unread error, log *slog.Logger) status {
	held := c.kept.Load()
	c.mu.Lock()
	failed := c.failed
	now := status{held.bearer.generation, held.lost, failed != nil, c.unsaved != nil, isAway(unread)}
	c.mu.Unlock()
	if now.unread && !before.unread {
		log.Warn("the stored tokens cannot be read; those in use stay", "error", unread)
	}
	if now.generation != before.generation && held.holds() {
		log.Info("credential has new tokens", "expires", held.span.expires)
	}
	if now.lost != before.lost && now.lost != "" {
		fields := []any{"reason", now.lost}
		if !held.span.expires.IsZero() {
			fields = append(fields, "last_token_ends", held.span.expires)
		}
		log.Error("credential cannot be used or renewed", fields...)
	}
	if now.failed && !before.failed && now.lost == "" {
		log.Error("credential could not be renewed; it will be tried again", "error", failed, "token_ends", held.span.expires)
	}
	if now.unsaved && !before.unsaved {
		log.Error("credential's new tokens cannot be stored; if this process ended now it would have to be connected again")
	}
	return now
}
