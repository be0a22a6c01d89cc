package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/credential"
)

// listedCredential is one line of the list.
type listedCredential struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // token or oauth
	Owner   string    `json:"owner"`
	Health  string    `json:"health"` // healthy, unhealthy, not connected, or unknown: no gateway has used it yet
	Fault   string    `json:"fault,omitempty"`
	Noticed time.Time `json:"noticed,omitzero"` // when a gateway last noticed a change of its health
	Expires time.Time `json:"expires,omitzero"` // of a personal access token, as configured; of an app's access token, which is renewed before
	Reach   string    `json:"reach"`
	Rights  []string  `json:"rights"` // none: everything
}

func credentialList(open func() (*keyring, error)) *cobra.Command {
	command := &cobra.Command{
		Use:   "list --config FILE",
		Short: "List the upstream credentials: kind, owner, health, expiry, reach",
		Long: `Lists the upstream credentials: what they are, whose quota they spend, how they are, when they end,
what they reach and may do. Times are UTC. --format json names their scopes and permissions.`,
		Args: noArgs,
	}
	format := listFlag(command)
	command.RunE = func(command *cobra.Command, _ []string) (err error) {
		if err := format.check(); err != nil {
			return err
		}
		k, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		var list []listedCredential
		for i := range k.loaded.Credentials {
			one, err := k.describe(command.Context(), &k.loaded.Credentials[i])
			if err != nil {
				return err
			}
			list = append(list, one)
		}
		return writeList(command.OutOrStdout(), format, list, writeCredentials)
	}
	return command
}

func (k *keyring) describe(ctx context.Context, c *config.Credential) (listedCredential, error) {
	one := listedCredential{Name: c.Name, Kind: "token", Owner: c.Owner, Health: "unknown", Expires: c.Expires.Time, Reach: reach(c),
		Rights: append([]string{}, c.Rights(k.loaded.Catalog)...)}
	report, found, err := credential.LastReport(ctx, k.store, c.Name)
	if err != nil {
		return one, err
	}
	if found {
		one.Health, one.Fault, one.Noticed = "unhealthy", report.Fault, report.At
		if report.Healthy {
			one.Health = "healthy"
		}
	}
	if c.OAuth == nil {
		return one, nil
	}
	one.Kind = "oauth"
	connection, err := k.oauth(c).Connection(ctx, c.Name)
	one.Expires = connection.Expires
	switch {
	case errors.Is(err, credential.ErrNotConnected):
		one.Health, one.Fault = "not connected", "run gateway credential connect "+c.Name
	case err != nil:
		one.Health, one.Fault = "unhealthy", err.Error()
	case connection.Fault != "":
		one.Health, one.Fault = "unhealthy", connection.Fault
	case !connection.Interrupted.IsZero():
		one.Fault = strings.TrimPrefix(one.Fault+"; a renewal begun at "+connection.Interrupted.UTC().Format(time.DateTime)+" has not ended: the refresh token may be spent", "; ")
	}
	return one, nil
}

// reach says what a credential reaches.
func reach(c *config.Credential) string {
	var parts []string
	if len(c.Organizations) > 0 {
		parts = append(parts, "organizations "+strings.Join(c.Organizations, ","))
	}
	if len(c.Projects) > 0 {
		parts = append(parts, "projects "+strings.Join(c.Projects, ","))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, "; ")
}

func writeCredentials(w io.Writer, list []listedCredential) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tKIND\tOWNER\tHEALTH\tEXPIRES\tREACH\tMAY\tFAULT")
	for _, c := range list {
		expires := ""
		if !c.Expires.IsZero() {
			expires = c.Expires.UTC().Format(time.DateTime)
		}
		var rights string
		switch n := len(c.Rights); n {
		case 0:
			rights = "everything"
		case 1:
			rights = c.Rights[0]
		default:
			rights = fmt.Sprintf("%d scopes and permissions", n)
		}
		_, _ = fmt.Fprintln(table, strings.Join([]string{c.Name, c.Kind, printable(c.Owner), c.Health, dash(expires), c.Reach, rights, dash(c.Fault)}, "\t"))
	}
	return table.Flush() // and with it every error from before
}
