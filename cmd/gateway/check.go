package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/config"
)

func checkCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check the configuration and the policy, and run the policy's tests",
		Long: `Checks gateway.yaml and the policy it names: unknown keys, wrong values, missing secrets,
unknown scopes, permissions and operations, and the policy's own tests. Every fault is printed
at once with its file, line and key; the exit status is 1 where there is one.`,
		Example: "  gateway check --config configs/gateway.yaml",
		Args:    noArgs,
	}
	path := configFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		loaded, err := config.Check(*path, getenv)
		if err != nil {
			return fmt.Errorf("the configuration has faults:\n%w", err)
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s is good: %s, %s, %s\n", *path, counted(len(loaded.Policy.TeamNames()), "team"),
			counted(len(loaded.Catalog.Operations()), "operation"), counted(len(loaded.Credentials), "credential"))
		return err
	}
	return command
}
