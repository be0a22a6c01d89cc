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

// login runs "supabase login" to the link it shows, has it agreed to, and returns the token that the CLI keeps. follow
// leads a browser that is signed in from the link to the page that asks.
func (c cli) login(b *tab, name string, follow func(link string)) (secret, link, code string) {
	t := b.t
	t.Helper()
	terminal := harness.StartTerminal(t, c.home, c.environment, "node "+supabaseCLI+" login --no-browser --name "+name)
	link = terminal.Await(`https?://\S+/cli/login\?\S+&public_key=[0-9a-f]{130}`)
	follow(link)
	b.wants("Sign in the Supabase CLI?", "If you came here by a link in a message, stop")
	b.press("It was me: show the code")
	code = do(b, chromedp.Text(chromedp.ID("code")))
	terminal.Enter(code)
	terminal.Await("You are now logged in")
	terminal.End()
	stored, err := os.ReadFile(filepath.Join(c.home, ".supabase", "access-token"))
	secret = strings.TrimSpace(string(stored))
	if err != nil || !tokenForm.MatchString(secret) {
		t.Fatalf("the CLI keeps %q, %v, want a token", secret, err)
	}
	return secret, link, code
}

// supabaseLogin is the CLI's own login from end to end, and the end of the token it leaves.
func supabaseLogin(t *testing.T, s *stage) {
	c, b := newCLI(t, s), s.as(t, "ada")
	secret, link, code := c.login(b, "ada-laptop", func(link string) { b.open(link[strings.Index(link, "/cli/login?"):]) })
	if got := s.Get(secret, "/v1/profile"); !strings.Contains(got.Text, "ada@acme.example") {
		t.Errorf("the CLI's token is not Ada's: %s", got.Text)
	}
	c.worksUntilRevoked(b, secret, "ada-laptop")
	s.loginIsUsedUp(t, link, code, secret)
}

// supabaseLoginByLink gives the portal the link as CLI 3.1 shows it: it knows the dashboards of its built-in profiles only
// and names Supabase's for every other. Nothing of it needs scripts.
func supabaseLoginByLink(t *testing.T, s *stage) {
	c, b := newCLI(t, s), s.as(t, "ada")
	b.scripts(false)
	defer b.scripts(true)
	secret, _, _ := c.login(b, "ada-desktop", func(link string) {
		if !strings.HasPrefix(link, "https://supabase.com/dashboard/cli/login?") {
			t.Logf("the CLI shows %s", link) // a later one may know better
		}
		b.open("/-/")
		b.press("Sign in the CLI with the link it shows")
		b.fill("The link that the CLI shows", strings.TrimSuffix(link, link[len(link)-5:]))
		if status := b.press("Go on"); status != http.StatusBadRequest {
			t.Errorf("a link that was cut off: status %d, want 400", status)
		}
		b.wants("This is not the link that supabase login shows")
		b.fill("The link that the CLI shows", link)
		b.press("Go on")
	})
	c.worksUntilRevoked(b, secret, "ada-desktop")
}

// worksUntilRevoked lists the projects with the CLI's token, and again after it was revoked in the portal.
func (c cli) worksUntilRevoked(b *tab, secret, name string) {
	t := b.t
	t.Helper()
	for range 2 { // the second is answered from the cache
		if output, well := c.projectsList(t); !well || !strings.Contains(output, sandbox.Payments) {
			t.Fatalf("supabase projects list after the login:\n%s", output)
		}
	}
	b.revoke(name)
	if got := b.stage.Get(secret, "/v1/projects"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("right after the revocation: status %d, want 401, also for what is cached", got.StatusCode)
	}
	if output, well := c.projectsList(t); well || strings.Contains(output, sandbox.Payments) {
		t.Errorf("supabase projects list after the revocation:\n%s", output)
	}
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
