package main

import (
	"github.com/spf13/cobra"

	"corp.example/gateway/internal/config"
)

func serveCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the gateway",
		Long: `Runs the gateway until it is told to stop. After SIGTERM or Ctrl-C it is not ready any more, still
answers for server.drain_delay, stops accepting, lets running and queued requests finish within
server.drain_timeout and flushes the audit log; a second signal ends it at once. SIGHUP, or a change
of the file, reads the policy again; a faulty policy changes nothing and is reported.`,
		Example: "  gateway serve --config /etc/gateway/gateway.yaml",
		Args:    noArgs,
	}
	path := configFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		var m memory
		m.adapt() // first: reading a large policy makes so much garbage that collecting it takes a quarter of a start
		loaded, err := config.Load(*path, getenv)
		if err != nil {
			return err
		}
		g, err := build(loaded, getenv, command.ErrOrStderr())
		if err != nil {
			return err
		}
		g.memory = m
		return g.run(command.Context())
	}
	return command
}
