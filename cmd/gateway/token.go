package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/state"
	"corp.example/gateway/internal/strictyaml"
)

// tokenSettings is what the token commands need of a configuration.
type tokenSettings struct {
	Connect func() (state.Connection, error) // to what the service keeps tokens in
	Tokens  identity.Tokens                  // identity.tokens
	Teams   []string                         // the policy's teams, to tell a mistyped --team; nil: not checked
	Catalog *catalog.Catalog                 // to tell a mistyped --scope or --project; nil: not checked
	Audit   operatorLog                      // where it is recorded
}

// tokenCommand groups the commands on minted tokens. They work on the state directory itself, or through the gateway
// that is running on it, which then knows of every change at once, or on the Redis that the replicas share.
func tokenCommand(load func(path string) (tokenSettings, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke tokens without a browser",
		Long: `Creates, lists and revokes the tokens that the gateway mints. It works beside a running gateway on
the same configuration, and a revoked token stops at once, on every replica within a second. Whoever
may read state.dir, or write to the Redis of state.redis, may do this.`,
	}
	path := command.PersistentFlags().String("config", "", "path of gateway.yaml")
	_ = command.MarkPersistentFlagRequired("config") // fails only for a flag that does not exist
	open := func() (*desk, error) {
		settings, err := load(*path)
		if err != nil {
			return nil, err
		}
		return openDesk(settings)
	}
	command.AddCommand(tokenCreate(open), tokenList(open), tokenRevoke(open))
	return command
}

// desk is where one token command does its work.
type desk struct {
	*identity.Service
	settings tokenSettings
	store    state.Connection
}

func openDesk(settings tokenSettings) (*desk, error) {
	store, err := settings.Connect()
	if err != nil {
		return nil, err
	}
	service, err := identity.New(identity.Config{Tokens: settings.Tokens}, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &desk{service, settings, store}, nil
}

func (d *desk) Close() error {
	d.Service.Close()
	return d.store.Close()
}

func tokenCreate(open func() (*desk, error)) *cobra.Command {
	var subject, email, name, expires string
	var teams []string
	var limits identity.Restriction
	command := &cobra.Command{
		Use:   "create --config FILE --subject WHO --team TEAM",
		Short: "Create a token and print it, alone, on standard output",
		Long: `Creates a token and prints it, alone, on standard output: it is shown this once. The token stands
for the subject, a name of your choice that audit lines show, and is in the teams given. With
--scope and --project it may do less than they may.`,
		Example: `  gateway token create --subject nightly-backup --team payments --name backup --expires 30d
  gateway token create --subject ada --email ada@corp.example --team payments --name laptop --project abcdefghijklmnopqrst`,
		Args: noArgs,
	}
	flags := command.Flags()
	flags.StringVar(&subject, "subject", "", "whom the token stands for (required)")
	flags.StringVar(&email, "email", "", "the subject's e-mail address; policies may name it")
	flags.StringSliceVar(&teams, "team", nil, "a team the token is in; may be repeated")
	flags.StringVar(&name, "name", "", "what people tell the token by (default: the subject)")
	flags.StringVar(&expires, "expires", "", "for how long, such as 12h or 90d, or until when, such as 2027-01-31 (default: identity.tokens.max_age)")
	flags.StringSliceVar(&limits.Scopes, "scope", nil, "only this scope or permission, such as database:read or database:*; may be repeated")
	flags.StringSliceVar(&limits.Projects, "project", nil, "only the project with this ref; may be repeated")
	_ = command.MarkFlagRequired("subject") // fails only for a flag that does not exist

	command.RunE = func(command *cobra.Command, _ []string) (err error) {
		until, err := parseExpiry(expires, time.Now())
		if err != nil {
			return err
		}
		if email != "" && strings.Count(email, "@") != 1 {
			return fmt.Errorf("--email %q: not an e-mail address", email)
		}
		if name == "" {
			name = subject
		}
		d, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		if err := d.checkTeams(teams); err != nil {
			return err
		}
		if d.settings.Catalog != nil {
			if err := portal.CheckLimits(d.settings.Catalog, limits); err != nil {
				return plain(err)
			}
		}
		var secret string
		var info identity.TokenInfo
		if err := d.settings.Audit.recorded(command.Context(), "gateway-token-create", "a token for "+subject, func() (string, error) {
			secret, info, err = d.Mint(command.Context(), identity.MintRequest{
				Owner: identity.Operator(subject, email, teams), Name: name, Expires: until, Limits: limits,
			})
			return fmt.Sprintf("token %s, %q, for %s", info.ID, info.Name, info.Subject), err
		}); err != nil {
			return plain(err)
		}
		stderr := command.ErrOrStderr()
		_, _ = fmt.Fprintf(stderr, "Token %s for %s, valid until %s. It is shown this once.\n",
			info.ID, info.Subject, info.Expires.Format(time.RFC3339))
		if len(teams) == 0 && email == "" {
			_, _ = fmt.Fprintln(stderr, "It is in no team, so the policy allows it nothing: give it one with --team.")
		}
		_, err = fmt.Fprintln(command.OutOrStdout(), secret)
		return err
	}
	return command
}

// checkTeams refuses a team that the policy does not have: the token would silently be allowed nothing.
func (d *desk) checkTeams(teams []string) error {
	if d.settings.Teams == nil {
		return nil
	}
	known := make(map[string]bool, len(d.settings.Teams))
	for _, team := range d.settings.Teams {
		known[team] = true
	}
	for _, team := range teams {
		if !known[team] {
			return fmt.Errorf("--team %q: the policy has no such team; it has %s", team, listed(d.settings.Teams))
		}
	}
	return nil
}

// parseExpiry reads how long or until when; a date means the end of that day, UTC. The zero time means that nothing was
// said.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	var d strictyaml.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("--expires %q: write it as a duration such as 12h or 90d, or as a date such as 2027-01-31", text)
	}
	return now.Add(time.Duration(d)), nil
}

func tokenList(open func() (*desk, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "list --config FILE",
		Short: "List the tokens that are in force",
		Long: `Lists the tokens that are in force. Times are UTC. LIMITS tells to how many scopes and projects a
token is limited; --format json names them.`,
		Args: noArgs,
	}
	format := listFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) (err error) {
		if err := format.check(); err != nil {
			return err
		}
		d, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		infos, err := d.List(command.Context())
		if err != nil {
			return plain(err)
		}
		return writeList(command.OutOrStdout(), format, infos, writeTokens)
	}
	return command
}

func writeTokens(w io.Writer, infos []identity.TokenInfo) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tSUBJECT\tISSUER\tTEAMS\tLIMITS\tCREATED\tEXPIRES\tLAST USED")
	for _, i := range infos {
		used := "never"
		if !i.LastUsed.IsZero() {
			used = i.LastUsed.Format(time.DateTime)
		}
		_, _ = fmt.Fprintln(table, strings.Join([]string{
			i.ID, printable(i.Name), printable(i.Subject), dash(i.Issuer), dash(printable(strings.Join(i.Teams, ","))), dash(limitsOf(i.Limits)),
			i.Created.Format(time.DateTime), i.Expires.Format(time.DateTime), used,
		}, "\t"))
	}
	return table.Flush() // and with it every error from before
}

// limitsOf tells in a few words what a token may do less than its owner.
func limitsOf(limits identity.Restriction) string {
	var words []string
	if limits.Team != "" {
		words = append(words, "team "+printable(limits.Team))
	}
	if n := len(limits.Scopes); n > 0 {
		words = append(words, counted(n, "scope"))
	}
	if n := len(limits.Projects); n > 0 {
		words = append(words, counted(n, "project"))
	}
	return strings.Join(words, ", ")
}

func tokenRevoke(open func() (*desk, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke --config FILE TOKEN-OR-ID",
		Short: "Revoke a token, given itself or its id",
		Long: `Revokes a token, given itself or, better, its id as "gateway token list" shows it: the command line
is seen by others on the machine and stays in the shell's history. With "-" it is read from standard
input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) (err error) {
			which := args[0]
			if which == "-" {
				line, err := io.ReadAll(io.LimitReader(command.InOrStdin(), 1024))
				if err != nil {
					return fmt.Errorf("reading standard input: %w", err)
				}
				which = strings.TrimSpace(string(line))
			}
			d, err := open()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			var info identity.TokenInfo
			err = d.settings.Audit.recorded(command.Context(), "gateway-token-revoke", "a token", func() (string, error) {
				info, err = d.Revoke(command.Context(), which)
				return fmt.Sprintf("token %s, %q, of %s", info.ID, info.Name, info.Subject), err
			})
			if errors.Is(err, state.ErrNotFound) {
				return errors.New("there is no such token: it may have expired or been revoked; see gateway token list")
			}
			if err != nil {
				return plain(err)
			}
			_, err = fmt.Fprintf(command.ErrOrStderr(), "Token %s (%s, %s) is revoked.\n", info.ID, printable(info.Name), printable(info.Subject))
			return err
		},
	}
}

// plain gives the text that was written for people, and behind it the reason where there is one.
func plain(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) {
		return err
	}
	if p.Err != nil {
		return fmt.Errorf("%s (%w)", p.Message, p.Err)
	}
	return errors.New(p.Message)
}
