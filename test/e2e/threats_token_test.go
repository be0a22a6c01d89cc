package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"corp.example/gateway/internal/sandbox/idp"
	"corp.example/gateway/test/harness"
)

// TestTokenForgery: whoever asks comes with a token that some check must refuse. It is made out for Grace, to whom
// everything is granted, so that nothing but that check stands between it and upstream.
func TestTokenForgery(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	good := g.JWT("grace")
	if a := g.Get(good, own+"/functions"); a.StatusCode != http.StatusOK {
		t.Fatalf("a good token was answered %d %s: the test tests nothing", a.StatusCode, a.Text)
	}
	header, payload, signature := parts(good)
	_, adas, _ := parts(g.JWT("ada"))
	asked := len(g.Upstream.Requests())
	for name, token := range map[string]string{
		"alg none":                            g.JWT("grace", idp.Unsigned()),
		"no signature":                        header + "." + payload + ".",
		"HS256 with the public key":           g.JWT("grace", g.People.SignedWithPublicKey()),
		"a key the provider never had":        g.JWT("grace", idp.SignedByStranger()),
		"one token's claims, another's name":  header + "." + adas + "." + signature,
		"another audience":                    g.People.Token("grace", "billing"),
		"an audience that begins like ours":   g.People.Token("grace", harness.Audience+"-2"),
		"an audience that ours begins like":   g.People.Token("grace", harness.Audience[:len(harness.Audience)-1]),
		"no audience":                         g.JWT("grace", idp.Claim("aud", nil)),
		"another issuer":                      g.JWT("grace", idp.Claim("iss", "https://evil.example")),
		"the issuer with a slash behind":      g.JWT("grace", idp.Claim("iss", g.People.Issuer()+"/")),
		"no issuer":                           g.JWT("grace", idp.Claim("iss", nil)),
		"expired":                             g.JWT("grace", idp.Expired()),
		"without an end":                      g.JWT("grace", idp.Claim("exp", nil)),
		"not valid yet":                       g.JWT("grace", idp.NotYet()),
		"no subject":                          g.JWT("grace", idp.Claim("sub", nil)),
		"the id of another key":               g.JWT("grace", idp.Header("kid", "es")),
		"an id that is a path":                g.JWT("grace", idp.Header("kid", "../../../../dev/null")),
		"an id that is SQL":                   g.JWT("grace", idp.Header("kid", "x' UNION SELECT 'key")),
		"a key set of its own (jku)":          g.JWT("grace", idp.SignedByStranger(), idp.Header("jku", "https://evil.example/jwks")),
		"a certificate of its own (x5u)":      g.JWT("grace", idp.SignedByStranger(), idp.Header("x5u", "https://evil.example/cert")),
		"a second signature part":             good + "." + signature,
		"the session's form of a minted one":  "sbp_" + strings.Repeat("0", 40),
		"a minted token with a digit changed": flip(g.Token("platform")),
	} {
		for _, path := range []string{own + "/functions", "/v1/profile", "/-/api/whoami", "/-/api/access"} {
			// Both places that take a bearer, since they have one way of telling who it is.
			if a := g.Get(token, path); a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s: %s was answered %d %s, want 401", name, path, a.StatusCode, a.Text)
			}
		}
		if _, claims, _ := parts(token); claims != "" && strings.Contains(g.Log(), claims) {
			t.Errorf("%s: the token is in the log", name)
		}
	}
	if n := len(g.Upstream.Requests()) - asked; n > 0 {
		t.Errorf("upstream was asked %d times by forgers", n)
	}
	if a := g.Get(good, own+"/functions"); a.StatusCode != http.StatusOK { // a right one passes, however many wrong ones came
		t.Errorf("behind the forgeries a good token was answered %d %s", a.StatusCode, a.Text)
	}
}

func parts(jwt string) (header, payload, signature string) {
	header, rest, _ := strings.Cut(jwt, ".")
	payload, signature, _ = strings.Cut(rest, ".")
	return header, payload, signature
}

// flip changes the last hexadecimal digit.
func flip(token string) string {
	last := "0"
	if strings.HasSuffix(token, last) {
		last = "1"
	}
	return token[:len(token)-1] + last
}

// TestTokenForgeryByClaims: tokens that are rightly signed and claim what must not make anybody a member.
func TestTokenForgeryByClaims(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Policy: `
teams:
  - name: payments
    members: [{group: payments-eng}, {email: ada@acme.example}]
    allow: [{projects: ["*"], scopes: ["*"], permissions: ["*"]}]
`})
	for name, changes := range map[string][]idp.Change{
		"an empty group":                    {idp.Claim("groups", []string{""})},
		"a blank group":                     {idp.Claim("groups", []string{" "})},
		"a group that begins like ours":     {idp.Claim("groups", []string{"payments-eng-alumni"})},
		"a group that ours begins like":     {idp.Claim("groups", []string{"payments", "payments-en"})},
		"a group in another case":           {idp.Claim("groups", []string{"Payments-Eng"})},
		"a group with a space":              {idp.Claim("groups", []string{"payments-eng "})},
		"a pattern for a group":             {idp.Claim("groups", []string{"*", ".*", "payments-*"})},
		"two groups in one":                 {idp.Claim("groups", []string{"x,payments-eng", "x payments-eng"})},
		"a group under another claim":       {idp.Claim("groups", nil), idp.Claim("roles", []string{"payments-eng"})},
		"an e-mail that is not verified":    {idp.Claim("email", "ada@acme.example"), idp.Claim("email_verified", false)},
		"an e-mail nothing is said of":      {idp.Claim("email", "ada@acme.example"), idp.Claim("email_verified", nil)},
		"an e-mail with two at signs":       {idp.Claim("email", "ada@acme.example@evil.example"), idp.Claim("email_verified", true)},
		"an e-mail behind another":          {idp.Claim("email", "a@evil@ada@acme.example"), idp.Claim("email_verified", true)},
		"an e-mail with another's in it":    {idp.Claim("email", "evil@evil.example,ada@acme.example"), idp.Claim("email_verified", true)},
		"an e-mail of a longer domain":      {idp.Claim("email", "ada@acme.example.evil.example"), idp.Claim("email_verified", true)},
		"a subject that is somebody's mail": {idp.Claim("sub", "ada@acme.example"), idp.Claim("email", nil)},
		"a team in a claim":                 {idp.Claim("team", "payments"), idp.Claim("teams", []string{"payments"})},
	} {
		t.Run(name, func(t *testing.T) {
			if a := g.Get(g.JWT("linus", changes...), own+"/functions"); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusUnauthorized {
				t.Errorf("answered %d %s, want a refusal", a.StatusCode, a.Text)
			}
		})
	}
	member := g.JWT("linus", idp.Claim("email", "ada@acme.example"), idp.Claim("email_verified", true))
	if a := g.Get(member, own+"/functions"); a.StatusCode != http.StatusOK {
		t.Errorf("a member was answered %d %s: the test tests nothing", a.StatusCode, a.Text)
	}
}

// TestTokenForgeryByAFloodOfUnknownKeys: who makes up key ids does not make the gateway ask its provider each time, nor
// keep others from signing in when the keys change or the provider is away.
func TestTokenForgeryByAFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	before := g.JWT("ada")
	if a := g.Get(before, own+"/functions"); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode, a.Text)
	}
	fetched := g.People.Requests(idp.KeySet)
	strange := idp.Draft{}
	idp.SignedByStranger()(&strange) // once: a key takes its time
	forged := func(d *idp.Draft) { d.Alg, d.Key = strange.Alg, strange.Key }
	var flood sync.WaitGroup
	for n := range 8 {
		flood.Go(func() {
			for i := range 25 {
				g.Get(g.JWT("grace", forged, idp.Header("kid", fmt.Sprintf("made-up-%d-%d", n, i))), own)
			}
		})
	}
	flood.Wait()
	if n := g.People.Requests(idp.KeySet) - fetched; n > 5 {
		t.Errorf("200 made-up key ids had the key set fetched %d times", n)
	}
	g.People.SetDown(true)
	if a := g.Get(g.JWT("ada"), own+"/functions"); a.StatusCode != http.StatusOK {
		t.Errorf("while the provider is away, a token of a known key is answered %d %s", a.StatusCode, a.Text)
	}
	if a := g.Get(g.JWT("grace", forged), own+"/functions"); a.StatusCode == http.StatusOK {
		t.Error("while the provider is away, a forged token is taken")
	}
}

func TestTokenForgeryByAnotherIssuersSubject(t *testing.T) {
	t.Parallel()
	unserved := httptest.NewUnstartedServer(nil)
	other, err := idp.New(idp.Config{Issuer: "http://" + unserved.Listener.Addr().String(), People: []idp.Person{
		{Subject: "grace", Email: "grace@acme.example", EmailVerified: true, Groups: []string{"platform-eng"}}}})
	if err != nil {
		t.Fatal(err)
	}
	unserved.Config.Handler = other
	unserved.Start()
	t.Cleanup(unserved.Close)
	g := harness.Start(t, harness.Options{Policy: `
teams:
  - name: platform
    members: [{issuer: corp, group: platform-eng}, {issuer: corp, email: grace@acme.example}]
    allow: [{projects: ["*"], scopes: ["*"]}]
`})
	reconfigure(t, g, "issuers: [", `issuers: [{name: partners, url: "`+other.Issuer()+`", audience: [`+harness.Audience+`]}, `)
	if a := g.Get(g.JWT("grace"), own+"/functions"); a.StatusCode != http.StatusOK {
		t.Fatalf("Grace was answered %d %s: the test tests nothing", a.StatusCode, a.Text)
	}
	namesake := other.Token("grace", harness.Audience)
	if a := g.Get(namesake, "/v1/profile"); a.StatusCode == http.StatusUnauthorized {
		t.Fatalf("the other issuer's token was answered %d %s: the test tests nothing", a.StatusCode, a.Text)
	}
	if a := g.Get(namesake, own+"/functions"); a.StatusCode != http.StatusForbidden {
		t.Errorf("somebody else's Grace was answered %d %s, want 403", a.StatusCode, a.Text)
	}
	minted := g.Do(g.JWT("grace"), "POST", "/-/api/tokens", `{"name":"mine"}`)
	if list := g.Get(namesake, "/-/api/tokens"); minted.StatusCode/100 == 2 && strings.Contains(list.Text, "mine") {
		t.Errorf("somebody else's Grace sees Grace's tokens: %s", list.Text)
	}
}

// reconfigure starts the gateway again with a change of its configuration.
func reconfigure(t testing.TB, g *harness.Gateway, old, new string) {
	t.Helper()
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(g.Path("gateway.yaml"))
	if err != nil || strings.Count(string(config), old) != 1 {
		t.Fatalf("%q does not stand once in the configuration: %v", old, err)
	}
	g.Write("gateway.yaml", strings.Replace(string(config), old, new, 1))
	g.Launch()
}
