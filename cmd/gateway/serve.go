package main

import (
	"github.com/spf13/cobra"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/telemetry"
)

func serveCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the gateway",
		Long: `Runs the gateway until it is told to stop. SIGTERM and Ctrl-C stop accepting, let running and
queued requests finish within server.drain_timeout and flush the audit log. SIGHUP, or a change
of the file, reads the policy again; a faulty policy changes nothing and is reported.`,
		Example: "  gateway serve --config /etc/gateway/gateway.yaml",
		Args:    cobra.NoArgs,
	}
	path := configFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		loaded, err := config.Load(*path, getenv)
		if err != nil {
			return err
		}
		log, err := telemetry.Log(command.ErrOrStderr(), loaded.Telemetry.Log.Level, loaded.Telemetry.Log.Format)
		if err != nil {
			return err
		}
		g, err := build(loaded, getenv, log)
		if err != nil {
			return err
		}
		return g.run(command.Context())
	}
	return command
}
