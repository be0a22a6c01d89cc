package proxy_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/secret"
)

// rotating is an upstream that knows the token "new" only, and a credential whose file holds "old" until upstream is asked.
func rotating(t *testing.T) (options, *[]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pat")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("old")
	var asked []string
	upstream := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		asked = append(asked, token+" "+string(body))
		write("new")
		if token != "new" {
			reply(401, `{"message":"Unauthorized"}`)(w, r)
			return
		}
		reply(200, `{"first":"old","second":"new"}`, "X-Echo: old", "X-Fine: 1")(w, r)
	}
	return options{upstream: http.HandlerFunc(upstream), credentials: []credential.Config{{Name: "shared", Owner: "bot", Token: secret.Source{File: path}}}}, &asked
}

func TestACallThatMeetsARotationIsSentAgain(t *testing.T) {
	for how, call := range map[string]struct{ method, path, body string }{
		"streamed": {"GET", source, ""}, "cached": {"GET", functions, ""}, "a write": {"POST", secrets, `[{"name":"A"}]`},
	} {
		t.Run(how, func(t *testing.T) {
			o, asked := rotating(t)
			inBubble(t, o, func(t *testing.T, l *line) {
				a := l.call(t.Context(), call.method, call.path, call.body)
				if a.Code != http.StatusOK || strings.Join(*asked, ",") != "old "+call.body+",new "+call.body {
					t.Errorf("answer %d %s, upstream was asked %q", a.Code, a.Body, *asked)
				}
				if got := l.metric(t, "gateway_credential_healthy", "shared"); got != 1 {
					t.Errorf("gateway_credential_healthy = %v", got)
				}
			})
		})
	}
}

func TestCredentialEscapeByAnEchoOfTheOldToken(t *testing.T) {
	for how, path := range map[string]string{"streamed": source, "cached": functions} {
		t.Run(how, func(t *testing.T) {
			o, _ := rotating(t)
			inBubble(t, o, func(t *testing.T, l *line) {
				a := l.call(t.Context(), "GET", path, "")
				if got := a.Body.String(); got != `{"first":"***","second":"***"}` || a.Header().Get("X-Echo") != "" || a.Header().Get("X-Fine") != "1" {
					t.Errorf("after a rotation the client got %s, %v", got, a.Header())
				}
			})
		})
	}
}

func TestACallWhoseBodyIsGoneIsToldToComeAgain(t *testing.T) {
	o, asked := rotating(t)
	inBubble(t, o, func(t *testing.T, l *line) {
		a := l.call(t.Context(), "POST", secrets, long)
		if a.Code != http.StatusBadGateway || a.problem(t) != problem.UpstreamCredential || !strings.Contains(a.Body.String(), "Send the request again") || len(*asked) != 1 {
			t.Errorf("answer %d %s, upstream was asked %d times", a.Code, a.Body, len(*asked))
		}
		if a = l.call(t.Context(), "POST", secrets, long); a.Code != http.StatusOK {
			t.Errorf("sent again: %d %s", a.Code, a.Body)
		}
	})
}

const lacking = `{"message":"Forbidden","missing_permissions":["infra_disk_config_read","not a name","sbp_5ec4e700000000000000000000000000000000aa"]}`

func TestA403ForWhatTheCredentialLacksIsExplained(t *testing.T) {
	for how, call := range map[string]struct{ method, path string }{"streamed": {"GET", source}, "cached": {"GET", functions}, "a write": {"POST", secrets}} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, options{upstream: reply(403, lacking)}, func(t *testing.T, l *line) {
				a := l.call(t.Context(), call.method, call.path, "[]")
				text := a.Body.String()
				if a.Code != http.StatusForbidden || a.problem(t) != problem.CredentialLacks || !strings.Contains(text, `"missing":["infra_disk_config_read"]`) ||
					!strings.Contains(text, `credential \"shared\" lacks infra_disk_config_read`) || strings.Contains(text, "sbp_") {
					t.Errorf("answer %d %s", a.Code, text)
				}
				if got := l.metric(t, "gateway_credential_healthy", "shared"); got != 1 {
					t.Error("a credential that lacks a permission counts as refused")
				}
				if r := l.onlyOutcome(t); r.Upstream.Status != 403 || r.Outcome != string(problem.CredentialLacks) {
					t.Errorf("recorded: upstream %+v, outcome %s", r.Upstream, r.Outcome)
				}
			})
		})
	}
}

func TestEveryOther403PassesAsItIs(t *testing.T) {
	for _, body := range []string{`{"message":"Forbidden resource"}`, `{"missing_permissions":[]}`, `{"missing_permissions":"x"}`, `plain`, ``, strings.Repeat("x", 100<<10)} {
		inBubble(t, options{upstream: reply(403, body)}, func(t *testing.T, l *line) {
			if a := l.call(t.Context(), "GET", source, ""); a.Code != http.StatusForbidden || a.Body.String() != body {
				t.Errorf("%.40q became %d %.80q", body, a.Code, a.Body)
			}
		})
	}
}
