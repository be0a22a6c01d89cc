package browser_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// account is somebody at the provider. The fields are claims.
type account struct {
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Verified bool     `json:"email_verified"`
	Groups   []string `json:"groups"`
}

// accounts are the people, by subject: an engineer, one of another team, an administrator, somebody without a team, and
// somebody whose names attack the pages they stand on.
func accounts() map[string]account {
	return map[string]account{
		"ada":   {"Ada Lovelace", "ada@acme.example", true, []string{"payments-eng"}},
		"bob":   {"Bob Kahn", "bob@globex.example", true, []string{"field-eng"}},
		"grace": {"Grace Hopper", "grace@acme.example", true, []string{"platform-eng"}},
		"linus": {"Linus Pauling", "linus@acme.example", true, []string{"research"}},
		"mallory": {hostileName(500), `"><script>attack()</script>"@evil.example`, true,
			[]string{"payments-eng", hostileName(120), strings.Repeat("G", 500)}},
	}
}

// provider is a running provider.mjs.
type provider struct {
	t      *testing.T
	issuer string
	input  io.Writer
	lines  *bufio.Scanner
}

// newProvider starts a provider with the gateway at a URL as its client.
func newProvider(t *testing.T, gateway string) *provider {
	t.Helper()
	settings, err := json.Marshal(map[string]any{
		"client": map[string]any{
			"client_id": harness.Audience, "client_secret": harness.ClientSecret,
			"redirect_uris": []string{gateway + "/-/callback"}, "post_logout_redirect_uris": []string{gateway + "/-/"},
		},
		"accounts": accounts(),
	})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("node", filepath.Join(harness.Root(), "test", "browser", "provider.mjs"), string(settings))
	var stderr strings.Builder
	command.Stderr = &stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close() // it ends by itself then
		if err := command.Wait(); err != nil {
			t.Errorf("the provider ended with %v\n%s", err, &stderr)
		}
	})
	p := &provider{t: t, input: input, lines: bufio.NewScanner(output)}
	p.issuer = p.line()
	return p
}

// turn throws one of the switches that provider.mjs describes.
func (p *provider) turn(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.input, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
	if got := p.line(); got != "ok" {
		p.t.Fatalf("the provider answers %q to %q", got, line)
	}
}

func (p *provider) line() string {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("the provider has ended: %v", p.lines.Err())
	}
	return p.lines.Text()
}
