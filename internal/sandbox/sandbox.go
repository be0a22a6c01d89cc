// Package sandbox is a stand-in for the Supabase Management API, for the demo, for tests, and on its own: every
// operation answers with the status, content type and shape that the published specification gives it, and what clients
// change stays changed for as long as the process lives.
//
// Invariant: it shares no code with the gateway, the parser of paths least of all, so that a mistake made in one is not
// repeated in the other. It keeps everything in memory and is no database: SQL is recognised, not run. Nothing it hands
// out opens anything.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Config is what a Sandbox is made of. The zero value answers nobody: it has no tokens.
type Config struct {
	Tokens   map[string]string // accepted bearer tokens → the user who owns each; all tokens of one user share a quota
	OAuth    OAuthConfig       // the OAuth apps that may ask for tokens of their own
	Seed     World             // what exists at the start; zero: Seed()
	Logs410  bool              // logs.all answers 410, as upstream does since its successor "logs"
	Settle   time.Duration     // how long a project stays between two states (starting, pausing); zero: 2 s
	KeptBody int64             // function bundles above this many bytes are hashed and counted, not kept; zero: 4 MiB
	Faults   FaultConfig       // latency, jitter and failures
	Limits   LimitConfig       // rate limits
}

const (
	defaultSettle = 2 * time.Second
	// A demo runs the gateway and its upstream in one process, whose memory must stay small while 200 MB pass through.
	defaultKeptBody = 4 << 20
)

// Sandbox is one stand-in upstream with its own state. It is an http.Handler.
type Sandbox struct {
	config   Config
	state    *state
	apps     *apps
	mux      *http.ServeMux
	recorder *Recorder
	faults   *Faults
	limits   *Limits
	handler  http.Handler
}

// New returns a Sandbox with the seed in it. The error names every fault of the configuration.
func New(config Config) (*Sandbox, error) {
	if config.Settle == 0 {
		config.Settle = defaultSettle
	}
	if config.KeptBody == 0 {
		config.KeptBody = defaultKeptBody
	}
	if config.Seed.empty() {
		config.Seed = Seed()
	}
	world, seedErr := newState(config.Seed, time.Now())
	faults, faultsErr := newFaults(config.Faults)
	limits, limitsErr := newLimits(config.Limits)
	if err := errors.Join(validateTokens(config.Tokens), seedErr, faultsErr, limitsErr); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Sandbox{config: config, state: world, apps: newApps(config.OAuth), faults: faults, limits: limits}
	s.recorder = newRecorder(s.bearer)
	s.mux = s.newMux()
	operation := http.HandlerFunc(s.operate)
	counted := limits.wrap(operation, s.route)
	s.handler = s.withControl(s.recorder.wrap(faults.wrap(s.authenticate(operation, counted))))
	return s, nil
}

func validateTokens(tokens map[string]string) error {
	for token, owner := range tokens {
		if token == "" || owner == "" {
			return errors.New("tokens: every token needs a text and an owner")
		}
	}
	return nil
}

// ServeHTTP answers one request: it is recorded, may meet a fault, is authenticated, counted, and performed.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// ownerKey is under which a request's context holds the user whose token it bears.
type ownerKey struct{}

// ownerOf is the user whose quota and rights the request spends, "" before authentication.
func ownerOf(r *http.Request) string {
	owner, _ := r.Context().Value(ownerKey{}).(string)
	return owner
}

// authenticate lets through what bears a known token, and to open what needs none: an OAuth app has no token yet.
func (s *Sandbox) authenticate(open, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/oauth/authorize", "/v1/oauth/token", "/v1/oauth/revoke":
			open.ServeHTTP(w, r)
			return
		}
		owner := s.bearer(r)
		if owner == "" {
			writeError(w, refuse(http.StatusUnauthorized, "Unauthorized"))
			return
		}
		w.Header().Set("X-Gotrue-Id", userID(owner))
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner)))
	})
}

// bearer gives the owner of the one token the request bears, "" for none, for an unknown one and for several.
func (s *Sandbox) bearer(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	if owner := s.config.Tokens[token]; owner != "" && !s.apps.revoked(token) {
		return owner
	}
	return s.apps.owner(token, time.Now())
}
