package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/proxy"
	"corp.example/gateway/internal/seal"
	"corp.example/gateway/internal/state"
)

// credentialCommand groups the commands on upstream credentials. They work on the state itself, or through the gateway
// that is running on it, which then knows of every change at once.
func credentialCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "credential",
		Short: "Connect OAuth apps, and see how the upstream credentials are",
		Long: `Connects the OAuth apps under credentials in gateway.yaml with upstream, ends such connections, and
shows how every credential is. It works beside a running gateway on the same configuration, which
takes up every change at once.`,
	}
	path := command.PersistentFlags().String("config", "", "path of gateway.yaml")
	_ = command.MarkPersistentFlagRequired("config") // fails only for a flag that does not exist
	open := func() (*keyring, error) { return openKeyring(*path, getenv) }
	command.AddCommand(credentialConnect(open), credentialDisconnect(open), credentialList(open))
	return command
}

// keyring is where one credential command does its work.
type keyring struct {
	loaded   *config.Loaded
	store    state.Connection
	upstream *proxy.Upstream
	keys     *seal.Keys // nil where no OAuth app is configured
	audit    operatorLog
	getenv   func(string) string
}

func openKeyring(path string, getenv func(string) string) (*keyring, error) {
	loaded, err := config.Load(path, getenv)
	if err != nil {
		return nil, err
	}
	k := &keyring{loaded: loaded, getenv: getenv, audit: operatorLogOf(loaded, getenv)}
	if !loaded.State.SealKey.IsZero() {
		if k.keys, err = seal.Load(loaded.State.SealKey, getenv); err != nil {
			return nil, err
		}
	}
	if k.upstream, err = newUpstream(&loaded.File); err != nil {
		return nil, err
	}
	if k.store, err = connectState(&loaded.State, getenv); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *keyring) Close() error {
	k.upstream.Close()
	return k.store.Close()
}

// app finds the OAuth app of a credential.
func (k *keyring) app(name string) (*config.Credential, *credential.App, error) {
	var names []string
	for i := range k.loaded.Credentials {
		switch c := &k.loaded.Credentials[i]; {
		case c.Name == name && c.OAuth == nil:
			return nil, nil, fmt.Errorf("credential %s is a personal access token: there is nothing to connect; replace its file to renew it", name)
		case c.Name == name:
			return c, k.oauth(c), nil
		case c.OAuth != nil:
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil, errors.New("no credential in the configuration is an OAuth app: give one oauth: {client_id, client_secret} in place of token")
	}
	return nil, nil, fmt.Errorf("there is no credential %q; the OAuth apps are %s", name, strings.Join(names, ", "))
}

func (k *keyring) oauth(c *config.Credential) *credential.App {
	return oauthApp(k.loaded, c.OAuth, k.upstream, credential.NewVault(k.store, k.keys), k.getenv)
}

func credentialDisconnect(open func() (*keyring, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "disconnect --config FILE NAME",
		Short: "Revoke an OAuth app's tokens upstream and forget them",
		Long: `Asks upstream to revoke the tokens of an OAuth app and forgets them here. Where upstream cannot be
asked, or the tokens cannot be read, nothing changes; with --forget they are forgotten all the same,
and upstream's dashboard is where the app's access can be ended then.`,
		Example: "  gateway credential disconnect ci --config /etc/gateway/gateway.yaml",
		Args:    cobra.ExactArgs(1),
	}
	forget := command.Flags().Bool("forget", false, "forget the tokens even where upstream does not revoke them")
	command.RunE = func(command *cobra.Command, args []string) (err error) {
		k, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		_, app, err := k.app(args[0])
		if err != nil {
			return err
		}
		what := "credential " + args[0]
		if err := k.audit.recorded(command.Context(), "gateway-credential-disconnect", what, func() (string, error) {
			return what, app.Disconnect(command.Context(), args[0], *forget)
		}); err != nil {
			return fmt.Errorf("disconnecting %s: %w", args[0], err)
		}
		_, err = fmt.Fprintf(command.ErrOrStderr(), "Credential %s is disconnected.\n", args[0])
		return err
	}
	return command
}
