package browser_test

import (
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
)

// form is a form that changes something, filled in as it stands on its page.
type form struct {
	Action string
	Fields map[string]string
}

// forms are those of the page.
func (b *tab) forms() []form {
	b.t.Helper()
	return eval[[]form](b, `[...document.forms].filter(f => f.method === "post").map(f => (
		{Action: f.action, Fields: Object.fromEntries(new FormData(f))}))`)
}

// cliLink is what "supabase login" opens, with a token name.
func cliLink(name string) string {
	return pathWith("/cli/login", "session_id", "4b1b1d52-3a52-4a0a-8f4c-0f5e2d3b6a11", "token_name", name, "public_key", p256Point)
}

// p256Point is some point of the curve, as the CLI sends it: its generator (SEC 2, section 2.4.2).
const p256Point = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
	"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"

var attackPage = template.Must(template.New("").Parse(`<!doctype html><title>You have won</title><link rel="icon" href="data:,">
<form method="post" action="{{.Action}}">{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<button>Claim</button></form>`))

// foreignForms lets another origin send every form there is, filled in rightly, with the CSRF token that it should never
// have: once from a neighbour on the same host, whose requests carry the session's cookie, and once from another site.
func foreignForms(t *testing.T, s *stage) {
	var sent form
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := attackPage.Execute(w, sent); err != nil {
			t.Error(err)
		}
	}))
	defer attacker.Close()
	origins := []string{attacker.URL, strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1)}

	known := map[string]bool{} // the forms that were met
	for _, subject := range []string{"ada", "grace"} {
		b := s.as(t, subject)
		b.sites = append(b.sites, origins...)
		b.mint("to be kept")
		forms := map[string]form{}
		collect := func() {
			for _, form := range b.forms() {
				forms[form.Action] = form
			}
		}
		b.walk(collect)
		b.open(cliLink("forged"))
		collect()
		for action, form := range forms {
			known[strings.TrimPrefix(action, s.URL)] = true
			if _, named := form.Fields["name"]; named {
				form.Fields["name"] = "forged"
			}
			for _, origin := range origins {
				sent = form
				b.goTo(origin + "/")
				if status := b.press("Claim"); status != http.StatusForbidden && status != http.StatusUnauthorized {
					t.Errorf("%s's form %s sent from %s: status %d, want 403", subject, action, origin, status)
				}
			}
		}
		b.open("/-/tokens")
		b.wants("to be kept")
		if strings.Contains(b.text(), "forged") {
			t.Errorf("%s has a token that another origin made", subject)
		}
		b.revoke("to be kept")
	}
	for _, action := range []string{"/-/sign-out", "/-/tokens", "/-/tokens/revoke", "/cli/login"} {
		if !known[action] {
			t.Errorf("no page has the form %s", action)
		}
	}
}

// hostileName is a name of so many characters that attacks the page it stands on. Nothing defines attack, so that a page
// where it runs reports an exception.
func hostileName(length int) string {
	name := `</code>"'><script>attack()</script><img src=x onerror=attack()>{{attack}}`
	return name + strings.Repeat("W", length-len(name))
}

// hostileWorld is an upstream whose people give such names too.
func hostileWorld() sandbox.World {
	world := sandbox.Seed()
	for i := range world.Projects {
		if world.Projects[i].Ref == sandbox.Ledger {
			world.Projects[i].Name = hostileName(500)
		}
	}
	return world
}

func hostileNames(t *testing.T, s *stage) {
	b := s.as(t, "mallory")
	name := hostileName(128) // the longest a token may have
	secret := b.mint(name)
	request := s.Get(secret, "/v1/projects/"+sandbox.Payments, "User-Agent", hostileName(500)).Header.Get("X-Request-Id")
	s.Audit(request)

	shown := 0
	harmless := func(b *tab) {
		t.Helper()
		if strings.Contains(b.text(), "attack()") {
			shown++
		}
		if n := eval[int](b, `document.querySelectorAll("script:not([src]), img, [onerror]").length`); n > 0 {
			t.Errorf("%s: %d elements came to be from names", b.path(), n)
		}
		b.fitsPhone()
	}
	b.walk(func() { harmless(b) })
	for _, path := range []string{
		pathWith("/-/access", "path", "/v1/projects/"+hostileName(500)),
		pathWith("/-/audit", "project", hostileName(500)),
		cliLink(hostileName(500)),
	} {
		b.open(path)
		harmless(b)
	}

	admin := s.as(t, "grace")
	for _, path := range []string{"/-/admin", pathWith("/-/admin", "find", name), "/-/audit", "/-/audit/" + request} {
		admin.open(path)
		harmless(admin)
	}
	if shown < 6 {
		t.Errorf("only %d pages show such a name, so little was tried", shown)
	}
	b.open("/-/tokens")
	do(b, chromedp.Click(chromedp.CSS(".confirm summary")))
	b.press("Yes, revoke it now")
}

// fitsPhone checks that nothing makes the page wider than a phone, nor stands outside a part that scrolls sideways.
func (b *tab) fitsPhone() {
	b.t.Helper()
	b.phone()
	defer b.desktop()
	widest := eval[string](b, `(() => {
		const width = document.scrollingElement.scrollWidth;
		const cut = [...document.querySelectorAll(".scroll, pre")].filter(e => e.scrollWidth > e.clientWidth);
		if (cut.length > 0) return cut.length + " parts are cut: " + cut[0].innerText;
		if (width <= innerWidth && innerWidth === 375) return "";
		const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > 375).slice(0, 5);
		return width + " pixels in " + innerWidth + ": " + wide.map(e => e.tagName + "." + e.className).join(", ");
	})()`)
	if widest != "" {
		b.t.Errorf("%s does not fit a phone: %s", b.path(), fmt.Sprintf("%.300s", widest))
	}
}
