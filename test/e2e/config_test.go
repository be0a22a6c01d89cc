package e2e

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// faultyConfig has a fault in nearly every line; faultyPolicy goes with it.
const (
	faultyConfig = `server:
  listen: "8443"
  public_url: http://supabase.corp.example
  max_body: lots
  colour: blue
  trusted_proxies: [10.0.0.0]
admin: {listen: "8443"}
upstream: {url: "https://api.supabase.com/v1", forward_headers: [Authorization]}
credentials:
  - name: shared
    token: {file: nowhere}
  - name: shared
    token: {env: GATEWAY_TEST_NOT_SET}
identity:
  issuers:
    - {name: corp, url: "http://login.corp.example"}
limits: {granularity: weekly}
audit: {sinks: [{stdout: true}]}
telemetry: {log: {level: loud}}
`
	faultyPolicy = `teams:
  - name: payments
    members: [{group: payments-eng}]
    allow:
      - {projects: [abcdefghijklmnopqrst], scopes: ["database:raed"]}
      - {projects: [short], operations: [v1-get-projekt]}
    weigth: 2
`
)

// wantFaults are, for each fault, where it is and a part of what to do about it.
var wantFaults = [][2]string{
	{"gateway.yaml:2: server.listen: ", "write it as :8443"},
	{"gateway.yaml:3: server.public_url: ", "use https"},
	{"gateway.yaml:4: server.max_body: ", "write it as 512KiB"},
	{"gateway.yaml:5: server.colour: ", "known here are"},
	{"gateway.yaml:6: server.trusted_proxies[0]: ", "10.0.0.0/8"},
	{"gateway.yaml:7: admin.listen: ", "write it as :8443"},
	{"gateway.yaml:7: admin.listen: ", "give it a port of its own"},
	{"gateway.yaml:8: upstream.url: ", "must have no path"},
	{"gateway.yaml:8: upstream.forward_headers[0]: ", "is never forwarded"},
	{"gateway.yaml:11: credentials[0].token: ", "nowhere: no such file"},
	{"gateway.yaml:12: credentials[1].name: ", "is used twice"},
	{"gateway.yaml:13: credentials[1].token: ", "GATEWAY_TEST_NOT_SET is not set"},
	{"gateway.yaml:16: identity.issuers[0].url: ", "use https"},
	{"gateway.yaml:16: identity.issuers[0].audience: ", "name the audience"},
	{"gateway.yaml:17: limits.granularity: ", "auto, scope, endpoint"},
	{"gateway.yaml:18: audit.sinks: ", "required: true"},
	{"gateway.yaml:19: telemetry.log.level: ", "debug, info, warn, error"},
	{"policy.yaml:5: teams[0].allow[0].scopes[0]: ", `did you mean "database:read"`},
	{"policy.yaml:6: teams[0].allow[1].projects[0]: ", "20 lower-case letters"},
	{"policy.yaml:6: teams[0].allow[1].operations[0]: ", `did you mean "v1-get-project"`},
	{"policy.yaml:7: teams[0].weigth: ", `did you mean "weight"`},
}

// exitCode is what a command ended with.
func exitCode(err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestEveryFaultOfAConfigurationIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"gateway.yaml": faultyConfig, "policy.yaml": faultyPolicy} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"check", "serve"} {
		stdout, stderr, err := harness.Command(harness.Binary(t), command, "--config", filepath.Join(dir, "gateway.yaml"))
		if code := exitCode(err); code != 1 || stdout != "" {
			t.Errorf("gateway %s exits with %d and prints %q, want 1 and nothing", command, code, stdout)
		}
		for _, want := range wantFaults {
			found := false
			for line := range strings.Lines(stderr) {
				found = found || strings.Contains(line, string(filepath.Separator)+want[0]) && strings.Contains(line, want[1])
			}
			if !found {
				t.Errorf("gateway %s: no line with %q and %q in\n%s", command, want[0], want[1], stderr)
			}
		}
		if lines, faults := strings.Count(stderr, ".yaml:"), len(wantFaults); lines != faults {
			t.Errorf("gateway %s names %d faults, want %d:\n%s", command, lines, faults, stderr)
		}
	}
}

func TestOneFaultIsOneLine(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	if stdout, stderr, err := g.Run("check"); err != nil || !strings.Contains(stdout, "is good") {
		t.Errorf("a good configuration: %v, %q, %q", err, stdout, stderr)
	}
	good, err := os.ReadFile(g.Path("gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.Replace(string(good), "dir: state", "dir: state2", 1)
	free := regexp.MustCompile(`listen: "[^"]*"`)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	public, admin := free.FindString(string(good)), free.FindAllString(string(good), 2)[1]
	for name, test := range map[string]struct{ config, want string }{
		"no such file":            {"", "start from configs/gateway.yaml"},
		"a missing secret file":   {strings.Replace(elsewhere, "file: pat", "file: gone", 1), "credentials[0].token: "},
		"a missing client secret": {strings.Replace(elsewhere, "file: client-secret", "file: gone", 1), "identity.issuers[0].client.secret: "},
		"a missing policy":        {elsewhere + "policy: {file: gone.yaml}\n", "policy.file"},
		"a busy port":             {elsewhere, "server.listen: "},
		"a busy admin port":       {strings.Replace(strings.Replace(elsewhere, public, `listen: "127.0.0.1:0"`, 1), admin, `listen: "`+busy.Addr().String()+`"`, 1), "admin.listen: "},
		"another gateway's state": {strings.Replace(string(good), public, `listen: "127.0.0.1:0"`, 1), "state"},
	} {
		t.Run(name, func(t *testing.T) {
			path := g.Path(strings.ReplaceAll(name, " ", "-") + ".yaml")
			if test.config != "" {
				g.Write(filepath.Base(path), test.config)
			}
			_, stderr, err := harness.Command(harness.Binary(t), "serve", "--config", path)
			if exitCode(err) != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "gateway: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit %d, printed %q; want 1 and one line with %q", exitCode(err), stderr, test.want)
			}
		})
	}
	if a := g.Get(g.Token("payments"), "/v1/projects"); a.StatusCode != http.StatusOK {
		t.Errorf("the gateway that runs was disturbed: %d %s", a.StatusCode, a.Text)
	}
}

func TestAnUnreachableIssuerDoesNotStopMintedTokens(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	jwt := g.JWT("ada")
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(g.Path("gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const nobody = "http://127.0.0.1:1" // a port that nothing listens on
	g.Write("gateway.yaml", regexp.MustCompile(`name: corp, url: "[^"]*"`).ReplaceAllString(string(good), `name: corp, url: "`+nobody+`"`))
	before := len(g.Log())
	g.Launch()
	if a := g.Get(g.Token("payments"), "/v1/projects"); a.StatusCode != http.StatusOK {
		t.Errorf("a minted token got %d %s", a.StatusCode, a.Text)
	}
	if a := g.Get(jwt, "/v1/projects"); a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a token of the unreachable issuer got %d %s", a.StatusCode, a.Text)
	}
	var lines []string
	waitFor(t, "a line about the issuer in the log", func() bool {
		lines = nil
		for line := range strings.Lines(g.Log()[before:]) {
			if strings.Contains(line, nobody+"/") { // not another port that begins with 1
				lines = append(lines, line)
			}
		}
		return len(lines) > 0
	})
	if len(lines) != 1 || !strings.Contains(lines[0], `"corp"`) {
		t.Errorf("the log says %q, want one line that names the issuer", lines)
	}
}

func TestAKillLosesNoToken(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	kept, revoked := g.Token("payments"), g.Token("payments")
	if _, stderr, err := g.Run("token", "revoke", revoked); err != nil {
		t.Fatalf("revoking: %v\n%s", err, stderr)
	}
	fresh := g.Token("field") // and at once:
	g.Kill()
	g.Launch()
	for token, want := range map[string]int{kept: http.StatusOK, fresh: http.StatusOK, revoked: http.StatusUnauthorized} {
		if a := g.Get(token, "/v1/projects"); a.StatusCode != want {
			t.Errorf("after the crash a token got %d %s, want %d", a.StatusCode, a.Text, want)
		}
	}
	if again := g.Token("payments"); g.Get(again, "/v1/projects").StatusCode != http.StatusOK {
		t.Error("after the crash no token can be minted")
	}
	if a := g.Do(kept, "POST", own+"/secrets", `[{"name":"A","value":"b"}]`); a.StatusCode != http.StatusCreated {
		t.Errorf("after the crash a write got %d %s", a.StatusCode, a.Text)
	}
}

func TestAFaultyPolicyChangesNothingAndIsReported(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	g.Write("policy.yaml", faultyPolicy)
	waitFor(t, "the fault to be seen", func() bool { return strings.Contains(g.Log(), "the one before stays in force") })
	if log := g.Log(); !strings.Contains(log, "policy.yaml:7: teams[0].weigth") {
		t.Errorf("the log does not name the fault:\n%s", log)
	}
	if success := metric(t, g, "gateway_config_reload_success"); success != 0 {
		t.Errorf("gateway_config_reload_success = %v", success)
	}
	if a := g.Get(token, own+"/functions"); a.StatusCode != http.StatusOK {
		t.Errorf("the policy before is no longer in force: %d %s", a.StatusCode, a.Text)
	}
	g.Write("policy.yaml", harness.Policy)
	waitFor(t, "the repaired policy", func() bool { return metric(t, g, "gateway_config_reload_success") == 1 })
}
