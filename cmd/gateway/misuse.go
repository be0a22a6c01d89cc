package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"corp.example/gateway/internal/strictyaml"
)

// explainMisuse makes every command below root answer a command line that it does not take with how it is written.
func explainMisuse(root *cobra.Command) {
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return misuse(command, fmt.Errorf("%w%s", err, nearestFlag(command, err)))
	})
	root.PersistentPreRunE = func(command *cobra.Command, _ []string) error { // cobra asks the same a moment later, and says less
		if err := errors.Join(command.ValidateRequiredFlags(), command.ValidateFlagGroups()); err != nil {
			return misuse(command, err)
		}
		return nil
	}
	var each func(*cobra.Command)
	each = func(command *cobra.Command) {
		if takes := command.Args; takes != nil {
			command.Args = func(command *cobra.Command, args []string) error {
				if err := takes(command, args); err != nil {
					return misuse(command, err)
				}
				return nil
			}
		}
		for _, child := range command.Commands() {
			each(child)
		}
	}
	each(root)
}

// misuse adds how a command is written to what is wrong with the way that it was.
func misuse(command *cobra.Command, err error) error {
	line := command.UseLine()
	if !command.Runnable() {
		line = command.CommandPath() + " [command]"
	}
	return fmt.Errorf("%w\nusage: %s", err, line)
}

// nearestFlag is the flag that a mistyped one was meant to be.
func nearestFlag(command *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var names []string
	command.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := strictyaml.Nearest(unknown.GetSpecifiedName(), slices.Values(names)); near != "" {
		return ": did you mean --" + near + "?"
	}
	return ""
}

// unknownCommand finds a command that a group does not have. Cobra answers it with the group's help and success, which a
// script that meant to revoke a token would take for done.
func unknownCommand(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	group, rest, _ := root.Find(args)
	if group.Runnable() || group.ParseFlags(rest) != nil { // asks for help, or has faulty flags, which cobra tells
		return nil
	}
	words := group.Flags().Args()
	if len(words) == 0 || words[0] == cobra.ShellCompRequestCmd || words[0] == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	group.SuggestionsMinimumDistance = 2
	suggestion := ""
	if near := group.SuggestionsFor(words[0]); len(near) > 0 {
		suggestion = ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s\nsee %s --help", words[0], group.CommandPath(), suggestion, group.CommandPath())
}

// noArgs is for commands that have flags alone.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}
