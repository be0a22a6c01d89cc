package proxy

import (
	"net/http"
	"os"
	"slices"
	"testing"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/secret"
)

func plantedCredential(t *testing.T) *credential.Credential {
	t.Helper()
	t.Setenv("PLANTED", planted)
	set, err := credential.New([]credential.Config{{Name: "shared", Token: secret.Source{Env: "PLANTED"}}}, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return set.All()[0]
}

func TestOnlyListedRequestHeadersAreForwarded(t *testing.T) {
	in := http.Header{
		"Accept": {"application/json", "text/html"}, "Content-Type": {"application/json"}, "X-Client-Info": {"cli"}, "X-Mine": {"1"},
		"Authorization": {"Bearer caller"}, "Cookie": {"a=b"}, "Proxy-Authorization": {"Basic x"}, "Connection": {"Accept, Authorization"},
		"X-Original-Url": {"/v1/other"}, "X-Http-Method-Override": {"DELETE"}, "X-Forwarded-For": {"1.2.3.4"}, "X_forwarded_for": {"1.2.3.4"},
		"X-Forwarded-Host": {"evil.example"}, "Accept-Encoding": {"gzip"}, "Te": {"trailers"}, "Upgrade": {"websocket"}, "Traceparent": {"00-…"},
		"Prefer": {"wait=5"}, "Cache-Control": {"no-cache"}, "X-Gateway-Team": {"payments"},
	}
	got := outgoingHeader(in, headerNames([]string{"x-mine"}))
	want := http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/json"}, "X-Client-Info": {"cli"}, "X-Mine": {"1"},
		"User-Agent": {""}, "Accept-Encoding": {"identity"},
	}
	if len(got) != len(want) {
		t.Errorf("forwarded %v, want %v", got, want)
	}
	for name, values := range want {
		if !slices.Equal(got[name], values) {
			t.Errorf("%s = %q, want %q", name, got[name], values)
		}
	}
}

func TestTheOperatorsListDoesNotGrowTheBuiltInOne(t *testing.T) {
	first, second := headerNames([]string{"X-One"}), headerNames([]string{"X-Two"})
	if slices.Contains(second, "X-One") || !slices.Contains(first, "X-One") {
		t.Errorf("lists share memory: %v, %v", first, second)
	}
}

func TestAnswersShowNeitherTheSharedAccountNorTheCredential(t *testing.T) {
	in := http.Header{
		"Content-Type": {"application/json"}, "X-Gotrue-Id": {"owner"}, "Set-Cookie": {"s=1"}, "X-Ratelimit-Reset": {"60000"},
		"Connection": {"X-Hop"}, "X-Hop": {"1"}, "X-Echo": {"Bearer " + planted, "fine"}, "Www-Authenticate": {"Bearer"},
		"Set-Cookie ": {"s=1"}, "X-Gotrue-Id ": {"owner"}, "Transfer-Encoding ": {"chunked"}, // as net/http reads "Set-Cookie : s=1"
	}
	got := http.Header{}
	copyAnswerHeader(got, in, plantedCredential(t))
	if len(got) != 2 || got.Get("Content-Type") != "application/json" || !slices.Equal(got["X-Echo"], []string{"fine"}) {
		t.Errorf("passed on %v", got)
	}
}

func TestARedirectToUpstreamItselfStaysInTheGateway(t *testing.T) {
	for location, want := range map[string]string{
		"https://api.example/v1/projects?a=b":   "https://gateway.example/v1/projects?a=b",
		"https://api.example":                   "https://gateway.example",
		"https://api.example.evil/v1":           "https://api.example.evil/v1",
		"https://elsewhere.example/v1/projects": "https://elsewhere.example/v1/projects",
		"/v1/projects":                          "/v1/projects",
	} {
		h := http.Header{"Location": {location}}
		localLocation(h, "https://api.example", "https://gateway.example")
		if got := h.Get("Location"); got != want {
			t.Errorf("Location %s becomes %s, want %s", location, got, want)
		}
	}
}
