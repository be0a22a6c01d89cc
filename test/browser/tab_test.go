package browser_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds each step in the browser; on a busy machine a page may take seconds.
const patience = 30 * time.Second

// tab is one person's browser, with cookies of its own. At the end of each test that uses it, it complains of what no
// page may do: errors in scripts, violations of the content policy, requests to anywhere else, files that are missing.
type tab struct {
	t     *testing.T
	stage *stage
	ctx   context.Context
	close context.CancelFunc

	mu     sync.Mutex
	sites  []string // that may be asked
	faults []string
}

// stranger is a new browser that nobody has signed in with.
func (s *stage) stranger(t *testing.T) *tab {
	t.Helper()
	b := s.newTab(t)
	t.Cleanup(b.close)
	return b
}

// as is the browser of somebody who is signed in. It is kept, so that whoever needs it next need not sign in again.
func (s *stage) as(t *testing.T, subject string) *tab {
	t.Helper()
	if b := s.tabs[subject]; b != nil {
		b.use(t)
		return b
	}
	b := s.newTab(t)
	b.signIn(subject)
	s.tabs[subject] = b
	return b
}

func (s *stage) newTab(t *testing.T) *tab {
	t.Helper()
	b := &tab{stage: s, sites: []string{s.URL, s.provider.issuer}}
	b.ctx, b.close = chromedp.NewContext(s.browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.watch))
	b.use(t)
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	b.desktop()
	return b
}

// use makes t the test that the tab reports to.
func (b *tab) use(t *testing.T) {
	b.t = t
	t.Cleanup(func() {
		for _, fault := range b.takeFaults() {
			t.Error(fault)
		}
	})
}

func (b *tab) takeFaults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := b.faults
	b.faults = nil
	return faults
}

// watch hears of everything that happens in the tab.
func (b *tab) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := func(format string, args ...any) { b.faults = append(b.faults, fmt.Sprintf(format, args...)) }
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		fault("a script failed: %s %v", event.ExceptionDetails.Text, event.ExceptionDetails.Exception)
	case *runtime.EventConsoleAPICalled:
		fault("a script wrote to the console: %v", event.Args)
	case *page.EventJavascriptDialogOpening:
		fault("a script opened a dialog: %s", event.Message)
	case *log.EventEntryAdded:
		if event.Entry.Source != log.EntrySourceNetwork { // those are statuses, seen below
			fault("the browser complains (%s, %s): %s", event.Entry.Source, event.Entry.URL, event.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		allowed := func(site string) bool { return strings.HasPrefix(event.Request.URL, site+"/") }
		if !slices.ContainsFunc(b.sites, allowed) && !strings.HasPrefix(event.Request.URL, "data:") {
			fault("a request went to %s", event.Request.URL)
		}
	case *network.EventResponseReceived:
		if event.Type != network.ResourceTypeDocument && event.Response.Status >= 400 {
			fault("%s is answered %d", event.Response.URL, event.Response.Status)
		}
	}
}

// do runs one action in the tab and returns what it does.
func do[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		where, _ := chromedp.Run(b.ctx, chromedp.Location())
		b.t.Fatalf("at %s: %v\n%s\n%s", where, err, strings.Join(b.takeFaults(), "\n"), b.text())
	}
	return value
}

// eval is the value of an expression in the page; promises are waited for.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	return do(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// open goes to a path of the gateway and returns the status of its answer.
func (b *tab) open(path string) int64 {
	b.t.Helper()
	return do(b, chromedp.NavigateResponse(b.stage.URL+path)).Status
}

// goTo goes to any URL.
func (b *tab) goTo(url string) { b.t.Helper(); do(b, chromedp.Navigate(url)) }

// press presses the button or follows the link of a name, and returns the status of the page that comes.
func (b *tab) press(name string) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Click(named(name)))
	if err != nil {
		b.t.Fatalf("pressing %q at %s: %v\n%s", name, b.path(), err, b.text())
	}
	return response.Status
}

// tap presses something that leads nowhere: what opens and closes, and what copies.
func (b *tab) tap(name string) { b.t.Helper(); do(b, chromedp.Click(named(name))) }

// named finds what can be pressed by its visible name, as an XPath.
func named(name string) string {
	return fmt.Sprintf(`//*[self::a or self::button or self::summary][normalize-space()=%q]`, name)
}

// fill writes into the field with a label, or chooses of it.
func (b *tab) fill(label, value string) {
	b.t.Helper()
	field := fmt.Sprintf(`//*[@id=//label[normalize-space()=%q]/@for]`, label)
	do(b, chromedp.SetValue(field, value))
}

// text is what can be read on the page.
func (b *tab) text() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	return text
}

// html is all of the page, attributes and hidden fields included.
func (b *tab) html() string {
	b.t.Helper()
	return eval[string](b, `document.documentElement.outerHTML`)
}

// path is where the tab is: the path on the gateway, the whole URL elsewhere.
func (b *tab) path() string {
	where, _ := chromedp.Run(b.ctx, chromedp.Location())
	if path, ours := strings.CutPrefix(where, b.stage.URL); ours {
		return path
	}
	return where
}

// wants checks that all of the texts can be read.
func (b *tab) wants(texts ...string) {
	b.t.Helper()
	got := b.text()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			b.t.Errorf("%s does not show %q:\n%s", b.path(), text, got)
		}
	}
}

// signIn signs somebody in, from the first page to the first page.
func (b *tab) signIn(subject string) {
	b.t.Helper()
	b.open("/-/")
	b.press("Sign in with corp")
	if !strings.HasPrefix(b.path(), b.stage.provider.issuer) {
		b.t.Fatalf("signing in leads to %s, not to the provider", b.path())
	}
	b.press(subject)
	if b.path() != "/-/" {
		b.t.Fatalf("signing in as %s ends at %s:\n%s", subject, b.path(), b.text())
	}
}

// cookie is the session's cookie, nil where there is none.
func (b *tab) cookie() *network.Cookie {
	b.t.Helper()
	cookies, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{b.stage.URL + "/"}})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, cookie := range cookies.Cookies {
		if strings.HasSuffix(cookie.Name, "gateway_session") {
			return cookie
		}
	}
	return nil
}

// desktop and phone change the size of the window.
func (b *tab) desktop() { do(b, chromedp.EmulateViewport(1280, 900)) }
func (b *tab) phone() {
	do(b, chromedp.EmulateViewport(375, 812, chromedp.EmulateMobile, chromedp.EmulateTouch))
}

// prefer sets what the reader prefers: "light" or "dark". Nothing moves, so that what is seen is final.
func (b *tab) prefer(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// pathWith is a path with a query.
func pathWith(path string, pairs ...string) string {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + query.Encode()
}
