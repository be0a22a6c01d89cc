package portal_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"corp.example/gateway/internal/portal"
	"corp.example/gateway/internal/problem"
)

// forms are all that change something, each as its page would send it but for the CSRF token.
var forms = []struct {
	path   string
	fields url.Values
}{
	{"/-/tokens", url.Values{"name": {"forged"}}},
	{"/-/tokens/revoke", url.Values{"id": {"0000000000000000000000"}}},
	{"/cli/login", url.Values{"session_id": {"4b1b1d52-3a52-4a0a-8f4c-0f5e2d3b6a11"}, "token_name": {"forged"}, "public_key": {"04"}}},
	{"/-/admin/purge", url.Values{"everything": {"yes"}}},
	{"/-/sign-out", url.Values{}},
}

func TestCSRFFormFromAnotherOriginIsRefused(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	token := b.csrf("/-/tokens")
	for _, form := range forms {
		for name, header := range map[string]http.Header{
			"another site's":      {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
			"a neighbour's":       {"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://neighbour.example"}},
			"an old browser's":    {"Origin": {"https://evil.example"}},
			"one without address": {"Origin": {"null"}},
		} {
			form.fields.Set("csrf", token) // even with the token, which nobody else should have
			got := b.send(http.MethodPost, form.path, form.fields, header)
			if got.status != http.StatusForbidden || !strings.Contains(got.body, "another site") {
				t.Errorf("%s, %s form: status %d, want 403", form.path, name, got.status)
			}
		}
	}
	b.get("/-/tokens").wants(t, http.StatusOK, "You have none")
}

func TestCSRFFormWithoutTheSessionsTokenIsRefused(t *testing.T) {
	s := newStage(t)
	b, other := s.signIn(t, "ada"), s.signIn(t, "bob")
	for _, form := range forms {
		for name, token := range map[string]string{"no": "", "a made-up": "AAAA", "another session's": other.csrf("/-/tokens")} {
			form.fields.Set("csrf", token)
			got := b.send(http.MethodPost, form.path, form.fields, http.Header{"Sec-Fetch-Site": {"same-origin"}})
			if got.status != http.StatusForbidden {
				t.Errorf("%s with %s token: status %d, want 403", form.path, name, got.status)
			}
			got.wants(t, http.StatusForbidden, "Open that page anew") // to load this one anew would send the same form
		}
	}
	b.get("/-/tokens").wants(t, http.StatusOK, "You have none")
}

func TestFormTokenInTheQueryDoesNotCount(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	got := b.send(http.MethodPost, "/-/tokens?name=forged&csrf="+url.QueryEscape(b.csrf("/-/tokens")), url.Values{}, nil)
	got.wants(t, http.StatusForbidden)
}

func TestFormAfterTheSessionEndedDoesNothing(t *testing.T) {
	s := newStage(t)
	got := s.stranger(t).send(http.MethodPost, "/-/tokens", url.Values{"name": {"late"}}, nil)
	got.wants(t, http.StatusUnauthorized, "nothing was done", "return="+url.QueryEscape("/-/"))
}

func TestSessionCookieIsNoBearer(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "grace")
	for _, path := range []string{"/-/api/whoami", "/-/api/access", "/-/api/tokens", "/-/api/explain?path=/v1/projects"} {
		got := b.get(path)
		if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s with a session: status %d, want 401 with WWW-Authenticate", path, got.status)
		}
		if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
			t.Errorf("%s: a refusal of type %s, want JSON", path, kind)
		}
	}
}

func TestBearerIsNoSession(t *testing.T) {
	s := newStage(t)
	s.api(t, http.MethodGet, "/-/tokens", s.bearer("grace"), "").wants(t, http.StatusUnauthorized, "Sign in")
}

func TestPagesAreHardened(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	for name, got := range map[string]answer{"first page": b.get("/-/"), "sign-in": s.stranger(t).get("/-/"), "problem": b.get("/-/nothing")} {
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got.header.Get(header) != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got.header.Get(header), want)
			}
		}
		policy := got.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the content policy %q lacks %s", name, policy, part)
			}
		}
		for _, inline := range []string{"<style", "style=", "onclick=", "<script>", "javascript:", "unsafe-"} {
			if strings.Contains(got.body+policy, inline) {
				t.Errorf("%s has %s", name, inline)
			}
		}
		for _, attribute := range []string{`src="`, `rel="stylesheet" href="`, `rel="icon" href="`} {
			if _, rest, found := strings.Cut(got.body, attribute); found && !strings.HasPrefix(rest, "/-/assets/") {
				t.Errorf("%s loads something from elsewhere: %s%.40s", name, attribute, rest)
			}
		}
	}
}

func TestFirstPageIsLight(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	total := len(b.get("/-/").body)
	for _, path := range assetsOf(b.get("/-/").body) {
		got := b.get(path)
		got.wants(t, http.StatusOK)
		if !strings.Contains(got.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s is fetched again with every page", path)
		}
		total += len(got.body)
	}
	if total > 100_000 {
		t.Errorf("the first page and all it loads are %d bytes, want under 100 kB", total)
	}
}

func assetsOf(page string) (paths []string) {
	for part := range strings.SplitSeq(page, `"`) {
		if strings.HasPrefix(part, "/-/assets/") {
			paths = append(paths, part)
		}
	}
	return paths
}

func TestMarkupInNamesIsText(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "mallory")
	b.mint(`<script>alert("token")</script>`, nil)
	for _, path := range []string{"/-/", "/-/tokens", "/-/access?path=" + url.QueryEscape(`/v1/"><script>alert(1)</script>`)} {
		got := b.get(path)
		got.wants(t, http.StatusOK, "&lt;")
		got.hides(t, "<script>alert", "<img src=x")
	}
	admin := s.signIn(t, "grace").get("/-/admin?find=" + url.QueryEscape("<script>"))
	admin.wants(t, http.StatusOK, "&lt;script&gt;alert")
	admin.hides(t, "<script>alert")
}

func TestUnknownAddresses(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{"/-/nothing", "/-/tokens/", "/-//tokens", "/-/../v1/projects", "/-/%74okens", "/-/assets/nothing.css", "/-/assets/../portal.go", "/-/quota", "/-/audit"} {
		w := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodGet, "/-/", nil)
		request.URL = &url.URL{Path: unescape(t, path), RawPath: path}
		s.Config.Handler.ServeHTTP(w, request)
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Nothing here") {
			t.Errorf("%s: status %d, want a 404 page", path, w.Code)
		}
		if location := w.Header().Get("Location"); location != "" {
			t.Errorf("%s redirects to %s: paths must not be cleaned", path, location)
		}
	}
	fault := decode[struct {
		Code      problem.Code `json:"code"`
		RequestID string       `json:"request_id"`
	}](t, s.api(t, http.MethodGet, "/-/api/nothing", "", ""), http.StatusNotFound)
	if fault.Code != problem.UnknownOperation || fault.RequestID == "" {
		t.Errorf("/-/api/nothing is answered %+v", fault)
	}
}

func unescape(t *testing.T, path string) string {
	t.Helper()
	plain, err := url.PathUnescape(path)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestOtherMethods(t *testing.T) {
	s := newStage(t)
	for path, allow := range map[string]string{"/-/tokens": "GET, POST, HEAD", "/-/sign-out": "POST", "/-/api/tokens/x": "DELETE", "/-/callback": "GET, HEAD"} {
		got := s.api(t, http.MethodPut, path, "", "")
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow {
			t.Errorf("PUT %s: status %d with Allow %q, want 405 with %q", path, got.status, got.header.Get("Allow"), allow)
		}
	}
	if got := s.api(t, http.MethodHead, "/-/", "", ""); got.status != http.StatusOK || got.body != "" {
		t.Errorf("HEAD /-/: status %d with %d bytes", got.status, len(got.body))
	}
}

func TestLargeFormIsRefused(t *testing.T) {
	s := newStage(t)
	b := s.signIn(t, "ada")
	got := b.post("/-/tokens", "/-/tokens", url.Values{"name": {strings.Repeat("x", 70_000)}})
	got.wants(t, http.StatusRequestEntityTooLarge, "65536 bytes")
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/-": true, "/-/": true, "/-/api/whoami": true, "/cli/login": true, "/platform/cli/login/4b1b1d52": true,
		"/v1/projects": false, "/%2d/": false, "/-x": false, "/cli/login/x": false, "/platform/": false, "/v1/../-/": false,
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.URL = &url.URL{Path: unescape(t, path), RawPath: path}
		if got := portal.Serves(request); got != want {
			t.Errorf("Serves(%s) = %v, want %v", path, got, want)
		}
	}
}
