package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/state"
)

const (
	// renewWithin bounds one renewal: waiting for another replica's, asking upstream, storing.
	renewWithin = 25 * time.Second
	// lockWithin is the part of it that may pass in waiting: upstream must not be asked with no time left to listen.
	lockWithin = 10 * time.Second
	// storeWithin bounds what is done in the store when a renewal's own time may be over.
	storeWithin = 5 * time.Second
	// firstPause and longestPause lie between failed renewals. The pause doubles: upstream's token endpoint is shared with
	// everybody, and a token is renewed long before its end.
	firstPause, longestPause = 2 * time.Second, time.Minute
	// longestMargin is how long before its end a token is not sent any more, since it could end on its way.
	longestMargin = 10 * time.Second
)

var (
	errUnchanged = errors.New("upstream refused the token, and it has not been replaced")
	errVain      = errors.New("upstream refused the token that it gave a moment ago in place of a refused one")
	errLost      = errors.New("it has to be connected again")
)

// flight is a renewal that is under way; those who need its result wait for done.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

// renewed waits until the credential has another bearer than the given one. The renewal that brings it is made once,
// however many wait, and outlives them: upstream may have taken the refresh token already.
func (c *Credential) renewed(ctx context.Context, not Bearer, refused bool) error {
	c.mu.Lock()
	f := c.flight
	switch now := time.Now(); {
	case c.kept.Load().bearer != not:
		c.mu.Unlock()
		return nil
	case f != nil:
	case refused && c.vain.Load() == not.generation:
		c.mu.Unlock()
		return errVain
	case now.Before(c.again):
		defer c.mu.Unlock()
		return c.failed
	default:
		f = &flight{done: make(chan struct{})}
		c.flight = f
		go c.fly(context.WithoutCancel(ctx), f, not, refused)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Credential) fly(ctx context.Context, f *flight, not Bearer, refused bool) {
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	f.err = c.renew(ctx, not, refused)
	c.mu.Lock()
	if c.failed = f.err; f.err == nil {
		c.pause, c.again = 0, time.Time{}
	} else {
		c.pause = min(max(2*c.pause, firstPause), longestPause)
		c.again = time.Now().Add(c.pause)
	}
	c.flight = nil
	c.mu.Unlock()
	close(f.done)
	wake(c.changed)
}

// renew replaces a bearer, under the lock that all replicas share.
func (c *Credential) renew(ctx context.Context, not Bearer, refused bool) error {
	vault := c.config.App.Vault
	replaced := func() bool {
		_ = c.reread(ctx) // what cannot be read is not there
		return c.kept.Load().bearer != not
	}
	waiting, cancel := context.WithTimeout(ctx, lockWithin)
	defer cancel()
	release, err := vault.lock(waiting, c.Name(), replaced)
	if err != nil {
		return err
	}
	defer release()
	g, err := vault.load(ctx, c.Name())
	if c.adopt(g, err); err != nil {
		return err
	}
	if c.kept.Load().bearer != not {
		return nil // another replica was faster
	}
	if g.lost != "" {
		return errLost
	}
	next, err := c.spend(ctx, g)
	if err != nil {
		return err
	}
	if refused {
		c.vain.Store(next.generation)
	}
	c.adopt(next, nil)
	return nil
}

// spend turns the grant's refresh token into the next pair and stores that. Before upstream is asked it is written down
// that it will be: whoever finds that note without a later pair knows that a process ended in between, and that the
// refresh token may be spent.
func (c *Credential) spend(ctx context.Context, g *grant) (*grant, error) {
	vault, before := c.config.App.Vault, g.attempted
	if g.attempted.IsZero() {
		g.attempted = time.Now()
	}
	if err := vault.save(ctx, c.Name(), g); err != nil {
		return nil, fmt.Errorf("storing that the tokens are being renewed: %w", err)
	}
	next, err := c.config.App.refresh(ctx, g.refresh)
	switch {
	case err == nil:
		next.generation = g.generation + 1
		c.store(ctx, next)
		return next, nil
	case errors.Is(err, errAppRefused): // upstream looked no further: the refresh token is as it was
		g.attempted = before
	case errors.Is(err, errGrantRefused):
		g.attempted, g.lost = time.Time{}, whyLost(err, before)
		c.adopt(g, nil)
	default:
		return nil, err // the note stays: nobody knows what upstream did
	}
	if saved := vault.save(ctx, c.Name(), g); saved != nil {
		err = errors.Join(err, saved)
	}
	return nil, err
}

func whyLost(err error, attempted time.Time) string {
	if attempted.IsZero() {
		return err.Error() + ": connect it again"
	}
	return fmt.Sprintf("%v: a renewal begun at %s was interrupted, and the tokens that upstream gave then were never stored; connect it again",
		err, attempted.UTC().Format(time.RFC3339))
}

// store keeps a new pair. Upstream has already forgotten the one before, so it is in use also while it cannot be stored;
// the keeper goes on trying.
func (c *Credential) store(ctx context.Context, g *grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	err := c.config.App.Vault.save(ctx, c.Name(), g)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved = nil; err != nil {
		c.unsaved = g
	}
}

// reread takes up what is stored now. What cannot be read changes nothing.
func (c *Credential) reread(ctx context.Context) error {
	g, err := c.config.App.Vault.load(ctx, c.Name())
	c.adopt(g, err)
	return err
}

// adopt takes up a grant as it was read, if it is newer than what is in use or says something new of it.
func (c *Credential) adopt(g *grant, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.kept.Load()
	next := kept{}
	switch {
	case errors.Is(err, state.ErrNotFound):
		next.lost = "not connected: run gateway credential connect " + c.Name()
	case errors.Is(err, seal.ErrUnreadable):
		next = *held
		next.lost = err.Error() + "; put the key back, or connect it again"
	case err != nil:
		return // the store is away; what is in use stays
	case g.client != c.config.App.ClientID:
		next.lost = "connected for another client_id: connect it again"
	case g.generation < held.bearer.generation:
		return // newer tokens are in use, and about to be stored
	case g.generation == held.bearer.generation:
		next = *held
		next.lost = g.lost
	default:
		next = kept{bearer: Bearer{g.access, g.generation}, span: spanOf(g), lost: g.lost}
	}
	if next.bearer != held.bearer && next.bearer != (Bearer{}) {
		c.refused.Store(0) // a new token is believed to be good
		c.failed, c.again, c.pause = nil, time.Time{}, 0
	}
	if next.bearer != held.bearer || next.lost != held.lost {
		c.take(next)
		wake(c.changed)
		wake(c.recheck)
	}
}

// spanOf plans a token's time: it is renewed when a fifth of it is left, and at most once a second.
func spanOf(g *grant) span {
	if g.expires.IsZero() {
		return span{}
	}
	life := g.expires.Sub(g.obtained)
	return span{due: later(g.expires.Add(-life/5), g.obtained.Add(time.Second)), fresh: g.expires.Add(-min(longestMargin, life/10)), expires: g.expires}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
