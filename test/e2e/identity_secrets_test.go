package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// person is a browser that goes through a whole sign-in and notes every secret it meets, and every refusal.
type person struct {
	t        *testing.T
	g        *harness.Gateway
	client   *http.Client
	secrets  map[string]string // by what they are
	refusals strings.Builder
}

func newPerson(t *testing.T, g *harness.Gateway) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, g: g, secrets: map[string]string{}, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ask sends a form, or without one reads, and returns where the answer leads and its body.
func (p *person) ask(address string, form url.Values) (to *url.URL, body string) {
	p.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = p.g.URL + address
	}
	var answer *http.Response
	var err error
	if form == nil {
		answer, err = p.client.Get(address)
	} else {
		answer, err = p.client.PostForm(address, form)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if answer.StatusCode >= 400 {
		p.refusals.WriteString(answer.Status + "\n")
		_ = answer.Header.Write(&p.refusals)
		p.refusals.Write(text)
	}
	for _, cookie := range answer.Cookies() {
		if cookie.Value != "" {
			p.secrets["cookie "+cookie.Name] = cookie.Value
		}
	}
	to, _ = answer.Location() // nil where it leads nowhere
	return to, string(text)
}

// bearer presents a token, right or wrong.
func (p *person) bearer(token string, want int) {
	p.t.Helper()
	a := p.g.Get(token, "/v1/projects")
	if a.StatusCode != want {
		p.t.Fatalf("status %d, want %d: %s", a.StatusCode, want, a.Text)
	}
	if want >= 400 {
		_ = a.Header.Write(&p.refusals)
		p.refusals.WriteString(a.Text)
	}
}

func (p *person) find(pattern, in string) string {
	p.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(in)
	if found == nil {
		p.t.Fatalf("no %s in:\n%s", pattern, in)
	}
	return found[1]
}

func (p *person) signIn() {
	p.t.Helper()
	at, _ := p.ask("/-/sign-in?issuer=corp&return=/-/tokens", nil)
	query := at.Query()
	p.secrets["state"], p.secrets["nonce"] = query.Get("state"), query.Get("nonce")
	query.Set("login_hint", "ada")
	at.RawQuery = query.Encode()
	back, _ := p.ask(at.String(), nil)
	p.secrets["authorization code"] = back.Query().Get("code")
	stolen := newPerson(p.t, p.g) // somebody else's browser with the same address
	stolen.ask(back.String(), nil)
	p.refusals.WriteString(stolen.refusals.String())
	if to, body := p.ask(back.String(), nil); to == nil || to.Path != "/-/tokens" {
		p.t.Fatalf("the sign-in leads to %v\n%s", to, body)
	}
	p.ask(back.String(), nil) // a second time
}

func (p *person) mint() {
	p.t.Helper()
	_, page := p.ask("/-/tokens", nil)
	csrf := p.find(`name="csrf" value="([^"]+)"`, page)
	p.secrets["CSRF token"] = csrf
	form := url.Values{"csrf": {csrf}, "name": {"laptop"}, "expires_in": {"24h"}}
	_, page = p.ask("/-/tokens", form)
	token := p.find(`(sbp_[0-9a-f]{40})`, page)
	p.secrets["minted token"] = token
	p.bearer(token, http.StatusOK)
	form.Set("csrf", csrf+"x")
	p.ask("/-/tokens", form)
	wrong := token[:43] + string("0f"[strings.Index("f0", token[43:44])&1])
	p.secrets["mistyped token"] = wrong
	p.bearer(wrong, http.StatusUnauthorized)
}

func (p *person) loginCLI() {
	p.t.Helper()
	const session, point = "4b1b1d52-3a52-4a0a-8f4c-0f5e2d3b6a11", "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
	_, page := p.ask("/cli/login", url.Values{"csrf": {p.secrets["CSRF token"]}, "session_id": {session}, "public_key": {point}, "token_name": {"cli"}})
	code := p.find(`id="code">([A-Z2-7]+)<`, page)
	p.secrets["CLI session"], p.secrets["verification code"] = session, code
	for _, guess := range []string{"WRONG234", code, code} {
		p.ask("/platform/cli/login/"+session+"?device_code="+guess, nil)
	}
}

// Of a whole sign-in, with what goes wrong on the way, no secret is in the log, the audit log, the metrics, an error or a
// file.
func TestNoSecretOfASignInIsWrittenAnywhere(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{State: "seal_key: {file: seal-key}, ", Files: map[string]string{"seal-key": strings.Repeat("5e", 32)}})
	p := newPerson(t, g)
	p.signIn()
	p.mint()
	p.loginCLI()
	jwt := g.JWT("ada")
	p.secrets["JWT"], p.secrets["JWT's payload"], p.secrets["JWT's signature"] = jwt, strings.Split(jwt, ".")[1], strings.Split(jwt, ".")[2]
	p.bearer(jwt, http.StatusOK)
	p.bearer(jwt[:len(jwt)-12], http.StatusUnauthorized)
	p.secrets["client secret"], p.secrets["upstream's token"], p.secrets["seal key"] = harness.ClientSecret, harness.UpstreamToken, strings.Repeat("5e", 32)
	metrics, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	counted, err := io.ReadAll(metrics.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Terminate(); err != nil { // everything is written now
		t.Fatal(err)
	}

	if len(p.secrets) < 15 {
		t.Errorf("only %d secrets were met", len(p.secrets))
	}
	places := map[string][]byte{"the log": []byte(g.Log()), "the metrics": counted, "an error": []byte(p.refusals.String())}
	err = filepath.WalkDir(g.Path("state"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		places[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range places {
		for name, secret := range p.secrets {
			if place == "an error" && name == "CSRF token" {
				continue // every page of the session holds it, those about errors too
			}
			if secret == "" {
				t.Errorf("the %s was not met", name)
			} else if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds the %s", place, name)
			}
		}
	}
}
