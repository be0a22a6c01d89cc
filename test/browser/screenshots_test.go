package browser_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// pictured is the policy of the pictures: one rule more, on trial.
var pictured = strings.Replace(harness.Policy, "  - name: field\n", "    deny:\n      - {projects: ["+sandbox.Payments+"], operations: [v1-list-all-secrets], shadow: true}\n  - name: field\n", 1)

// newPictured starts a service with a little of everything to show: two replicas, and a credential that nobody has connected.
func newPictured(t *testing.T) *stage {
	t.Helper()
	s := &stage{browser: newBrowser(t), tabs: map[string]*tab{}}
	s.Gateway = harness.Start(t, harness.Options{
		Policy: pictured, Redis: redis.Start(t).URL(), State: "seal_key: {file: seal-key}, ", Files: map[string]string{"seal-key": sealKey},
		Credential: "{name: nightly, owner: nightly-app, oauth: {client_id: 66666666-6666-4666-8666-666666666666, client_secret: {file: pat}}, projects: [" + sandbox.FieldApp + "]}",
		Issuer:     func(gateway string) string { s.provider = newProvider(t, gateway); return s.provider.issuer },
	})
	s.Replica()
	return s
}

// useTokens has Ada make tokens and work with one, and returns the last request's id.
func (s *stage) useTokens(ada *tab) (request string) {
	laptop := ada.mint("laptop")
	ada.mint("nightly backup")
	work := func() {
		for _, path := range []string{
			"/v1/projects",
			"/v1/projects/" + sandbox.Payments,
			"/v1/projects/" + sandbox.Payments + "/secrets",
			"/v1/projects/" + sandbox.Ledger + "/functions",
			"/v1/projects/" + sandbox.Billing,
			"/v1/projects/" + sandbox.Payments + "/health?services=auth",
		} {
			request = s.Get(laptop, path).Header.Get("X-Request-Id")
		}
	}
	work()
	if err := s.Terminate(); err != nil { // when a token was last used is kept by then
		ada.t.Fatal(err)
	}
	s.Launch()
	s.Do(laptop, http.MethodPost, "/v1/projects/"+sandbox.Payments+"/secrets", `[{"name":"GREETING","value":"hello"}]`)
	work()
	return request
}

// screenshots makes the pictures in docs/screenshots.
func screenshots(t *testing.T) {
	s := newPictured(t)
	folder := filepath.Join(harness.Root(), "docs", "screenshots")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	ada, grace := s.as(t, "ada"), s.as(t, "grace")
	s.Audit(s.useTokens(ada))
	for _, picture := range []struct {
		name   string
		tab    *tab
		path   string
		height int64
	}{
		{"sign-in", s.stranger(t), "/-/", 760},
		{"home", ada, "/-/", 760},
		{"tokens", ada, "/-/tokens", 760},
		{"access", ada, pathWith("/-/access", "path", "/v1/projects/"+sandbox.Billing+"/secrets"), 1040},
		{"quota", ada, "/-/quota", 760},
		{"cli", ada, cliLink("cli_ada@laptop"), 760},
		{"audit", grace, "/-/audit", 760},
		{"administration", grace, "/-/admin", 1700},
	} {
		do(picture.tab, chromedp.EmulateViewport(1200, picture.height))
		picture.tab.open(picture.path)
		picture.tab.nameless()
		for _, scheme := range []string{"light", "dark"} {
			picture.tab.prefer(scheme)
			image := do(picture.tab, chromedp.CaptureScreenshot())
			if err := os.WriteFile(filepath.Join(folder, picture.name+"-"+scheme+".png"), image, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// nameless takes the name of the machine, which replicas go by, out of the page: the pictures are of the gateway.
func (b *tab) nameless() {
	b.t.Helper()
	host, err := os.Hostname()
	if err != nil {
		b.t.Fatal(err)
	}
	do(b, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(%q, "gateway");
	})()`, host)))
}
