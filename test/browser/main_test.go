// Package browser_test drives the portal of the built gateway as people do: in headless Chromium, signed in through a
// real OpenID provider (oidc-provider, see provider.mjs). What the pages' code decides is tested beside it; here it is
// what a browser makes of it: cookies, redirects between two sites, content policy, layout, accessibility.
//
// The tests share one gateway, one provider and one browser, and run one after another. They need Chromium, Node.js and
// the packages of test/clients. With SCREENSHOTS=1 in the environment they also make the pictures in docs/screenshots.
package browser_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// stage is what the tests share.
type stage struct {
	*harness.Gateway
	provider *provider
	browser  context.Context
	tabs     map[string]*tab // of the people who are signed in, by subject
}

// newStage starts all of it before an upstream that holds a world.
func newStage(t *testing.T, world sandbox.World) *stage {
	t.Helper()
	s := &stage{browser: newBrowser(t), tabs: map[string]*tab{}}
	s.Gateway = harness.Start(t, harness.Options{
		Issuer:  func(gateway string) string { s.provider = newProvider(t, gateway); return s.provider.issuer },
		Sandbox: func(c *sandbox.Config) { c.Seed = world },
	})
	return s
}

func TestPortal(t *testing.T) {
	needBrowser(t)
	if os.Getenv("SCREENSHOTS") != "" { // they are looked at by people, and change with every run
		t.Run("screenshots", screenshots)
	}
	s := newStage(t, hostileWorld())
	for _, test := range []struct {
		name string
		run  func(*testing.T, *stage)
	}{
		{"signing in makes a new session", signInRenewsSession},
		{"signing out ends the session here and at the provider", signOut},
		{"a session outlives a restart", sessionOutlivesRestart},
		{"without the provider, who is signed in stays so", providerDown},
		{"a token is shown once, works, and is revoked", tokenLife},
		{"a limited token does less", limitedToken},
		{"everything works without scripts", withoutScripts},
		{"times are in the reader's zone", readersZone},
		{"each kind of person sees their pages", kindsOfPeople},
		{"nobody sees what is others'", nothingOfOthers},
		{"the quota page keeps itself fresh", quotaStaysFresh},
		{"supabase login", supabaseLogin},
		{"supabase login by the link it shows", supabaseLoginByLink},
		{"a new key of the provider is learnt at once", newKey},
		{"signing in leads back to where one was going", signInReturns},
		{"forms sent from other origins are refused", foreignForms},
		{"names full of markup stay text", hostileNames},
		{"every page is accessible and fits a phone", accessibility},
		{"the keyboard reaches the content first", keyboard},
		{"the first page is light", firstPageIsLight},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// installed is a file of a package of test/clients.
func installed(path string) string {
	return filepath.Join(harness.Root(), "test", "clients", "node_modules", path)
}

var (
	supabaseCLI = installed("supabase/dist/supabase.js")
	axeSource   = installed("axe-core/axe.min.js")
)

// needBrowser leaves the tests out where something they run is missing, but never in continuous integration.
func needBrowser(t *testing.T) {
	t.Helper()
	harness.Need(t, []string{"chromium", "node", "script"}, []string{supabaseCLI, axeSource, installed("oidc-provider/package.json")})
}

// newBrowser starts Chromium with a profile of its own, and more options. Each tab has its own cookies.
func newBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // does not work in containers; the pages are ours
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return ctx
}
