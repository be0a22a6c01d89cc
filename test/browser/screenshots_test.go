package browser_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// screenshots makes the pictures in docs/screenshots, of a gateway with a little to show.
func screenshots(t *testing.T) {
	s := newStage(t, sandbox.Seed())
	folder := filepath.Join(harness.Root(), "docs", "screenshots")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	ada, grace := s.as(t, "ada"), s.as(t, "grace")
	laptop := ada.mint("laptop")
	ada.mint("nightly backup")
	var last harness.Answer
	for _, path := range []string{
		"/v1/projects",
		"/v1/projects/" + sandbox.Payments,
		"/v1/projects/" + sandbox.Payments + "/secrets",
		"/v1/projects/" + sandbox.Ledger + "/functions",
		"/v1/projects/" + sandbox.Billing,
		"/v1/projects/" + sandbox.Payments + "/health?services=auth",
	} {
		last = s.Get(laptop, path)
	}
	s.Do(laptop, http.MethodPost, "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"GREETING","value":"hello"}]`)
	s.Audit(last.Header.Get("X-Request-Id"))

	for _, picture := range []struct {
		name string
		tab  *tab
		path string
	}{
		{"sign-in", s.stranger(t), "/-/"},
		{"home", ada, "/-/"},
		{"tokens", ada, "/-/tokens"},
		{"access", ada, pathWith("/-/access", "path", "/v1/projects/"+sandbox.Billing+"/secrets")},
		{"quota", ada, "/-/quota"},
		{"cli", ada, cliLink("cli_ada@laptop")},
		{"audit", grace, "/-/audit"},
		{"administration", grace, "/-/admin"},
	} {
		do(picture.tab, chromedp.EmulateViewport(1200, 760))
		picture.tab.open(picture.path)
		for _, scheme := range []string{"light", "dark"} {
			picture.tab.prefer(scheme)
			image := do(picture.tab, chromedp.CaptureScreenshot())
			if err := os.WriteFile(filepath.Join(folder, picture.name+"-"+scheme+".png"), image, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
