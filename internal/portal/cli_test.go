package portal_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const cliSession = "4b1b1d52-3a52-4a0a-8f4c-0f5e2d3b6a11"

// cliLink is what "supabase login" opens, and the key it keeps to itself.
func cliLink(t *testing.T) (link string, key *ecdh.PrivateKey) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return "/cli/login?session_id=" + cliSession + "&token_name=cli_ada@ada's-laptop_1&public_key=" + hex.EncodeToString(key.PublicKey().Bytes()), key
}

var (
	hiddenField = regexp.MustCompile(`name="(session_id|public_key|token_name|csrf)"[^>]* value="([^"]*)"`)
	codeOnPage  = regexp.MustCompile(`id="code">([^<]+)<`)
)

func TestSupabaseLogin(t *testing.T) {
	s := newStage(t)
	b := s.stranger(t)
	link, key := cliLink(t)

	// A stranger signs in first and comes back to the very same link.
	page := b.get(link)
	page.wants(t, http.StatusUnauthorized, "supabase login", "Sign in with corp")
	s.corp.SignInAs("ada")
	page = b.get("/-/sign-in?" + regexp.MustCompile(`/-/sign-in\?([^"]+)"`).FindStringSubmatch(html.UnescapeString(page.body))[1])
	page.wants(t, http.StatusOK, "Sign in the Supabase CLI?", "If that was you", "cli_ada@ada&#39;s-laptop_1")
	page.hides(t, `id="code"`)

	fields := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(page.body, -1) {
		fields.Set(field[1], html.UnescapeString(field[2]))
	}
	agreed := b.send(http.MethodPost, "/cli/login", fields, http.Header{"Sec-Fetch-Site": {"same-origin"}})
	found := codeOnPage.FindStringSubmatch(agreed.body)
	if agreed.status != http.StatusOK || found == nil {
		t.Fatalf("no code on the page: %d %s", agreed.status, agreed.body)
	}

	s.api(t, http.MethodGet, "/platform/cli/login/"+cliSession+"?device_code=WRONG", "", "").wants(t, http.StatusUnauthorized, `"code":"unauthenticated"`)
	polled := decode[map[string]string](t, s.api(t, http.MethodGet, "/platform/cli/login/"+cliSession+"?device_code="+found[1], "", ""), http.StatusOK)
	token := decrypt(t, key, polled)
	s.api(t, http.MethodGet, "/-/api/whoami", token, "").wants(t, http.StatusOK, `"subject":"ada"`)
	b.get("/-/tokens").wants(t, http.StatusOK, "cli_ada@ada&#39;s-laptop_1")
	s.api(t, http.MethodGet, "/platform/cli/login/"+cliSession+"?device_code="+found[1], "", "").wants(t, http.StatusUnauthorized)
}

func TestSupabaseLoginNeedsConsent(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	link, _ := cliLink(t)
	for range 3 { // opening the link, however often, leaves nothing to poll for
		b.get(link).hides(t, `id="code"`)
	}
	b.get("/-/tokens").wants(t, http.StatusOK, "You have none")
}

func TestSupabaseLoginWithABrokenLink(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	link, _ := cliLink(t)
	for _, broken := range []string{"/cli/login", link[:len(link)-20], strings.Replace(link, "session_id=", "session_id=x", 1)} {
		b.get(broken).wants(t, http.StatusBadRequest, "<h1>That cannot be done</h1>", "Run supabase login again")
	}
	b.post("/-/tokens", "/cli/login", url.Values{"session_id": {"x"}, "public_key": {"04"}, "token_name": {"x"}}).
		wants(t, http.StatusBadRequest, "Run supabase login again")
}

// CLI 3.1 shows a link to supabase.com whatever its profile says, so the portal takes that link.
func TestPastedLoginLink(t *testing.T) {
	s := newStage(t)
	s.stranger(t).get("/-/cli").wants(t, http.StatusUnauthorized, "Sign in with corp")
	b := s.signIn(t, "ada")
	b.get("/-/").wants(t, http.StatusOK, `href="/-/cli"`)
	link, _ := cliLink(t)
	paste := func(link string) answer { return b.post("/-/cli", "/-/cli", url.Values{"link": {link}}) }
	for name, link := range map[string]string{
		"as shown":               "https://supabase.com/dashboard" + link,
		"with spaces around":     "  https://supabase.com/dashboard" + link + "\n",
		"broken over lines":      "https://supabase.com/dashboard" + link[:60] + "\r\n  " + link[60:],
		"its end alone":          link,
		"with more in the query": "https://supabase.com/dashboard" + link + "&return_to=https://evil.example",
	} {
		paste(link).wants(t, http.StatusOK, "Sign in the Supabase CLI?", "cli_ada@ada&#39;s-laptop_1")
		if t.Failed() {
			t.Fatalf("pasted %s: %q", name, link)
		}
	}
	for name, link := range map[string]string{
		"nothing":                "",
		"another page":           "https://supabase.com/dashboard/projects",
		"no session":             "https://supabase.com/dashboard/cli/login?public_key=04",
		"a key that is none":     strings.Replace(link, "public_key=04", "public_key=05", 1),
		"cut off":                link[:len(link)-10],
		"a script":               "javascript:alert(1)//" + strings.Replace(link, "session_id", "session", 1),
		"longer than any link":   link + strings.Repeat("&a=b", 2000),
		"another path, one like": strings.Replace(link, "/cli/login?", "/cli/login/x?", 1),
	} {
		paste(link).wants(t, http.StatusBadRequest, "This is not the link that supabase login shows", `name="link"`)
		if t.Failed() {
			t.Fatalf("pasted %s: %q", name, link)
		}
	}
}

// decrypt does what the CLI does with the answer of its poll.
func decrypt(t *testing.T, key *ecdh.PrivateKey, polled map[string]string) string {
	t.Helper()
	raw := func(name string) []byte {
		value, err := hex.DecodeString(polled[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return value
	}
	peer, err := ecdh.P256().NewPublicKey(raw("public_key"))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := key.ECDH(peer)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(shared)
	if err != nil {
		t.Fatal(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	token, err := box.Open(nil, raw("nonce"), raw("access_token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}
