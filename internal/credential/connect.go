package credential

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"corp.example/gateway/internal/state"
)

// Authorization is one run of upstream's authorization-code flow, with PKCE (RFC 7636).
type Authorization struct {
	URL string // where a person agrees, in a browser

	app             *App
	redirect        string
	state, verifier string
}

// Authorize begins to connect the app. Upstream sends the browser back to redirect, which must be registered with the
// app. Organization preselects which one the tokens will reach; "" leaves that to the person.
func (a *App) Authorize(redirect, organization string) *Authorization {
	flow := &Authorization{app: a, redirect: redirect, state: rand.Text(), verifier: oauth2.GenerateVerifier()}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(flow.verifier)}
	if organization != "" {
		options = append(options, oauth2.SetAuthURLParam("organization_slug", organization))
	}
	flow.URL = a.config("", redirect).AuthCodeURL(flow.state, options...)
	return flow
}

// Mine reports whether the browser came back from this authorization, by the state (RFC 6749 section 10.12): somebody
// else's code must not become this credential's tokens.
func (f *Authorization) Mine(answer url.Values) bool {
	return subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(f.state)) == 1
}

// Finish exchanges the code that the browser brought back and stores the tokens under the credential's name. A running
// gateway takes them up at once.
func (f *Authorization) Finish(ctx context.Context, name string, answer url.Values) error {
	switch {
	case !f.Mine(answer):
		return errors.New("the answer belongs to another authorization")
	case answer.Get("error") != "":
		return fmt.Errorf("upstream did not agree: %.100q", answer.Get("error"))
	case answer.Get("code") == "":
		return errors.New("upstream sent no code")
	}
	release, err := f.app.Vault.lock(ctx, name, func() bool { return false })
	if err != nil {
		return err
	}
	defer release()
	g, err := f.app.exchange(ctx, answer.Get("code"), f.redirect, f.verifier)
	if errors.Is(err, errGrantRefused) {
		return errors.New("upstream refused the code: it works once and for a few minutes; begin again")
	}
	if err != nil {
		return err
	}
	// Newer than whatever a running gateway has, also where it did not hear that those tokens were forgotten.
	g.generation = uint64(g.obtained.UnixMicro())
	return f.app.Vault.save(ctx, name, g)
}

// ErrNotConnected says that there are no tokens to disconnect.
var ErrNotConnected = errors.New("it is not connected")

// Disconnect revokes the credential's tokens upstream and forgets them. Where upstream cannot be asked nothing changes,
// unless forget says to go on.
func (a *App) Disconnect(ctx context.Context, name string, forget bool) error {
	release, err := a.Vault.lock(ctx, name, func() bool { return false })
	if err != nil {
		return err
	}
	defer release()
	g, err := a.Vault.load(ctx, name)
	if errors.Is(err, state.ErrNotFound) {
		return ErrNotConnected
	}
	if err == nil {
		err = a.revoke(ctx, g.refresh)
	}
	if err != nil && !forget {
		return err
	}
	return a.Vault.store.Delete(ctx, grantsTable, name)
}

// Connection is how an OAuth app's credential stands.
type Connection struct {
	Since   time.Time // when its tokens were obtained
	Expires time.Time // when the access token ends; it is renewed before
	Fault   string    // why it cannot be renewed any more; "" while it can
	// Interrupted is when a renewal was begun whose end is not known. It is under way now, or its process ended.
	Interrupted time.Time
}

// Connection reads how the credential stands. Without tokens the error is ErrNotConnected.
func (a *App) Connection(ctx context.Context, name string) (Connection, error) {
	g, err := a.Vault.load(ctx, name)
	if errors.Is(err, state.ErrNotFound) {
		return Connection{}, ErrNotConnected
	}
	if err != nil {
		return Connection{}, err
	}
	out := Connection{Since: g.obtained, Expires: g.expires, Fault: g.lost, Interrupted: g.attempted}
	if g.client != a.ClientID {
		out.Fault = "connected for another client_id: connect it again"
	}
	return out, nil
}
