// Package credential holds the upstream secrets: it chooses the one to use for a call, attaches it to the outgoing
// request, renews what can be renewed and remembers which ones upstream has refused.
//
// Invariants: an upstream secret leaves this package in Bearer.Attach and towards upstream's own token endpoint, and
// nowhere else; what is stored of it is sealed; a refresh token is spent by one replica at a time. The package decides
// nothing about callers, and a call that no credential covers is refused before upstream is asked.
package credential

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/secret"
)

// Config describes one upstream secret.
type Config struct {
	Name          string        // names it in logs, metrics and audit records
	Owner         string        // the upstream user or app whose quota it spends
	Token         secret.Source // where its personal access token is kept
	App           *App          // the OAuth app whose tokens it uses instead; nil: Token
	Expires       time.Time     // when its personal access token ends, as far as its owner says; zero: not said
	Organizations []string      // slugs it reaches
	Projects      []string      // refs it reaches; with Organizations empty too: everything
	Rights        []string      // scopes and permissions it has, each in full; empty: all
}

// Credential is one upstream secret in use. What is needed for each request is read without a lock.
type Credential struct {
	config Config
	getenv func(string) string
	kept   atomic.Pointer[kept]
	// refused is since when upstream, or its token endpoint, does not accept it, in Unix nanoseconds; 0 while it does.
	refused atomic.Int64
	// vain is the generation of a token that was asked for because upstream refused the one before, and that upstream has
	// not accepted yet: if it is refused too, asking for one more will not help. 0: there is none.
	vain atomic.Uint64
	// changed wakes the keeper of the credential: its tokens or its health may be others. It holds one wake-up.
	changed chan struct{}
	recheck chan struct{} // wakes whoever records the health, in the same way

	mu      sync.Mutex // guards what follows, never across input or output
	flight  *flight    // the renewal that is under way
	unsaved *grant     // tokens that are in use and could not be stored
	failed  error      // why the last renewal failed
	again   time.Time  // no renewal is tried before
	pause   time.Duration
}

// kept is what a credential holds at one moment. It is never changed, only replaced.
type kept struct {
	bearer Bearer        // the zero Bearer while there is none
	echoes []secret.Text // what upstream could echo: the bearer's secret and the last ones before it
	span   span          // of the bearer
	lost   string        // why it cannot be renewed any more, or why there is none; "" while all is well
}

// span is how long an OAuth app's token lasts. The zero span has no end.
type span struct {
	due     time.Time // from here on it should be renewed
	fresh   time.Time // from here on it is not sent, where there is a way to get another: it could end on its way
	expires time.Time // from here on upstream refuses it
}

// lasts reports whether a time of a span is still to come.
func lasts(until, now time.Time) bool { return until.IsZero() || now.Before(until) }

func (k *kept) holds() bool { return k.bearer != (Bearer{}) }

// Bearer is the secret that one request is sent with. Two bearers are equal when they are the same secret.
type Bearer struct {
	text       secret.Text
	generation uint64 // higher is newer
}

// Attach puts the secret on an outgoing request's header. It replaces whatever stands there.
func (b Bearer) Attach(h http.Header) {
	h["Authorization"] = []string{"Bearer " + b.text.Reveal()}
}

// Name returns the configured name.
func (c *Credential) Name() string { return c.config.Name }

// OAuth reports whether it is an OAuth app's.
func (c *Credential) OAuth() bool { return c.config.App != nil }

// Owner returns whose quota the credential spends.
func (c *Credential) Owner() string { return c.config.Owner }

// Expires returns when its personal access token ends, the zero time where that is not said.
func (c *Credential) Expires() time.Time { return c.config.Expires }

// Secrets returns what to look for in upstream's answers: the secret in use, and those that were just before.
func (c *Credential) Secrets() []secret.Text { return c.kept.Load().echoes }

// Bearer returns what to send a request with. Where the token of an OAuth app is about to end it waits for the next one.
// The error is a problem: 502 upstream_credential.
func (c *Credential) Bearer(ctx context.Context) (Bearer, error) {
	held := c.kept.Load()
	if held.holds() && lasts(held.span.fresh, time.Now()) {
		return held.bearer, nil
	}
	var err error
	if held.lost == "" {
		if err = c.renewed(ctx, held.bearer, false); err == nil {
			return c.kept.Load().bearer, nil
		} else if ctx.Err() != nil {
			return Bearer{}, ctx.Err()
		}
	}
	if held = c.kept.Load(); held.holds() && lasts(held.span.expires, time.Now()) {
		return held.bearer, nil
	}
	c.refuse(time.Now())
	return Bearer{}, Refused(c, err)
}

// Renew is told that upstream refused a bearer, and looks for another one: what was replaced meanwhile, what the file
// holds now, or what the OAuth app's refresh token brings. Without an error there is one. It is not to be asked twice for
// one request.
func (c *Credential) Renew(ctx context.Context, refused Bearer) error {
	if c.kept.Load().bearer != refused {
		return nil
	}
	if c.config.App != nil {
		return c.renewed(ctx, refused, true)
	}
	changed, err := c.reload()
	if err == nil && !changed {
		return errUnchanged
	}
	return err
}

// Observe learns from the status of upstream's answer to a request that was sent with this bearer: 401 means that it is
// no longer good. It reports whether the credential's health changed. An answer to another bearer than the one in use
// says nothing about that.
func (c *Credential) Observe(sent Bearer, status int, now time.Time) (changed bool) {
	if status >= 500 || c.kept.Load().bearer != sent {
		return false // upstream's own trouble says nothing about the secret either
	}
	if status == http.StatusUnauthorized {
		return c.refuse(now)
	}
	if c.vain.Load() == sent.generation {
		c.vain.Store(0)
	}
	return c.refused.Load() != 0 && c.accept()
}

func (c *Credential) refuse(now time.Time) (changed bool) {
	if changed = c.refused.Swap(now.UnixNano()) == 0; changed {
		wake(c.recheck)
	}
	return changed
}

func (c *Credential) accept() (changed bool) {
	if changed = c.refused.Swap(0) != 0; changed {
		wake(c.recheck)
	}
	return changed
}

// Healthy reports whether upstream accepted the secret when it last judged it, and will go on to.
func (c *Credential) Healthy() bool { return c.refused.Load() == 0 && c.kept.Load().lost == "" }

// Fault says what is wrong with the credential and what to do about it, "" while it is healthy.
func (c *Credential) Fault() string {
	switch now := c.kept.Load(); {
	case now.lost != "":
		return now.lost
	case c.refused.Load() != 0 && c.config.App != nil:
		return "upstream refuses its tokens; if that lasts, connect it again"
	case c.refused.Load() != 0:
		return "upstream refuses the token: renew it"
	default:
		return ""
	}
}

// retryRefused is how long a refused secret rests before calls try it again: long enough not to hammer upstream with a
// dead token, short enough that a passing fault there heals by itself.
const retryRefused = 30 * time.Second

func (c *Credential) resting(now time.Time) bool {
	at := c.refused.Load()
	return at != 0 && now.UnixNano()-at < int64(retryRefused)
}

// usable reports whether there is something to send a request with, or a way to get it.
func (c *Credential) usable(now time.Time) bool {
	held := c.kept.Load()
	return held.lost == "" || held.holds() && lasts(held.span.expires, now)
}

// echoed is how many secrets are looked for in upstream's answers: the one in use and two before it. What upstream
// echoes was sent to it within the length of one exchange, in which no secret is replaced twice.
const echoed = 3

// take puts another bearer in the place of the one before.
func (c *Credential) take(next kept) {
	if before := c.kept.Load(); before != nil {
		next.echoes = slices.Clone(before.echoes)
	}
	if text := next.bearer.text; !text.IsZero() && (len(next.echoes) == 0 || next.echoes[0] != text) {
		next.echoes = slices.Insert(next.echoes, 0, text)
	}
	next.echoes = next.echoes[:min(len(next.echoes), echoed)]
	c.kept.Store(&next)
}

// wake leaves a wake-up, if none is waiting there already.
func wake(sleeper chan struct{}) {
	select {
	case sleeper <- struct{}{}:
	default:
	}
}
