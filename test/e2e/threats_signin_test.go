package e2e

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/test/harness"
)

// browser is somebody with a browser: it keeps cookies and follows no redirect unless told to.
type browser struct {
	*http.Client
	t *testing.T
	g *harness.Gateway
}

func newBrowser(t *testing.T, g *harness.Gateway) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{&http.Client{Jar: jar, CheckRedirect: stay}, t, g}
}

// open reads an address; a path is one of the gateway's.
func (b *browser) open(address string) harness.Answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.g.URL + address
	}
	request, err := http.NewRequest("GET", address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(request)
}

// post sends a form of the gateway's.
func (b *browser) post(path string, fields url.Values, headers ...string) harness.Answer {
	b.t.Helper()
	request, err := http.NewRequest("POST", b.g.URL+path, strings.NewReader(fields.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return b.do(request)
}

func (b *browser) do(request *http.Request) harness.Answer {
	b.t.Helper()
	response, err := b.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return harness.Answer{Response: response, Text: string(text)}
}

// begin begins a sign-in and returns the callback's address that the identity provider answers with.
func (b *browser) begin(subject, returnTo string) string {
	b.t.Helper()
	b.g.People.SignInAs(subject)
	ask := b.open("/-/sign-in?issuer=corp&return=" + url.QueryEscape(returnTo))
	if ask.StatusCode/100 != 3 {
		b.t.Fatalf("beginning a sign-in was answered %d %s", ask.StatusCode, ask.Text)
	}
	back := b.open(ask.Header.Get("Location")).Header.Get("Location")
	if !strings.HasPrefix(back, b.g.URL+"/-/callback?") {
		b.t.Fatalf("the identity provider leads back to %q", back)
	}
	return back
}

func (b *browser) signIn(subject string) {
	b.t.Helper()
	if a := b.open(b.begin(subject, "/-/")); a.StatusCode/100 != 3 || !b.signedIn() {
		b.t.Fatalf("%s was not signed in: %d %s", subject, a.StatusCode, a.Text)
	}
}

func (b *browser) signedIn() bool { return b.open("/-/tokens").StatusCode == http.StatusOK }

// csrf is the session's token, as it stands in a page's form.
func (b *browser) csrf() string {
	b.t.Helper()
	found := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(b.open("/-/tokens").Text)
	if found == nil {
		b.t.Fatal("no form has a CSRF token")
	}
	return found[1]
}

func TestSignInByAnOpenRedirect(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	for _, returnTo := range []string{"//evil.example", `/\evil.example`, "/%09/evil.example", "/\t/evil.example", "https://evil.example", "https:evil.example",
		"javascript:alert(1)", "/-/..//evil.example", "/-//evil.example", "/-/\r\nLocation: https://evil.example", "///evil.example", "/@evil.example", "/v1/projects", "evil.example", "/-/?next=//evil.example\\"} {
		b := newBrowser(t, g)
		a := b.open(b.begin("ada", returnTo))
		if to := a.Header.Get("Location"); a.StatusCode/100 != 3 || !strings.HasPrefix(to, "/-/") || strings.Contains(to, "//") || strings.Contains(to, "\\") {
			t.Errorf("back to %q: answered %d with Location %q", returnTo, a.StatusCode, to)
		}
	}
	if a := newBrowser(t, g); true {
		if to := a.open(a.begin("ada", "/-/tokens")).Header.Get("Location"); to != "/-/tokens" {
			t.Errorf("a page of the portal's own is led back to as %q: the test tests nothing", to)
		}
	}
}

func TestSignInByLoginCSRF(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	mallory, victim := newBrowser(t, g), newBrowser(t, g)
	stolen := mallory.begin("linus", "/-/") // Mallory's own answer, which the victim is made to open
	if a := victim.open(stolen); a.StatusCode < 400 || victim.signedIn() {
		t.Errorf("a sign-in that another browser began was answered %d", a.StatusCode)
	}
	state := regexp.MustCompile(`state=[^&]*`)
	for name, forge := range map[string]func(own string) string{
		"another sign-in's code and state": func(string) string { return stolen },
		"another sign-in's code":           func(own string) string { return state.ReplaceAllString(stolen, state.FindString(own)) },
		"another sign-in's state":          func(own string) string { return state.ReplaceAllString(own, state.FindString(stolen)) },
		"no state":                         func(own string) string { return state.ReplaceAllString(own, "") },
		"an empty state":                   func(own string) string { return state.ReplaceAllString(own, "state=") },
		"a second state":                   func(own string) string { return own + "&state=x" },
	} {
		if a := victim.open(forge(victim.begin("ada", "/-/"))); a.StatusCode < 400 || victim.signedIn() {
			t.Errorf("%s: answered %d", name, a.StatusCode)
		}
	}
	request, _ := http.NewRequest("GET", g.URL+"/-/sign-in?issuer=corp", nil)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := newBrowser(t, g).do(request); strings.HasPrefix(a.Header.Get("Location"), g.People.Issuer()) {
		t.Error("another site's page begins a sign-in")
	}
}

func TestSignInByReplay(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	b := newBrowser(t, g)
	back := b.begin("ada", "/-/")
	cookies := b.Jar.Cookies(mustParse(t, g.URL))
	if a := b.open(back); a.StatusCode/100 != 3 || !b.signedIn() {
		t.Fatalf("the first time was answered %d: the test tests nothing", a.StatusCode)
	}
	again := newBrowser(t, g) // with the very cookies that the sign-in was begun with
	again.Jar.SetCookies(mustParse(t, g.URL), cookies)
	if a := again.open(back); a.StatusCode < 400 || again.signedIn() {
		t.Errorf("a code, state and nonce used before were answered %d", a.StatusCode)
	}
}

func TestSignInBySessionFixation(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	mallory, victim := newBrowser(t, g), newBrowser(t, g)
	mallory.signIn("linus")
	fixed := mallory.Jar.Cookies(mustParse(t, g.URL))
	victim.Jar.SetCookies(mustParse(t, g.URL), fixed) // planted
	victim.signIn("ada")
	for _, cookie := range fixed {
		for _, now := range victim.Jar.Cookies(mustParse(t, g.URL)) {
			if cookie.Value == now.Value && now.Value != "" {
				t.Errorf("the cookie %s is the same as before the sign-in", cookie.Name)
			}
		}
	}
	if text := mallory.open("/-/").Text; strings.Contains(text, "ada@acme.example") {
		t.Error("who planted the session is in the victim's")
	}
}

func TestSignInCookiesAreTheHostsOwn(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	a := newBrowser(t, g).open("/-/sign-in?issuer=corp")
	if len(a.Cookies()) == 0 {
		t.Fatal("no cookie")
	}
	for _, cookie := range a.Cookies() { // __Host- and Secure need HTTPS, as the tests of identity have it
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" {
			t.Errorf("the cookie %s may be read or sent too widely: %v", cookie.Name, cookie)
		}
	}
}

func TestSignInByAFormOfAnotherSite(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	b, other := newBrowser(t, g), newBrowser(t, g)
	b.signIn("ada")
	other.signIn("bob")
	for _, path := range []string{"/-/tokens", "/-/tokens/revoke", "/-/sign-out", "/-/admin/purge", "/cli/login"} {
		for name, forged := range map[string]struct {
			token   string
			headers []string
		}{
			"without a token":           {"", nil},
			"with another's token":      {other.csrf(), nil},
			"from another site":         {b.csrf(), []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
			"from a neighbour":          {b.csrf(), []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}},
			"from an old browser":       {b.csrf(), []string{"Origin", "https://evil.example"}},
			"from a page with no place": {b.csrf(), []string{"Origin", "null"}},
		} {
			if a := b.post(path, url.Values{"csrf": {forged.token}, "name": {"forged"}, "everything": {"yes"}}, forged.headers...); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s was answered %d, want 403", path, name, a.StatusCode)
			}
		}
	}
	if page := b.open("/-/tokens"); page.StatusCode != http.StatusOK || strings.Contains(page.Text, "forged") {
		t.Errorf("behind the forgeries the page is %d %s", page.StatusCode, page.Text)
	}
	if a := b.post("/-/tokens", url.Values{"csrf": {b.csrf()}, "name": {"mine"}}); a.StatusCode/100 > 3 {
		t.Errorf("the page's own form was answered %d: the test tests nothing", a.StatusCode)
	}
}

// TestSignInPagesAgainstClickjackingAndScripts: names from the identity provider, and text from links, are text.
func TestSignInPagesAgainstClickjackingAndScripts(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	const script = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	g.People.Put(idp.Person{Subject: "mallory", Name: script, Email: "mallory@acme.example", EmailVerified: true, Groups: []string{"payments-eng", script}})
	b := newBrowser(t, g)
	b.signIn("mallory")
	b.post("/-/tokens", url.Values{"csrf": {b.csrf()}, "name": {script}})
	stranger := newBrowser(t, g)
	for _, page := range []harness.Answer{
		b.open("/-/"), b.open("/-/tokens"), b.open("/-/access?path=" + url.QueryEscape("/v1/"+script)), b.open("/-/nothing" + url.QueryEscape(script)),
		b.open("/cli/login?session_id=" + url.QueryEscape(script) + "&public_key=" + url.QueryEscape(script) + "&token_name=" + url.QueryEscape(script)),
		stranger.open("/-/"), stranger.open("/-/tokens?x=" + url.QueryEscape(script)), stranger.open("/-/callback?error=" + url.QueryEscape(script) + "&error_description=" + url.QueryEscape(script)),
	} {
		path := page.Request.URL.Path
		if strings.Contains(page.Text, "<script>alert") || strings.Contains(page.Text, "<img src=x") {
			t.Errorf("%s runs what somebody is called", path)
		}
		policy := page.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the content policy %q lacks %s", path, policy, part)
			}
		}
		if page.Header.Get("X-Frame-Options") != "DENY" || page.Header.Get("X-Content-Type-Options") != "nosniff" || page.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s is not hardened: %v", path, page.Header)
		}
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
