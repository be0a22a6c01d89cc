package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

func explainCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "explain --config FILE --as WHO [--team TEAM] METHOD PATH",
		Short: "Say what the policy decides about a call, by which rule, and what is missing",
		Long: `Judges one call as the running gateway would and tells the rule that decided, with its file and
line, and on a refusal what is missing. WHO is one of

  group:NAME                        somebody with this group
  email:ADDRESS                     somebody with this verified address
  issuer:NAME,CLAIM=VALUE[,…]       a workload with these claims
  team:NAME                         a token made for this team

Nothing is looked up upstream. Where the decision depends on it, say which organization a project
is in with --organization, and whose branch it is with --parent. It exits 1 on a refusal.`,
		Example: `  gateway explain --config gateway.yaml --as group:payments-eng GET /v1/projects/abcdefghijklmnopqrst/secrets
  gateway explain --config gateway.yaml --as issuer:github,repository=acme/payments POST /v1/projects/abcdefghijklmnopqrst/functions/deploy`,
		Args: cobra.ExactArgs(2),
	}
	path := configFlag(command)
	who := command.Flags().String("as", "", "who asks: group:NAME, email:ADDRESS, issuer:NAME,CLAIM=VALUE or team:NAME")
	_ = command.MarkFlagRequired("as") // fails only for a flag that does not exist
	team := command.Flags().String("team", "", "the team to act as, like the header X-Gateway-Team")
	organization := command.Flags().String("organization", "", "slug of the organization the target is in")
	parent := command.Flags().String("parent", "", "ref of the project whose branch the target is")
	command.RunE = func(command *cobra.Command, args []string) error {
		loaded, err := config.Load(*path, getenv)
		if err != nil {
			return err
		}
		caller, err := callerOf(*who)
		if err != nil {
			return err
		}
		call, err := loaded.Catalog.Parse(strings.ToUpper(args[0]), args[1])
		if err != nil {
			return fmt.Errorf("%s %s: %w", args[0], args[1], err)
		}
		request := policy.Request{Op: call.Op, Effect: call.Op.Effect, Target: targetOf(call.Target, *organization, *parent)}
		explanation := loaded.Policy.Explain(caller, *team, request, time.Now())
		if _, err := fmt.Fprintln(command.OutOrStdout(), explanation); err != nil {
			return err
		}
		if !explanation.Decision.Allow {
			return errors.New("the policy refuses this call")
		}
		return nil
	}
	return command
}

// callerOf makes the caller that a --as describes.
func callerOf(who string) (*identity.Caller, error) {
	kind, rest, _ := strings.Cut(who, ":")
	caller := &identity.Caller{Kind: identity.Person, Subject: rest}
	switch {
	case rest == "":
	case kind == "group":
		caller.Groups = []string{rest}
		return caller, nil
	case kind == "email":
		caller.Email = rest
		return caller, nil
	case kind == "team":
		caller.Kind, caller.Teams = identity.Token, []string{rest}
		return caller, nil
	case kind == "issuer":
		parts := strings.Split(rest, ",")
		caller.Kind, caller.Issuer, caller.Claims = identity.Workload, parts[0], map[string]any{}
		for _, claim := range parts[1:] {
			name, value, found := strings.Cut(claim, "=")
			if !found {
				return nil, fmt.Errorf("--as %s: %q is no CLAIM=VALUE", who, claim)
			}
			caller.Claims[name] = value
		}
		return caller, nil
	}
	return nil, fmt.Errorf("--as %s: write group:NAME, email:ADDRESS, issuer:NAME,CLAIM=VALUE or team:NAME", who)
}

func targetOf(named catalog.Target, organization, parent string) policy.Target {
	target := policy.Target{Kind: named.Kind, Organization: organization, Parent: parent, Branch: parent != "", Resolved: organization != "" || parent != ""}
	switch named.Kind {
	case catalog.Project, catalog.Branch:
		target.Project = named.ID
	case catalog.Organization:
		target.Organization = named.ID
	}
	return target
}
