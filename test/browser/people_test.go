package browser_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
)

func kindsOfPeople(t *testing.T, s *stage) {
	mine := []string{"Home", "Tokens", "Access", "Quota", "Audit"}
	for _, kind := range []struct {
		subject string
		nav     []string
		home    []string
		access  []string
		admin   int64
	}{
		{"ada", mine, []string{"Hello, Ada Lovelace", "payments"}, []string{sandbox.Payments, "#payments"}, http.StatusForbidden},
		{"grace", append(mine, "Administration"), []string{"Hello, Grace Hopper", "platform", "administrator"}, []string{"every project"}, http.StatusOK},
		{"linus", mine, []string{"Hello, Linus Pauling", "You are in no team", "GET /v1/projects"}, []string{"You are in no team"}, http.StatusForbidden},
	} {
		t.Run(kind.subject, func(t *testing.T) {
			b := s.as(t, kind.subject)
			b.open("/-/")
			b.wants(kind.home...)
			if nav := eval[[]string](b, `[...document.querySelectorAll("nav a")].map(a => a.innerText)`); !slices.Equal(nav, kind.nav) {
				t.Errorf("the pages are %q, want %q", nav, kind.nav)
			}
			b.open("/-/access")
			b.wants(kind.access...)
			if status := b.open("/-/admin"); status != kind.admin {
				t.Errorf("/-/admin: status %d, want %d", status, kind.admin)
			}
		})
	}
}

// walk opens every page that links lead to, beginning with the first, and calls visit at each. Of pages about one thing
// each, such as a request, it opens one.
func (b *tab) walk(visit func()) {
	b.t.Helper()
	const links = `[...document.querySelectorAll("a[href]:not([download])")].filter(a => a.origin === location.origin).map(a => a.pathname + a.search)`
	seen := map[string]bool{"/-/": true}
	for queue := []string{"/-/"}; len(queue) > 0; queue = queue[1:] {
		if status := b.open(queue[0]); status != http.StatusOK {
			b.t.Errorf("a link leads to %s: status %d", queue[0], status)
		}
		visit()
		for _, link := range eval[[]string](b, links) {
			kind, _, _ := strings.Cut(link, "?")
			if strings.HasPrefix(kind, "/-/audit/") {
				kind = "/-/audit/"
			}
			if strings.HasPrefix(kind, "/-/") && !seen[kind] {
				seen[kind] = true
				queue = append(queue, link)
			}
		}
	}
}

// quotaStaysFresh waits for the page to fetch its live part anew by itself.
func quotaStaysFresh(t *testing.T, s *stage) {
	b := s.as(t, "ada")
	b.prefer("light") // and less motion: it does not begin by itself
	b.open("/-/quota")
	b.tap("Keep it fresh")
	const asOf = `document.querySelector("#live time").dateTime`
	eval[bool](b, `new Promise(done => {
		const before = `+asOf+`;
		const check = setInterval(() => { if (`+asOf+` !== before) { clearInterval(check); done(true); } }, 100);
	})`)
	b.tap("Pause")
}

// nothingOfOthers lets Bob of another team leave traces everywhere, and looks for them with others' eyes.
func nothingOfOthers(t *testing.T, s *stage) {
	bob := s.as(t, "bob")
	secret := bob.mint("Bob’s nightly job")
	id := eval[string](bob, `document.querySelector("tbody code").innerText`)
	traces := []string{"bob@globex.example", "Bob Kahn", "Bob’s nightly job", id, sandbox.FieldApp, sandbox.Globex, sandbox.Billing,
		"storefront", "field-app", "checkout-redesign"} // what things are called that only the others may see
	request := ""
	for _, path := range []string{"/v1/projects/" + sandbox.FieldApp, "/v1/organizations/" + sandbox.Globex, "/v1/projects/" + sandbox.Billing} {
		got := s.Get(secret, path, "User-Agent", "Bob’s tool")
		request = got.Header.Get("X-Request-Id")
		traces = append(traces, request)
	}
	s.Audit(request)
	for _, subject := range []string{"ada", "linus"} {
		t.Run(subject, func(t *testing.T) { s.as(t, subject).seesNone(traces, id, request) })
	}
	t.Run("grace", func(t *testing.T) {
		b := s.as(t, "grace")
		b.open("/-/admin")
		b.wants("bob@globex.example", "Bob’s nightly job", id)
		b.open("/-/audit")
		b.wants("bob@globex.example", sandbox.FieldApp)
		b.open("/-/audit/" + request)
		b.wants(request, sandbox.Billing, "Bob’s tool")
	})
	bob.use(t)
	bob.revoke("Bob’s nightly job")
}

// seesNone looks at every page and every answer of the API, asking for Bob's token and request too.
func (b *tab) seesNone(traces []string, token, request string) {
	t := b.t
	own := b.mint("a look around")
	b.stage.Get(own, "/v1/projects")
	refused := b.stage.Get(own, "/v1/projects/"+sandbox.Storefront)
	b.stage.Audit(refused.Header.Get("X-Request-Id"))
	clean := func(where, text string) {
		for _, trace := range traces {
			if strings.Contains(text, trace) {
				t.Errorf("%s shows %q", where, trace)
			}
		}
	}
	b.walk(func() { clean(b.path(), b.html()) })
	for path, want := range map[string]int64{
		"/-/admin":                   http.StatusForbidden,
		"/-/audit?team=field":        http.StatusOK,
		"/-/audit?actor=bob":         http.StatusOK,
		"/-/audit?project=elsewhere": http.StatusOK,
		"/-/access?path=/v1/projects/" + sandbox.Storefront: http.StatusOK,
		"/-/access?project=" + sandbox.Storefront:           http.StatusOK,
	} {
		if status := b.open(path); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
		clean(path, b.html())
	}
	if status := b.open("/-/audit/" + request); status != http.StatusNotFound {
		t.Errorf("another's request: status %d, want 404", status)
	}

	for path, want := range map[string]int{
		"/-/api/whoami":           http.StatusOK,
		"/-/api/access":           http.StatusOK,
		"/-/api/quota":            http.StatusOK,
		"/-/api/tokens":           http.StatusOK,
		"/-/api/tokens?all=true":  http.StatusForbidden,
		"/-/api/audit?limit=1000": http.StatusOK,
		"/-/api/audit?limit=1000&actor=bob&team=field": http.StatusOK,
		"/-/api/audit?format=csv":                      http.StatusOK,
		"/-/api/audit?format=jsonl":                    http.StatusOK,
		"/-/api/explain?path=/v1/organizations":        http.StatusOK,
		"/-/api/admin":                                 http.StatusForbidden,
	} {
		got := b.stage.Get(own, path)
		if got.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", path, got.StatusCode, want, got.Text)
		}
		clean(path, got.Text)
	}
	if got := b.stage.Do(own, http.MethodDelete, "/-/api/tokens/"+token, ""); got.StatusCode != http.StatusNotFound {
		t.Errorf("revoking another's token: status %d, want 404", got.StatusCode)
	}
	var whoami struct{ Admin bool }
	if err := json.Unmarshal([]byte(b.stage.Get(own, "/-/api/whoami").Text), &whoami); err != nil || whoami.Admin {
		t.Errorf("whoami: %+v, %v", whoami, err)
	}
	b.revoke("a look around")
}
