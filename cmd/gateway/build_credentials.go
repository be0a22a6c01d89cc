package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/proxy"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/state"
)

// tokenTimeout bounds one request for tokens: somebody waits for it, and a refresh token may have been spent.
const tokenTimeout = 15 * time.Second

// credentialConfigs is what the configured credentials are made of. Keys are nil where no OAuth app is configured.
func credentialConfigs(loaded *config.Loaded, upstream *proxy.Upstream, store state.Store, keys *seal.Keys, getenv func(string) string) []credential.Config {
	out := make([]credential.Config, len(loaded.Credentials))
	for i, c := range loaded.Credentials {
		out[i] = credential.Config{Name: c.Name, Owner: c.Owner, Token: c.Token, Expires: c.Expires.Time, Organizations: c.Organizations,
			Projects: c.Projects, Rights: c.Rights(loaded.Catalog)}
		if c.OAuth != nil {
			out[i].App = oauthApp(loaded, c.OAuth, upstream, credential.NewVault(store, keys), getenv)
		}
	}
	return out
}

// oauthApp is an app that asks the configured upstream, over the way that requests take.
func oauthApp(loaded *config.Loaded, c *config.OAuth, upstream *proxy.Upstream, vault *credential.Vault, getenv func(string) string) *credential.App {
	return &credential.App{ClientID: c.ClientID, Secret: c.ClientSecret, Upstream: strings.TrimSuffix(loaded.Upstream.URL, "/"), Vault: vault, Getenv: getenv,
		Client: &http.Client{Transport: upstream.Transport(), Timeout: tokenTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// newUpstream prepares the way to the configured upstream.
func newUpstream(file *config.File) (*proxy.Upstream, error) {
	return proxy.NewUpstream(proxy.UpstreamConfig{
		URL: file.Upstream.URL, CAFile: file.Upstream.CAFile, Timeout: time.Duration(file.Upstream.Timeout), ForwardHeaders: file.Upstream.ForwardHeaders,
		Propagate: file.Telemetry.OTLP.Propagate,
	})
}

// connectApp begins to connect an OAuth app from the portal; nil where no credential is one.
func (g *gateway) connectApp() func(ctx context.Context, name, redirect, who string) (string, error) {
	if slices.ContainsFunc(g.credentials.All(), (*credential.Credential).OAuth) {
		return g.credentials.Connect
	}
	return nil
}
