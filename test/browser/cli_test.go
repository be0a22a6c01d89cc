package browser_test

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// cli is the unmodified Supabase CLI of one person, with a home of its own and the profile file that the portal offers.
type cli struct {
	home        string
	environment []string
}

func newCLI(t *testing.T, s *stage) cli {
	t.Helper()
	c := cli{home: t.TempDir()}
	profile := filepath.Join(c.home, "profile.yaml")
	if err := os.WriteFile(profile, []byte(s.Get("", "/-/profile.yaml").Text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.environment = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "SUPABASE_PROFILE=" + profile, "DO_NOT_TRACK=1",
		"SUPABASE_NO_KEYRING=1", // or the token would end in the keyring of whoever runs the tests
	}
	return c
}

// projectsList is what "supabase projects list" prints, and whether it ended well.
func (c cli) projectsList(t *testing.T) (output string, well bool) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", supabaseCLI, "projects", "list")
	command.Dir, command.Env = c.home, c.environment
	printed, err := command.CombinedOutput()
	return string(printed), err == nil
}

// supabaseLogin is the CLI's own login from end to end, and the end of the token it leaves.
func supabaseLogin(t *testing.T, s *stage) {
	c, b := newCLI(t, s), s.as(t, "ada")
	terminal := harness.StartTerminal(t, c.home, c.environment, "node "+supabaseCLI+" login --no-browser --name ada-laptop")
	link := terminal.Await(`https?://\S+/cli/login\?\S+&public_key=[0-9a-f]{130}`)

	// CLI 3.1 knows the dashboards of its built-in profiles only and names Supabase's for every other, so the link's path
	// is opened at the gateway, as its first page says.
	b.open(link[strings.Index(link, "/cli/login?"):])
	b.wants("Sign in the Supabase CLI?", "If you came here by a link in a message, stop")
	b.press("It was me: show the code")
	code := do(b, chromedp.Text(chromedp.ID("code")))
	terminal.Enter(code)
	terminal.Await("You are now logged in")
	terminal.End()

	stored, err := os.ReadFile(filepath.Join(c.home, ".supabase", "access-token"))
	secret := strings.TrimSpace(string(stored))
	if err != nil || !tokenForm.MatchString(secret) {
		t.Fatalf("the CLI keeps %q, %v, want a token", secret, err)
	}
	if got := s.Get(secret, "/v1/profile"); !strings.Contains(got.Text, "ada@acme.example") {
		t.Errorf("the CLI's token is not Ada's: %s", got.Text)
	}
	for range 2 { // the second is answered from the cache
		if output, well := c.projectsList(t); !well || !strings.Contains(output, sandbox.Payments) {
			t.Fatalf("supabase projects list after the login:\n%s", output)
		}
	}

	b.revoke("ada-laptop")
	if got := s.Get(secret, "/v1/projects"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("right after the revocation: status %d, want 401, also for what is cached", got.StatusCode)
	}
	if output, well := c.projectsList(t); well || strings.Contains(output, sandbox.Payments) {
		t.Errorf("supabase projects list after the revocation:\n%s", output)
	}
	s.loginIsUsedUp(t, link, code, secret)
}

// loginIsUsedUp checks that link and code are worth nothing any more, and that no secret of the login is in the log.
func (s *stage) loginIsUsedUp(t *testing.T, link, code, secret string) {
	t.Helper()
	parsed, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	session := parsed.Query().Get("session_id")
	if got := s.Get("", pathWith("/platform/cli/login/"+session, "device_code", code)); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("the login's answer a second time: status %d, want 401", got.StatusCode)
	}
	for _, what := range []string{session, code, secret} {
		if strings.Contains(s.Log(), what) {
			t.Errorf("the log holds %q", what)
		}
	}
}
