package browser_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
)

var tokenForm = regexp.MustCompile(`^sbp_[0-9a-f]{40}$`)

// mint makes a token through the form and returns it.
func (b *tab) mint(name string) string {
	b.t.Helper()
	b.open("/-/tokens")
	b.fill("Name", name)
	return b.submitToken()
}

// submitToken sends the filled-in form and returns the token that the page shows.
func (b *tab) submitToken() string {
	b.t.Helper()
	if status := b.press("Make the token"); status != http.StatusOK {
		b.t.Fatalf("making a token: status %d\n%s", status, b.text())
	}
	secret := do(b, chromedp.Text(chromedp.ID("secret")))
	if !tokenForm.MatchString(secret) {
		b.t.Fatalf("the page shows %q, which is no token", secret)
	}
	return secret
}

// revoke ends the token of a name.
func (b *tab) revoke(name string) {
	b.t.Helper()
	b.open("/-/tokens")
	b.tap("Revoke " + name)
	b.press("Yes, revoke it now")
	b.wants("The token is revoked.")
}

func tokenLife(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	secret := b.mint("Ada’s laptop")
	b.wants("Your token “Ada’s laptop”", "it is shown this once")
	if copied := b.copied("secret"); copied != secret {
		t.Errorf("the button copies %q, not the token", copied)
	}
	twice := eval[[]bool](b, `[1, 2].map(() => document.querySelector(".card form").dispatchEvent(new SubmitEvent("submit", {cancelable: true})))`)
	if !twice[0] || twice[1] {
		t.Errorf("of a form that is sent twice, go on its way: %v", twice)
	}
	do(b, chromedp.Reload())
	if names := eval[int](b, `[...document.querySelectorAll("tbody th")].filter(e => e.innerText.includes("Ada’s laptop")).length`); names != 1 {
		t.Errorf("after the page was loaded anew there are %d tokens, want 1", names)
	}
	b.wants("Ada’s laptop", "never")
	if strings.Contains(b.html(), secret) {
		t.Error("the token is shown a second time")
	}

	if got := s.Get(secret, "/v1/projects/"+sandbox.Payments); got.StatusCode != http.StatusOK {
		t.Fatalf("with the token: status %d: %s", got.StatusCode, got.Text)
	}
	b.revoke("Ada’s laptop")
	got := s.Get(secret, "/v1/projects/"+sandbox.Payments)
	if got.StatusCode != http.StatusUnauthorized || strings.Contains(got.Text, secret) {
		t.Errorf("with the revoked token: status %d, want 401: %s", got.StatusCode, got.Text)
	}
	if strings.Contains(b.text(), "Ada’s laptop") {
		t.Error("the revoked token is still listed")
	}
}

// copied presses the button beside what has an id, and returns what is in the clipboard then.
func (b *tab) copied(id string) string {
	b.t.Helper()
	context := chromedp.FromContext(b.ctx)
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		if _, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			Origin: b.stage.URL, BrowserContextID: context.BrowserContextID,
		}); err != nil {
			b.t.Fatal(err)
		}
	}
	do(b, chromedp.Click(chromedp.CSS(`button[data-copies="`+id+`"]`)))
	do(b, chromedp.WaitVisible(named("Copied")))
	return eval[string](b, "navigator.clipboard.readText()")
}

func limitedToken(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	b.open("/-/tokens")
	b.fill("Name", "agent")
	b.tap("Let it do less than you may")
	do(b, chromedp.Click(chromedp.CSS(`input[name="project"][value="`+sandbox.Payments+`"]`)))
	b.fill("Permissions, or patterns", "database:raed")
	if status := b.press("Make the token"); status != http.StatusBadRequest {
		t.Errorf("with an unknown scope: status %d, want 400", status)
	}
	b.wants("Did you mean database:read?")
	b.fill("Permissions, or patterns", "projects:read") // the rest is still filled in
	secret := b.submitToken()
	for path, want := range map[string]int{
		"/v1/projects/" + sandbox.Payments:              http.StatusOK,
		"/v1/projects/" + sandbox.Payments + "/secrets": http.StatusForbidden,
		"/v1/projects/" + sandbox.Ledger:                http.StatusForbidden,
	} {
		if got := s.Get(secret, path); got.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", path, got.StatusCode, want, got.Text)
		}
	}
	b.revoke("agent")
}

// scripts lets the page's scripts run, or not.
func (b *tab) scripts(run bool) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run}); err != nil {
		b.t.Fatal(err)
	}
}

func withoutScripts(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	b.scripts(false)
	defer b.scripts(true)
	secret := b.mint("no scripts")
	if got := s.Get(secret, "/v1/projects"); got.StatusCode != http.StatusOK {
		t.Errorf("with the token: status %d", got.StatusCode)
	}
	b.revoke("no scripts")
	b.open("/-/access")
	b.fill("Path", "/v1/projects/"+sandbox.Payments)
	b.press("Ask")
	b.wants("Yes")
}
