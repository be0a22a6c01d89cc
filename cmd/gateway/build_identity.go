package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"corp.example/gateway/internal/backplane"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/state"
)

// openIdentity keeps tokens and sessions in Redis where there is one, otherwise in a file of this gateway alone.
func (g *gateway) openIdentity(file *config.File) error {
	if g.backplane != nil {
		g.store = state.NewShared(g.backplane)
	} else if store, err := state.Open(file.State.Dir); err != nil {
		return err
	} else {
		g.store = store
	}
	settings, err := identityConfig(file, g.getenv, g.log)
	if err != nil {
		return err
	}
	settings.Seal = g.keys
	g.identity, err = identity.New(settings, g.store)
	return err
}

// identityConfig is the configuration's section as identity takes it, with the clients' secrets.
func identityConfig(file *config.File, getenv func(string) string, log *slog.Logger) (identity.Config, error) {
	out := identity.Config{
		PublicURL:         file.Server.PublicURL,
		Tokens:            identity.Tokens{MaxAge: time.Duration(file.Identity.Tokens.MaxAge), ReauthenticateAfter: time.Duration(file.Identity.Tokens.ReauthenticateAfter)},
		RefreshMembership: time.Duration(*file.Identity.RefreshMembership), Log: log,
	}
	for _, issuer := range file.Identity.Issuers {
		configured := identity.Issuer{Name: issuer.Name, URL: issuer.URL, Audience: issuer.Audience, CAFile: issuer.CAFile,
			Claims: identity.Claims{Groups: issuer.Claims.Groups, Email: issuer.Claims.Email, OverageUserInfo: issuer.Claims.Overage == "userinfo"}}
		if issuer.Client != nil {
			configured.Client = &identity.Client{ID: issuer.Client.ID, Prompt: issuer.Client.Prompt}
			if !issuer.Client.Secret.IsZero() {
				secret, err := issuer.Client.Secret.Read(getenv)
				if err != nil {
					return out, fmt.Errorf("identity issuer %s: %w", issuer.Name, err)
				}
				configured.Client.Secret = secret.Reveal()
			}
		}
		out.Issuers = append(out.Issuers, configured)
	}
	return out, nil
}

// loadTokenSettings is what "gateway token" needs of the configuration.
func loadTokenSettings(path string, getenv func(string) string) (tokenSettings, error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return tokenSettings{}, err
	}
	return tokenSettings{Connect: func() (state.Connection, error) { return connectState(&loaded.State, getenv) }, Teams: loaded.Policy.TeamNames(), Catalog: loaded.Catalog,
		Tokens: identity.Tokens{MaxAge: time.Duration(loaded.Identity.Tokens.MaxAge), ReauthenticateAfter: time.Duration(loaded.Identity.Tokens.ReauthenticateAfter)},
		Audit:  operatorLogOf(loaded, getenv)}, nil
}

// connectState gives a command the state that the service has: in Redis, or in the folder.
func connectState(s *config.State, getenv func(string) string) (state.Connection, error) {
	if s.Redis == nil {
		return state.Connect(s.Dir)
	}
	shared, err := openRedis(s.Redis, getenv, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &sharedState{state.NewShared(shared), shared}, nil
}

// sharedState is a store that ends with its connection to Redis.
type sharedState struct {
	*state.Shared
	backplane *backplane.Backplane
}

// Close ends both.
func (s *sharedState) Close() error { return errors.Join(s.Shared.Close(), s.backplane.Close()) }
