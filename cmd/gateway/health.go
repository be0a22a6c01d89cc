package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTime bounds the question: a prober that waits longer takes the service for dead anyhow.
const healthTime = 3 * time.Second

func healthCommand() *cobra.Command {
	var url string
	command := &cobra.Command{
		Use:   "health",
		Short: "Ask a running gateway whether it is ready",
		Long: `Asks the admin listener of a running gateway how it is, for container health checks: an image
without a shell has nothing else to ask with. The exit status is 0 where it is well and 1 where it
is not, or does not answer within three seconds; what is not well is printed.

/readyz tells whether it can serve, /healthz only whether the process lives.`,
		Example: "  gateway health\n  gateway health --url http://127.0.0.1:9090/healthz",
		Args:    noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return health(command.Context(), url, command.OutOrStdout())
		},
	}
	command.Flags().StringVar(&url, "url", "http://127.0.0.1:9090/readyz", "what to ask, on the address of admin.listen")
	return command
}

func health(ctx context.Context, url string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil || request.URL.Scheme != "http" && request.URL.Scheme != "https" || request.URL.Host == "" {
		return fmt.Errorf("--url %q: write it as http://127.0.0.1:9090/readyz", url)
	}
	// No proxy: one named in the environment is for the way to upstream, and this question is for a neighbour.
	// No connection that is kept: the watchdog asks again and again, and each time with a client of its own.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w (is it running, and is this its admin.listen?)", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // some lines, whatever answers there
	if err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("there is nothing to ask at %s: /readyz and /healthz are on the address of admin.listen", url)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway is not well: %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	_, err = stdout.Write(body)
	return err
}
