package main

import (
	"bytes"
	"strings"
	"testing"
)

// command runs the program and returns what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, func(string) string { return "" }, &out, &out)
	return out.String(), err
}

// A script that means to revoke a token must not take a mistyped command for done.
func TestAMistypedCommandFails(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"chek", `unknown command "chek" for "gateway": did you mean check?` + "\nsee gateway --help"},
		{"status", `unknown command "status" for "gateway"` + "\nsee gateway --help"},
		{"token revok 0123", `unknown command "revok" for "gateway token": did you mean revoke?` + "\nsee gateway token --help"},
		{"token --config x revok 0123", `unknown command "revok"`},
		{"token --config=x rm 0123", `unknown command "rm"`},
		{"credential lst", "did you mean list?"},
		{"audit find --since 3h", `unknown flag: --since`},
		{"completion csh", `unknown command "csh" for "gateway completion"`},
	} {
		if out, err := command(t, strings.Fields(test.args)...); err == nil || !strings.HasPrefix(err.Error(), test.want) && !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("gateway %s: %v, printed %q; want %q", test.args, err, out, test.want)
		}
	}
	for args, want := range map[string]string{
		"": "Available Commands", "token": "Available Commands", "token --help": "Available Commands", "help token": "Available Commands",
		"token -h revok": "Available Commands", "completion bash": "__complete", "__complete token rev": "revoke\t", "--version": "gateway ",
	} {
		if out, err := command(t, strings.Fields(args)...); err != nil || !strings.Contains(out, want) {
			t.Errorf("gateway %s: %v, printed %q; want %q", args, err, out, want)
		}
	}
}

func TestAMisusedCommandSaysHowItIsWritten(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"check gateway.yaml", `unexpected argument "gateway.yaml"` + "\nusage: gateway check --config FILE [flags]"},
		{"serve", `required flag(s) "config" not set` + "\nusage: gateway serve --config FILE [flags]"},
		{"check --confg x", "unknown flag: --confg: did you mean --config?\nusage: gateway check --config FILE [flags]"},
		{"token list --formt json", "did you mean --format?\nusage: gateway token list --config FILE [flags]"},
		{"check --zebra-crossing", "unknown flag: --zebra-crossing\nusage: "},
		{"token revoke --config x", "received 0\nusage: gateway token revoke --config FILE TOKEN-OR-ID [flags]"},
		{"explain --config x", "[as audit] is required\nusage: gateway explain --config FILE (--as WHO"},
		{"token --zebra", "unknown flag: --zebra\nusage: gateway token [command]"},
	} {
		if out, err := command(t, strings.Fields(test.args)...); err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
			t.Errorf("gateway %s: %v, printed %q; want %q", test.args, err, out, test.want)
		}
	}
}
