// Command gateway is an authenticated, caching reverse-proxy gateway in front of the Supabase Management API.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, however long the first one's draining takes
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
		os.Exit(1)
	}
}

// run is the whole program but for the process around it. A faulty configuration comes back as an error that reads one
// fault a line.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	root := rootCommand(getenv)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := unknownCommand(root, args); err != nil {
		return err
	}
	return root.ExecuteContext(ctx)
}

func rootCommand(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "gateway",
		Short: "An authenticated, caching gateway in front of the Supabase Management API",
		Long: `The gateway stands between a company's tools and the Supabase Management API. A tool changes
one thing, its base URL, and gets its own company identity instead of a shared token, only the
access its team was granted, a place in a fair queue instead of a 429, answers from a cache,
and a line in an audit log.

Begin with "gateway demo": it runs everything on this machine and asks for nothing.`,
		Version:       buildVersion(),
		SilenceUsage:  true, // an error says what to do; the usage text would bury it
		SilenceErrors: true,
	}
	root.SetVersionTemplate("gateway {{.Version}}\n")
	root.AddCommand(
		demoCommand(getenv),
		serveCommand(getenv),
		sandboxCommand(),
		checkCommand(getenv),
		explainCommand(getenv),
		tokenCommand(func(path string) (tokenSettings, error) { return loadTokenSettings(path, getenv) }),
		credentialCommand(getenv),
		auditCommand(auditPlaces{
			dir: func(path string) (string, error) { return loadAuditDir(path, getenv) },
			source: func(path, which string) (auditSource, func() error, error) {
				return loadAuditSource(path, which, getenv)
			},
		}),
		healthCommand(),
		versionCommand(),
	)
	explainMisuse(root)
	return root
}

// configFlag adds the flag that every command on a configuration has.
func configFlag(command *cobra.Command) *string {
	path := command.Flags().String("config", "", "path of gateway.yaml")
	_ = command.MarkFlagRequired("config") // fails only for a flag that does not exist
	_ = command.MarkFlagFilename("config", "yaml")
	return path
}
