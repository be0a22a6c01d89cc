package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// question is what "gateway explain" is asked about one call.
type question struct {
	who, team                     string
	project, parent, organization string
	readOnly                      bool
}

func explainCommand(getenv func(string) string) *cobra.Command {
	command := &cobra.Command{
		Use:   "explain --config FILE (--as WHO METHOD PATH | --audit DIR)",
		Short: "Say what the policy decides about a call, or what it would change in recorded ones",
		Long: `Judges one call as the running gateway would and tells the rule that decided, with its file and
line, and on a refusal what is missing. WHO is one of

  group:NAME                        somebody with this group
  email:ADDRESS                     somebody with this verified address
  issuer:NAME,CLAIM=VALUE[,…]       a workload with these claims
  team:NAME                         a token made for this team

Nothing is looked up upstream. Where the decision depends on what the path does not tell, say it:
which organization a project is in with --organization, whose branch it is with --parent, which
project a snippet or branch has with --project. It exits 1 on a refusal.

With --audit it judges the recorded calls of an audit log instead and tells which of them another
policy would decide otherwise. It exits 1 where there are any. Each call is judged at its own time,
and as the team it was recorded for: the log does not hold groups and claims, so a caller's other
teams are not seen, except by its e-mail address. What cannot be judged so is counted and said.

Without --policy, the policy is the one that the configuration names.`,
		Example: `  gateway explain --config gateway.yaml --as group:payments-eng GET /v1/projects/abcdefghijklmnopqrst/secrets
  gateway explain --config gateway.yaml --as issuer:github,repository=acme/payments POST /v1/projects/abcdefghijklmnopqrst/functions/deploy
  gateway explain --config gateway.yaml --audit ./data/audit --policy new.yaml --since 30d`,
		Args: cobra.MaximumNArgs(2),
	}
	path := configFlag(command)
	flags := command.Flags()
	var q question
	flags.StringVar(&q.who, "as", "", "who asks: group:NAME, email:ADDRESS, issuer:NAME,CLAIM=VALUE or team:NAME")
	flags.StringVar(&q.team, "team", "", "the team to act as, like the header X-Gateway-Team")
	flags.StringVar(&q.organization, "organization", "", "slug of the organization that the project is in, or that the body names")
	flags.StringVar(&q.parent, "parent", "", "ref of the project whose branch the target is")
	flags.StringVar(&q.project, "project", "", "ref of the project that the snippet or branch has")
	flags.BoolVar(&q.readOnly, "read-only", false, "the body says that the query only reads")
	rules := flags.String("policy", "", "a policy file to judge by instead of the configured one")
	dir := flags.String("audit", "", "judge the recorded calls of the audit log in this directory")
	since := flags.String("since", "", "with --audit: calls from then on, a duration back from now (24h, 30d) or a time (2026-01-02T15:04:05Z)")
	until := flags.String("until", "", "with --audit: calls before then, likewise")
	command.MarkFlagsOneRequired("as", "audit")
	for _, one := range []string{"as", "team", "organization", "parent", "project", "read-only"} {
		command.MarkFlagsMutuallyExclusive(one, "audit")
	}
	command.MarkFlagsMutuallyExclusive("as", "since")
	command.MarkFlagsMutuallyExclusive("as", "until")
	command.RunE = func(command *cobra.Command, args []string) error {
		if (len(args) == 2) != (*dir == "") || len(args) == 1 {
			return errors.New("name one call as METHOD PATH with --as, or none with --audit")
		}
		loaded, err := config.Load(*path, getenv)
		if err != nil {
			return err
		}
		if *rules != "" {
			if loaded.Policy, err = otherPolicy(loaded, *rules); err != nil {
				return err
			}
		}
		if *dir != "" {
			return replayCommand(command, loaded, *dir, *since, *until)
		}
		return explainCall(command, loaded, q, strings.ToUpper(args[0]), args[1])
	}
	return command
}

// otherPolicy loads a policy that the configuration does not name.
func otherPolicy(loaded *config.Loaded, path string) (*policy.Policy, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	return config.LoadPolicy(path, loaded.Catalog, loaded.IssuerNames())
}

// explainCall explains one call.
func explainCall(command *cobra.Command, loaded *config.Loaded, q question, method, path string) error {
	caller, err := callerOf(q.who)
	if err != nil {
		return err
	}
	if err := known(caller, loaded); err != nil {
		return fmt.Errorf("--as %s: %w", q.who, err)
	}
	call, err := loaded.Catalog.Parse(method, path)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	request, err := q.request(&call)
	if err != nil {
		return err
	}
	now := time.Now()
	explanation := loaded.Policy.Explain(caller, q.team, request, now)
	if _, err := fmt.Fprint(command.OutOrStdout(), explanation, q.untold(loaded.Policy, caller, request, now)); err != nil {
		return err
	}
	if !explanation.Decision.Allow {
		return errors.New("the policy refuses this call")
	}
	return nil
}

// request is the call with the facts that were told. A project is taken for no branch unless it is said to be one.
func (q *question) request(call *catalog.Call) (policy.Request, error) {
	request := policy.Request{Op: call.Op, Effect: call.Op.Effect, Target: policy.Named(call.Op, call.Target)}
	if q.readOnly {
		if call.Op.ReadOnlyIf == "" {
			return request, fmt.Errorf("--read-only: %s has no form that only reads", call.Op.ID)
		}
		request.Effect = catalog.Read
	}
	target := &request.Target
	for _, fact := range []struct {
		flag, told string
		into       *string
	}{
		{"project", q.project, &target.Project}, {"parent", q.parent, &target.Parent}, {"organization", q.organization, &target.Organization},
	} {
		if fact.told == "" {
			continue
		}
		if *fact.into != "" && *fact.into != fact.told {
			return request, fmt.Errorf("--%s %s: the path names %s", fact.flag, fact.told, *fact.into)
		}
		*fact.into = fact.told
	}
	target.Branch, target.Resolved = target.Parent != "", true
	return request, nil
}

// untold names the facts that the decision could depend on and nobody told, a line each.
func (q *question) untold(rules *policy.Policy, caller *identity.Caller, request policy.Request, now time.Time) string {
	request.Target.Resolved = false
	wants := rules.Wants(caller, q.team, request, now)
	var lines strings.Builder
	for _, fact := range []struct {
		wanted     bool
		what, flag string
	}{
		{wants.Organization && q.organization == "", "which organization it is in", "organization"},
		{wants.Project && q.project == "", "which project it has", "project"},
		{wants.Parent && q.parent == "", "whose branch it is, if it is one", "parent"},
	} {
		if fact.wanted {
			fmt.Fprintf(&lines, "%-10s%s: the gateway looks it up, here say it with --%s\n", "unknown", fact.what, fact.flag)
		}
	}
	return lines.String()
}

// known refuses a team or an issuer that there is not: a mistyped one would read as a refusal by the policy.
func known(caller *identity.Caller, loaded *config.Loaded) error {
	for _, team := range caller.Teams {
		if teams := loaded.Policy.TeamNames(); !slices.Contains(teams, team) {
			return fmt.Errorf("the policy has no such team; it has %s", listed(teams))
		}
	}
	if issuers := loaded.IssuerNames(); caller.Issuer != "" && !slices.Contains(issuers, caller.Issuer) {
		return fmt.Errorf("the configuration has no such issuer; it has %s", listed(issuers))
	}
	return nil
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
