package e2e

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// own and foreign are what the payments team was granted, and what it was not.
const (
	own     = "/v1/projects/" + sandbox.Payments
	foreign = "/v1/projects/" + sandbox.FieldApp
)

// send writes one request as it stands, reads its answer, and leaves the connection.
func send(t *testing.T, g *harness.Gateway, request string) harness.Answer {
	t.Helper()
	connection, answers := open(t, g, request)
	defer connection.Close()
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("no answer to %.200q: %v", request, err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reading the answer to %.200q: %v", request, err)
	}
	return harness.Answer{Response: response, Text: string(text)}
}

// sendTarget sends a GET with a request target exactly as given, which no HTTP client would.
func sendTarget(t *testing.T, g *harness.Gateway, token, target string) harness.Answer {
	t.Helper()
	return send(t, g, "GET "+target+" HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer "+token+"\r\n\r\n")
}

func TestPathConfusion(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for name, target := range map[string]string{
		"dot segments":                  own + "/../" + sandbox.FieldApp + "/functions",
		"dot segments behind a grant":   own + "/functions/../../" + sandbox.FieldApp,
		"a dot segment at the end":      own + "/functions/..",
		"a single dot":                  own + "/./functions",
		"encoded dots":                  own + "/%2e%2e/" + sandbox.FieldApp + "/functions",
		"half encoded dots":             own + "/.%2E/" + sandbox.FieldApp + "/functions",
		"dots encoded twice":            own + "/%252e%252e/" + sandbox.FieldApp + "/functions",
		"an encoded slash":              own + "%2Ffunctions",
		"an encoded slash, lower case":  own + "/branches/x%2f..%2f..%2f" + sandbox.FieldApp,
		"a slash encoded twice":         own + "%252Ffunctions",
		"a doubled slash":               "/v1/projects//" + sandbox.FieldApp,
		"a doubled slash at the start":  "//v1/projects/" + sandbox.Payments,
		"an empty last segment":         own + "/",
		"a backslash":                   own + "/..\\" + sandbox.FieldApp,
		"an encoded backslash":          own + "/..%5C" + sandbox.FieldApp,
		"path parameters":               own + ";/../" + sandbox.FieldApp,
		"path parameters in a segment":  own + "/functions;x=y",
		"encoded path parameters":       own + "/..%3B/" + sandbox.FieldApp,
		"NUL":                           own + "/functions%00",
		"an encoded line break":         own + "/functions%0d%0aX-Injected:%20yes",
		"DEL":                           own + "/functions%7F",
		"mixed case":                    "/V1/Projects/" + sandbox.Payments,
		"a ref in mixed case":           "/v1/projects/" + strings.ToUpper(sandbox.Payments[:1]) + sandbox.Payments[1:],
		"letters encoded":               "/v1/%70rojects/" + sandbox.Payments,
		"non-ASCII look-alikes":         "/v1/project\u017f/" + sandbox.Payments,
		"encoded look-alikes":           "/v1/project%C5%BF/" + sandbox.Payments,
		"overlong UTF-8 of a slash":     own + "/%C0%AFfunctions",
		"a fragment":                    own + "/functions#/../../" + sandbox.FieldApp,
		"an encoded fragment":           own + "/functions%23x",
		"an encoded question mark":      own + "/functions%3Fx=y",
		"a broken escape":               own + "/functions%zz",
		"an escape cut short":           own + "/functions%2",
		"an absolute target":            "http://upstream.example" + own,
		"an absolute target elsewhere":  "https://169.254.169.254/latest/meta-data",
		"a target without a slash":      "v1/projects/" + sandbox.Payments,
		"a target of another protocol":  "javascript:alert(1)",
		"the asterisk":                  "*",
		"a tab":                         own + "\tfunctions",
		"a path longer than any":        own + "/functions/" + strings.Repeat("a", 4<<10),
		"a ref longer than any":         own + "x",
		"a ref with a trailing space":   own + "%20",
		"the portal's path above":       "/-/../v1/projects/" + sandbox.FieldApp,
		"a known path behind a foreign": "/metrics/../v1/projects/" + sandbox.Payments,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := sendTarget(t, g, token, target)
			if a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("GET %q was answered %d %.200s, want a refusal", target, a.StatusCode, a.Text)
			}
		})
	}
	t.Run("the catalogue is not told to strangers", func(t *testing.T) {
		t.Parallel()
		for _, target := range []string{own, own + "%2F", "/v1/nothing", "*"} {
			if a := sendTarget(t, g, "stranger", target); a.StatusCode != http.StatusUnauthorized {
				t.Errorf("a stranger's GET %q was answered %d, want 401", target, a.StatusCode)
			}
		}
	})
	t.Cleanup(func() {
		for _, r := range g.Upstream.Requests() {
			t.Errorf("upstream was asked %s %s", r.Method, r.Target)
		}
	})
}

func TestQueryConfusion(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for name, query := range map[string]string{
		"a repeated parameter":            "reveal=false&reveal=true",
		"a repeated parameter, once bare": "reveal&reveal=true",
		"a parameter encoded and plain":   "reveal=false&%72eveal=true",
		"a semicolon":                     "reveal=false;reveal=true",
		"an encoded name":                 "rev%65al=true",
		"a broken escape":                 "reveal=%zz",
		"an escape cut short":             "reveal=true%2",
		"NUL":                             "x=%00",
		"a byte outside ASCII":            "x=\xff",
		"a backslash":                     "x=\\",
		"a fragment":                      "reveal=false#&reveal=true",
		"more parameters than any":        strings.Repeat("a=b&", 500) + "c=d",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := sendTarget(t, g, token, own+"/api-keys?"+query); a.StatusCode != http.StatusBadRequest {
				t.Errorf("?%.80s was answered %d %.200s, want 400", query, a.StatusCode, a.Text)
			}
		})
	}
	t.Cleanup(func() {
		for _, r := range g.Upstream.Requests() {
			t.Errorf("upstream was asked %s %s", r.Method, r.Target)
		}
	})
}

func TestWhatWasJudgedIsByteForByteWhatUpstreamGets(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	targets := []string{
		own,
		own + "?x=y",
		own + "/functions?a=1&b=&c&d=%20%2B+",
		own + "/functions?b=1&a=2",
		own + "/functions?x=/../" + sandbox.FieldApp,
		own + "/functions?x=http://evil.example/?y",
		own + "/functions?x=%2F%2e%2e%2f",
		own + "/functions?x=%0d%0aGET%20" + foreign,
		own + "/branches/with%20space",
		own + "/branches/a+b:c@d,e=f!g",
		own + "/analytics/endpoints/logs.all?sql=select%20*%20from%20t%20where%20a%3D'b%26c'%3B",
	}
	for _, target := range targets {
		if a := sendTarget(t, g, token, target); a.StatusCode == http.StatusBadRequest && strings.Contains(a.Text, "bad_request") || a.StatusCode == http.StatusForbidden {
			t.Errorf("GET %s was refused: %d %s", target, a.StatusCode, a.Text)
		}
	}
	var got []string
	for _, r := range g.Upstream.Requests() {
		got = append(got, r.Target)
	}
	if !slices.Equal(got, targets) {
		t.Errorf("upstream got\n%q\nwhere policy judged\n%q", got, targets)
	}
}
