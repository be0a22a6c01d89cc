package browser_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"corp.example/gateway/internal/sandbox"
)

// violation is a rule of axe-core that a page breaks.
type violation struct {
	ID, Help string
	Nodes    []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible checks the page as it stands, with all that can be unfolded unfolded, in light and dark and on a phone.
func (b *tab) accessible() {
	b.t.Helper()
	do(b, chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(d => d.open = true)`))
	b.fitsPhone()
	axe, err := os.ReadFile(axeSource)
	if err != nil {
		b.t.Fatal(err)
	}
	do(b, chromedp.Evaluate[chromedp.Void](string(axe)))
	for scheme, rules := range map[string]string{
		"light": `rules: {"target-size": {enabled: true}}`, // WCAG 2.2's, which is off unless asked for
		"dark":  `runOnly: ["cat.color"]`,                  // nothing else depends on it
	} {
		b.prefer(scheme)
		for _, v := range eval[[]violation](b, `axe.run({resultTypes: ["violations"], `+rules+`}).then(r => r.violations)`) {
			var nodes strings.Builder
			for _, node := range v.Nodes[:min(3, len(v.Nodes))] {
				fmt.Fprintf(&nodes, "\n  %.200s\n    %.400s", node.HTML, node.FailureSummary)
			}
			b.t.Errorf("%s in %s: %s: %s (%d places)%s", b.path(), scheme, v.ID, v.Help, len(v.Nodes), nodes.String())
		}
	}
}

func accessibility(t *testing.T, s *stage) {
	stranger, b := s.stranger(t), s.as(t, "ada")
	for _, path := range []string{"/-/", "/-/tokens", cliLink("laptop")} {
		stranger.open(path)
		stranger.accessible()
	}

	secret := b.mint("accessible")
	b.accessible() // with the token on it
	s.Get(secret, "/v1/projects/"+sandbox.Payments)
	s.Audit(s.Get(secret, "/v1/projects/"+sandbox.FieldApp).Header.Get("X-Request-Id"))
	b.walk(b.accessible)
	for _, path := range []string{
		pathWith("/-/access", "path", "/v1/projects/"+sandbox.Payments),
		pathWith("/-/access", "path", "/v1/projects/"+sandbox.FieldApp, "method", "DELETE"),
		pathWith("/-/access", "path", "no path"),
		pathWith("/-/access", "project", sandbox.Payments),
		pathWith("/-/audit", "status", "no status"),
		pathWith("/-/audit", "since", "2001-01-01", "until", "2001-01-02"), // nothing fits
		"/-/nothing",
		cliLink("laptop"),
	} {
		b.open(path)
		b.accessible()
	}
	b.press("It was me: show the code")
	b.accessible()
	b.open("/-/tokens")
	b.fill("Name", "refused")
	b.fill("Permissions, or patterns", "nonsense")
	b.press("Make the token")
	b.accessible()

	for _, subject := range []string{"grace", "linus"} {
		other := s.as(t, subject)
		other.walk(other.accessible)
	}
	b.revoke("accessible")
}

func keyboard(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	b.open("/-/tokens")
	do(b, chromedp.KeyEvent(kb.Tab))
	if text := eval[string](b, `document.activeElement.innerText`); text != "Skip to the content" {
		t.Errorf("the first Tab reaches %q", text)
	}
	do(b, chromedp.KeyEvent(kb.Enter))
	do(b, chromedp.KeyEvent(kb.Tab))
	if !eval[bool](b, `document.activeElement !== document.body && document.querySelector("main").contains(document.activeElement)`) {
		t.Error("after skipping, Tab does not lead into the content")
	}
}

func readersZone(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	zone := func(name string) {
		if _, err := chromedp.Call(b.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name}); err != nil {
			t.Fatal(err)
		}
	}
	zone("Asia/Tokyo")
	defer zone("")
	b.open("/-/")
	shown := eval[[]string](b, `(e => [e.innerText, e.dateTime, e.title])(document.querySelector("main time"))`)
	if !strings.Contains(shown[0], "GMT+9") || !strings.HasSuffix(shown[1], "Z") || shown[2] != shown[1] {
		t.Errorf("a time is shown as %q, want it in the reader's zone, with the exact one at hand", shown)
	}
}

func firstPageIsLight(t *testing.T, s *stage) {
	for name, b := range map[string]*tab{"stranger's": s.stranger(t), "engineer's": s.as(t, "ada")} {
		if status := b.open("/-/"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		total := eval[int](b, `["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
			.reduce((sum, entry) => sum + entry.encodedBodySize, 0)`)
		if total == 0 || total > 100_000 {
			t.Errorf("the %s first page and what it loads are %d bytes, want under 100 kB", name, total)
		}
	}
}
