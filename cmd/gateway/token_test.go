package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/state"
)

// token runs "gateway token …" on a state directory and returns what it printed.
func token(t *testing.T, dir string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cat, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	command := tokenCommand(func(path string) (tokenSettings, error) {
		if path != "gateway.yaml" {
			return tokenSettings{}, errors.New("reading " + path)
		}
		return tokenSettings{Connect: connect(dir), Tokens: identity.Tokens{MaxAge: 24 * time.Hour}, Teams: []string{"payments", "search"}, Catalog: cat}, nil
	})
	var out, log bytes.Buffer
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetOut(&out)
	command.SetErr(&log)
	command.SetIn(strings.NewReader(""))
	command.SetArgs(append(args, "--config", "gateway.yaml"))
	err = command.ExecuteContext(t.Context())
	return out.String(), log.String(), err
}

// authenticate asks a service on the store who is behind a token.
func authenticate(t *testing.T, store state.Store, secret string) (*identity.Caller, error) {
	t.Helper()
	service, err := identity.New(identity.Config{}, store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	return service.Authenticate(t.Context(), []string{"Bearer " + secret}, netip.MustParseAddr("192.0.2.1"))
}

func openStore(t *testing.T, dir string) *state.Embedded {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// createToken creates a token and returns it and its id.
func createToken(t *testing.T, dir string, args ...string) (secret, id string) {
	t.Helper()
	stdout, stderr, err := token(t, dir, append([]string{"create", "--subject", "nightly", "--team", "payments"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	secret = strings.TrimSuffix(stdout, "\n")
	if !regexp.MustCompile(`^sbp_[a-f0-9]{40}$`).MatchString(secret) {
		t.Fatalf("standard output is %q, want a token alone", stdout)
	}
	if strings.Contains(stderr, secret) {
		t.Errorf("standard error shows the token: %s", stderr)
	}
	found := regexp.MustCompile(`Token ([0-9a-f]{20}) `).FindStringSubmatch(stderr)
	if found == nil {
		t.Fatalf("standard error is %q, want the token's id", stderr)
	}
	return secret, found[1]
}

func TestTokenCreate(t *testing.T) {
	dir := t.TempDir()
	secret, id := createToken(t, dir, "--email", "ops@corp.example", "--team", "search", "--name", "backup", "--expires", "12h",
		"--scope", "database:read,projects:read", "--scope", "secrets:read", "--project", "abcdefghijklmnopqrst")
	caller, err := authenticate(t, openStore(t, dir), secret)
	if err != nil {
		t.Fatal(err)
	}
	if caller.Subject != "nightly" || caller.Email != "ops@corp.example" || caller.Token != id || caller.Name != "backup" ||
		strings.Join(caller.Teams, " ") != "payments search" || len(caller.Limits.Scopes) != 3 || len(caller.Limits.Projects) != 1 {
		t.Errorf("the token stands for %+v", caller)
	}
	if left := time.Until(caller.Expires); left < 11*time.Hour || left > 12*time.Hour {
		t.Errorf("the token lives for %v, want 12h", left)
	}
}

func TestTokenCreateRefusals(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no subject":          {[]string{}, `"subject"`},
		"an unknown team":     {[]string{"--subject", "a", "--team", "payment"}, `--team "payment"`},
		"no duration":         {[]string{"--subject", "a", "--expires", "soon"}, `--expires "soon"`},
		"a bare number":       {[]string{"--subject", "a", "--expires", "30"}, `--expires "30"`},
		"no time at all":      {[]string{"--subject", "a", "--expires", "0s"}, `--expires "0s"`},
		"longer than allowed": {[]string{"--subject", "a", "--expires", "2d"}, "1 day at most"},
		"a day long gone":     {[]string{"--subject", "a", "--expires", "2001-01-31"}, "expired already"},
		"no e-mail address":   {[]string{"--subject", "a", "--email", "ada"}, `--email "ada"`},
		"an unknown scope":    {[]string{"--subject", "a", "--scope", "databse:read"}, `no scope or permission "databse:read". Did you mean database:read?`},
		"no project":          {[]string{"--subject", "a", "--project", "abc"}, `"abc" is no project reference`},
		"two addresses":       {[]string{"--subject", "a", "--email", "a@evil@corp.example"}, "--email"},
		"an argument":         {[]string{"--subject", "a", "extra"}, "extra"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := token(t, dir, append([]string{"create"}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || stdout != "" {
				t.Errorf("printed %q, error %v, want an error with %q", stdout, err, c.want)
			}
		})
	}
	if list, _, err := token(t, dir, "list", "--format", "json"); err != nil || strings.TrimSpace(list) != "[]" {
		t.Errorf("refused tokens are listed: %s, %v", list, err)
	}
}

func TestTokenList(t *testing.T) {
	dir := t.TempDir()
	secret, id := createToken(t, dir, "--name", "first")
	createToken(t, dir, "--name", "second", "--scope", "database:read", "--scope", "projects:*", "--project", "abcdefghijklmnopqrst")
	table, _, err := token(t, dir, "list")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "ID ") || !strings.Contains(table, id) || !strings.Contains(table, "never") || strings.Count(table, "2 scopes, 1 project") != 1 {
		t.Errorf("the table is\n%s", table)
	}
	list, _, err := token(t, dir, "list", "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var infos []identity.TokenInfo
	if err := json.Unmarshal([]byte(list), &infos); err != nil || len(infos) != 2 {
		t.Errorf("JSON %s, %v, want two tokens", list, err)
	}
	for _, text := range []string{table, list} {
		if strings.Contains(text, secret) || strings.Contains(text, "hash") {
			t.Errorf("the list shows the token or its hash: %s", text)
		}
	}
	if _, _, err := token(t, dir, "list", "--format", "xml"); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("--format xml: %v", err)
	}
}

// The commands work beside a running service, which knows of a revocation when the command ends.
func TestTokensBesideARunningService(t *testing.T) {
	for name, which := range map[string]func(secret, id string) string{
		"by token": func(secret, _ string) string { return secret },
		"by id":    func(_, id string) string { return id },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			service, err := identity.New(identity.Config{}, openStore(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(service.Close)
			works := func(secret string) bool {
				_, err := service.Authenticate(t.Context(), []string{"Bearer " + secret}, netip.MustParseAddr("192.0.2.1"))
				return err == nil
			}
			secret, id := createToken(t, dir)
			if !works(secret) {
				t.Fatal("the running service does not know the token")
			}
			_, stderr, err := token(t, dir, "revoke", which(secret, id))
			if err != nil || !strings.Contains(stderr, id) || strings.Contains(stderr, secret) {
				t.Errorf("revoke says %q, %v", stderr, err)
			}
			if works(secret) {
				t.Error("the running service still takes the revoked token")
			}
			if _, _, err := token(t, dir, "revoke", which(secret, id)); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("revoking again: %v, want an error without the token", err)
			}
		})
	}
}

func TestTokenRevokeReadsStandardInput(t *testing.T) {
	dir := t.TempDir()
	secret, _ := createToken(t, dir)
	command := tokenCommand(func(string) (tokenSettings, error) { return tokenSettings{Connect: connect(dir)}, nil })
	command.SetIn(strings.NewReader(secret + "\n"))
	command.SetErr(&bytes.Buffer{})
	command.SetArgs([]string{"revoke", "-", "--config", "x"})
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(t, openStore(t, dir), secret); err == nil {
		t.Error("the token still works")
	}
}

func TestTokenCommandsWithoutAState(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, _, err := token(t, missing, "list"); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("without a state directory: %v, want an error that names it", err)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Error("the directory was created: a mistyped one would go unnoticed")
	}
}

// A name that came from somewhere else does not steer the operator's terminal.
func TestTokenListEscapesNames(t *testing.T) {
	var out bytes.Buffer
	err := writeTokens(&out, []identity.TokenInfo{{ID: "1", Name: "a\x1b[2Jb\u009bc", Subject: "s\nroot"}})
	if err != nil || strings.ContainsAny(out.String(), "\x1b\u009b") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}

func connect(dir string) func() (state.Connection, error) {
	return func() (state.Connection, error) { return state.Connect(dir) }
}
