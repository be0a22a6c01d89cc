package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/credential"
)

// callbackPath is where upstream sends the browser back to. It is part of what is registered with the app.
const callbackPath = "/callback"

func credentialConnect(open func() (*keyring, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "connect --config FILE NAME",
		Short: "Give an OAuth app its tokens: somebody agrees in a browser",
		Long: `Prints a URL, alone, on standard output, and waits until somebody has opened it in a browser and
agreed that the app may act for an organization. Upstream then sends the browser back to this
command, which stores the tokens, sealed; a running gateway uses them from then on and renews them
by itself.

The redirect URI registered with the app must be http://ADDRESS/callback with the address of
--listen. Where the browser runs on another machine, bring its loopback here first, for example
with ssh -L 9780:127.0.0.1:9780.`,
		Example: "  gateway credential connect ci --config /etc/gateway/gateway.yaml",
		Args:    cobra.ExactArgs(1),
	}
	flags := command.Flags()
	listen := flags.String("listen", "127.0.0.1:9780", "loopback `ADDRESS` that upstream sends the browser back to")
	organization := flags.String("organization", "", "`SLUG` of the organization to preselect (default: the credential's, where it names one alone)")
	command.RunE = func(command *cobra.Command, args []string) (err error) {
		k, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		configured, app, err := k.app(args[0])
		if err != nil {
			return err
		}
		if *organization == "" && len(configured.Organizations) == 1 {
			*organization = configured.Organizations[0]
		}
		listener, err := listenLoopback(*listen)
		if err != nil {
			return err
		}
		flow := app.Authorize("http://"+listener.Addr().String()+callbackPath, *organization)
		if err := consent(command, listener, flow, func(ctx context.Context, answer url.Values) error {
			what := "credential " + args[0]
			return k.audit.recorded(ctx, "gateway-credential-connect", what, func() (string, error) {
				return what, flow.Finish(ctx, args[0], answer)
			})
		}); err != nil {
			return fmt.Errorf("connecting %s: %w", args[0], err)
		}
		_, err = fmt.Fprintf(command.ErrOrStderr(), "Credential %s is connected. A running gateway uses it from now on.\n", args[0])
		return err
	}
	return command
}

// listenLoopback takes the address that the browser comes back to. The code that it brings must not cross a network.
func listenLoopback(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", address, err)
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("--listen %s: use a loopback address such as 127.0.0.1:9780: the code that the browser brings is as good as the tokens", address), listener.Close())
	}
	return listener, nil
}

// consent shows the URL and waits for the browser to come back with the code, which finish takes.
func consent(command *cobra.Command, listener net.Listener, flow *credential.Authorization, finish func(context.Context, url.Values) error) error {
	ctx, cancel := context.WithTimeout(command.Context(), credential.ConsentWithin)
	defer cancel()
	finished := make(chan error, 1)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: callback(flow, func(answer url.Values) error {
		err := finish(ctx, answer)
		select {
		case finished <- err:
		default: // a page that is loaded again
		}
		return err
	})}
	go server.Serve(listener) // ends with Shutdown
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ending) // the page is on its way to the browser
	}()
	_, _ = fmt.Fprintf(command.ErrOrStderr(), "Open this in a browser, signed in to Supabase as somebody who may authorise the app:\n\n")
	_, _ = fmt.Fprintln(command.OutOrStdout(), flow.URL)
	_, _ = fmt.Fprintf(command.ErrOrStderr(), "\nWaiting on http://%s%s for the browser to come back, for %v. Ctrl-C ends this; nothing is changed then.\n", listener.Addr(), callbackPath, credential.ConsentWithin)
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
		if command.Context().Err() == nil {
			return fmt.Errorf("nobody agreed within %v; nothing was changed", credential.ConsentWithin)
		}
		return errors.New("interrupted; nothing was changed")
	}
}

// callback answers the browser that comes back. Whoever comes with another state is sent away, and the wait goes on.
func callback(flow *credential.Authorization, finish func(url.Values) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callbackPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		answer := r.URL.Query()
		if !flow.Mine(answer) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "This does not belong to the authorization that the gateway is waiting for.\n")
			return
		}
		if err := finish(answer); err != nil {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "The credential is not connected. The terminal says why.\n")
			return
		}
		_, _ = io.WriteString(w, "The credential is connected. You can close this window.\n")
	})
	return mux
}
