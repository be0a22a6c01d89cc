package proxy_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/internal/secret"
)

const (
	functions = "/v1/projects/" + sandbox.Payments + "/functions"        // a read that is cached
	source    = "/v1/projects/" + sandbox.Payments + "/functions/x/body" // a read that streams
	secrets   = "/v1/projects/" + sandbox.Payments + "/secrets"          // POST: a write
)

// inBubble runs a test in a synctest bubble, where waiting takes no time.
func inBubble(t *testing.T, o options, test func(t *testing.T, l *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newLine(t, o)) })
}

// long is a body over what is kept to be sent again.
var long = `{"a":"` + strings.Repeat("x", 70<<10) + `"}`

func TestA429GoesBackToTheQueueWithItsBody(t *testing.T) {
	var bodies []string
	record := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			next(w, r)
		}
	}
	inBubble(t, options{upstream: replies(record(reply(429, `{}`, "Retry-After: 7")), record(reply(201, `{}`)))}, func(t *testing.T, l *line) {
		began := time.Now()
		a := l.call(t.Context(), "POST", secrets, `[{"name":"A","value":"b"}]`)
		waited := time.Since(began)
		if a.Code != http.StatusCreated || len(bodies) != 2 || bodies[0] != `[{"name":"A","value":"b"}]` || bodies[1] != bodies[0] {
			t.Errorf("status %d after upstream got %q", a.Code, bodies)
		}
		if waited < 7*time.Second || waited > 10*time.Second {
			t.Errorf("it waited %v, upstream asked for 7 s", waited)
		}
		if got := l.metric(t, "gateway_upstream_rate_limited_total"); got != 1 {
			t.Errorf("gateway_upstream_rate_limited_total = %v, want 1", got)
		}
		if r := l.onlyOutcome(t); r.Queue < 7*time.Second || r.Upstream.Status != 201 || r.BodySHA256 != hexSum(`[{"name":"A","value":"b"}]`) {
			t.Errorf("recorded: queue %v, upstream %+v, body %s", r.Queue, r.Upstream, r.BodySHA256)
		}
	})
}

func TestA429OfACachedReadGoesBackToTheQueue(t *testing.T) {
	inBubble(t, options{upstream: replies(reply(429, `{}`, "Retry-After: 7"), reply(200, `[]`))}, func(t *testing.T, l *line) {
		if a := l.call(t.Context(), "GET", functions, ""); a.Code != http.StatusOK || a.Body.String() != "[]" {
			t.Errorf("status %d: %s", a.Code, a.Body)
		}
	})
}

func TestA429ThatLastsTooLongIsAnHonest429(t *testing.T) {
	inBubble(t, options{upstream: reply(429, `{}`, "Retry-After: 300")}, func(t *testing.T, l *line) {
		a := l.call(t.Context(), "POST", secrets, `[]`)
		if a.Code != http.StatusTooManyRequests || a.problem(t) != problem.QueueTimeout || a.Header().Get("Retry-After") != "300" {
			t.Errorf("status %d, Retry-After %q: %s", a.Code, a.Header().Get("Retry-After"), a.Body)
		}
		if r := l.onlyOutcome(t); r.Upstream.Status != 429 || r.Outcome != string(problem.QueueTimeout) {
			t.Errorf("recorded: upstream %+v, outcome %s", r.Upstream, r.Outcome)
		}
	})
}

func TestThe429OfAStreamedBodyGoesToTheClientWithRetryAfter(t *testing.T) {
	for name, test := range map[string]struct{ headers []string }{
		"as upstream says it":                {[]string{"Retry-After: 9"}},
		"from the window, where it does not": {[]string{"X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{upstream: reply(429, `{"message":"slow down"}`, test.headers...)}, func(t *testing.T, l *line) {
				a := l.call(t.Context(), "POST", secrets, long)
				// The window's end is known to the second, and it is better to come back a little late.
				if after := a.Header().Get("Retry-After"); a.Code != http.StatusTooManyRequests || after != "9" && after != "10" {
					t.Errorf("status %d, Retry-After %q", a.Code, after)
				}
				if got := l.metric(t, "gateway_upstream_requests_total"); got != 1 {
					t.Errorf("upstream was asked %v times, want once", got)
				}
			})
		})
	}
}

func TestAClientThatLeavesTheQueueGivesItsPlaceBack(t *testing.T) {
	for name, path := range map[string]string{"streamed": source, "cached": functions} {
		t.Run(name, func(t *testing.T) {
			spent := reply(200, `{}`, "X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30")
			inBubble(t, options{upstream: spent}, func(t *testing.T, l *line) {
				l.call(t.Context(), "GET", source, "")
				ctx, leave := context.WithCancel(t.Context())
				done := make(chan answer, 1)
				go func() { done <- l.call(ctx, "GET", path, "") }()
				synctest.Wait()
				if got := l.metric(t, "gateway_queue_depth"); got != 1 {
					t.Fatalf("%v wait in the queue, want 1", got)
				}
				time.Sleep(5 * time.Second)
				leave()
				if a := <-done; !a.cut {
					t.Errorf("a client that left is answered %d: one that only closed its half would take it for its answer", a.Code)
				}
				synctest.Wait()
				if got := l.metric(t, "gateway_queue_depth"); got != 0 {
					t.Errorf("%v wait in the queue after the client left", got)
				}
				if got := l.metric(t, "gateway_upstream_requests_total"); got != 1 {
					t.Errorf("upstream was asked %v times, want once", got)
				}
				r := l.outcomes(t)[1]
				if r.Outcome != string(problem.ClientGone) || r.Status != 499 || r.Upstream.Status != 0 {
					t.Errorf("recorded: %s %d, upstream %+v", r.Outcome, r.Status, r.Upstream)
				}
				if name == "streamed" && r.Queue != 5*time.Second {
					t.Errorf("recorded: %v in the queue, want 5s", r.Queue)
				}
			})
		})
	}
}

// reset ends the connection instead of answering.
func reset(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		connection.Close()
	}
}

// hang answers nothing until the request is given up.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestAnUpstreamThatDoesNotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		upstream http.HandlerFunc
		status   int
		code     problem.Code
		took     time.Duration
	}{
		"reset":    {reset, http.StatusBadGateway, problem.UpstreamFailed, 0},
		"time-out": {hang, http.StatusGatewayTimeout, problem.UpstreamTimeout, upstreamWait},
	} {
		for how, path := range map[string]string{"a write": secrets, "a streamed read": source, "a cached read": functions} {
			t.Run(name+" of "+how, func(t *testing.T) {
				inBubble(t, options{upstream: test.upstream}, func(t *testing.T, l *line) {
					method, body := "GET", ""
					if path == secrets {
						method, body = "POST", "[]"
					}
					began := time.Now()
					a := l.call(t.Context(), method, path, body)
					if a.Code != test.status || a.problem(t) != test.code || time.Since(began) != test.took {
						t.Errorf("answer %d %s after %v, want %d %s after %v", a.Code, a.Body, time.Since(began), test.status, test.code, test.took)
					}
					next := "changes nothing: try again"
					if method == "POST" {
						next = "look before you repeat it"
					}
					if !strings.Contains(a.Body.String(), next) {
						t.Errorf("answer %s, want %q in it", a.Body, next)
					}
					if limit, remaining := a.Header().Get("X-Ratelimit-Limit"), a.Header().Get("X-Ratelimit-Remaining"); limit != "120" || remaining == "120" {
						t.Errorf("%s of %s are left: the slot must count as spent", remaining, limit)
					}
					if got := l.metric(t, "gateway_upstream_requests_total", "0"); got != 1 {
						t.Errorf("requests without an answer: %v, want 1", got)
					}
					if r := l.onlyOutcome(t); r.Upstream.Status != 0 || r.Upstream.Duration != test.took || r.Outcome != string(test.code) {
						t.Errorf("recorded: upstream %+v, outcome %s", r.Upstream, r.Outcome)
					}
				})
			})
		}
	}
}

func TestUpstreamsRefusalOfOurCredentialIsNoneOfTheClients(t *testing.T) {
	for how, path := range map[string]string{"streamed": source, "cached": functions} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, options{upstream: replies(reply(401, `{"message":"Unauthorized"}`), reply(200, `{}`))}, func(t *testing.T, l *line) {
				healthy := func() float64 { return l.metric(t, "gateway_credential_healthy", "shared") }
				if healthy() != 1 {
					t.Error("the credential begins as refused")
				}
				for range 2 { // upstream's refusal, then the gateway's own while the credential rests
					if a := l.call(t.Context(), "GET", path, ""); a.Code != http.StatusBadGateway || a.problem(t) != problem.UpstreamCredential || a.Header().Get("Retry-After") != "30" {
						t.Errorf("answer %d %s, %v, want 502 upstream_credential, and to come back after its rest", a.Code, a.Body, a.Header())
					}
					if healthy() != 0 {
						t.Error("a refused credential counts as healthy")
					}
				}
				if got := l.metric(t, "gateway_upstream_requests_total"); got != 1 {
					t.Errorf("upstream was asked %v times with a refused credential, want once", got)
				}
				time.Sleep(time.Minute)
				if a := l.call(t.Context(), "GET", path, ""); a.Code != http.StatusOK || healthy() != 1 {
					t.Errorf("after its rest: answer %d, healthy %v", a.Code, healthy())
				}
				if r := l.outcomes(t)[0]; r.Upstream.Status != 401 || r.Status != 502 || r.Credential != "shared" {
					t.Errorf("recorded: upstream %+v, status %d, credential %q", r.Upstream, r.Status, r.Credential)
				}
			})
		})
	}
}

func TestAnEncodedAnswerIsNotPassedOn(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "deflate, gzip"} {
		inBubble(t, options{upstream: reply(200, "packed", "Content-Encoding: "+coding)}, func(t *testing.T, l *line) {
			if a := l.call(t.Context(), "GET", source, ""); a.Code != http.StatusBadGateway || strings.Contains(a.Body.String(), "packed") {
				t.Errorf("%s: answer %d %s", coding, a.Code, a.Body)
			}
		})
	}
}

func TestACredentialOfOneOrganizationServesItsProjects(t *testing.T) {
	l := newLine(t, options{credentials: []credential.Config{{Name: "acme", Owner: "bot", Token: secret.Source{Env: "PAT"}, Organizations: []string{sandbox.Acme}}}})
	if a := l.call(t.Context(), "GET", functions, ""); a.Code != http.StatusOK {
		t.Errorf("a project of its organization: %d %s", a.Code, a.Body)
	}
	outside := strings.Replace(functions, sandbox.Payments, sandbox.FieldApp, 1)
	if a := l.call(t.Context(), "GET", outside, ""); a.Code != http.StatusBadGateway || a.problem(t) != problem.NoCredential {
		t.Errorf("a project of another: %d %s", a.Code, a.Body)
	}
}

func TestAReplacedCredentialCountsAsHealthyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pat")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("revoked")
	config := []credential.Config{{Name: "shared", Owner: "bot", Token: secret.Source{File: path}}}
	inBubble(t, options{upstream: reply(401, `{}`), credentials: config}, func(t *testing.T, l *line) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go l.credentials.Watch(ctx, slog.New(slog.DiscardHandler))
		l.call(t.Context(), "GET", source, "")
		if got := l.metric(t, "gateway_credential_healthy", "shared"); got != 0 {
			t.Errorf("refused, yet gateway_credential_healthy = %v", got)
		}
		write("renewed")
		time.Sleep(10 * time.Second)
		if got := l.metric(t, "gateway_credential_healthy", "shared"); got != 1 {
			t.Errorf("renewed, yet gateway_credential_healthy = %v", got)
		}
	})
}

// Credentials may see different things at the same address.
func TestWhatOneCredentialWasToldIsNotServedForAnother(t *testing.T) {
	config := []credential.Config{
		{Name: "wide", Owner: "bot", Token: secret.Source{Env: "PAT"}},
		{Name: "narrow", Owner: "bot", Token: secret.Source{Env: "PAT"}, Projects: []string{sandbox.Payments}},
	}
	upstream := replies(reply(200, `[{"slug":"seen-by-narrow"}]`), reply(401, `{}`), reply(200, `[{"slug":"seen-by-wide"}]`))
	inBubble(t, options{upstream: upstream, credentials: config}, func(t *testing.T, l *line) {
		for range 2 {
			if a := l.call(t.Context(), "GET", functions, ""); !strings.Contains(a.Body.String(), "seen-by-narrow") {
				t.Fatalf("answered %d %s", a.Code, a.Body)
			}
		}
		l.call(t.Context(), "GET", source, "") // upstream refuses the narrow one from here on
		if a := l.call(t.Context(), "GET", functions, ""); !strings.Contains(a.Body.String(), "seen-by-wide") {
			t.Errorf("answered %d %s, %s", a.Code, a.Body, a.Header()["Cache-Status"])
		}
	})
}

// Behind a 101 a client takes nothing for an answer any more, and a status that is none has no place in one.
func TestAStatusThatEndsNoRequestIsNotPassedOn(t *testing.T) {
	for name, answer := range map[string]string{
		"101":             "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"101, a switch":   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil",
		"less than 100":   "HTTP/1.1 099 Odd\r\nContent-Length: 4\r\n\r\nevil",
		"no number":       "HTTP/1.1 000 Odd\r\nContent-Length: 4\r\n\r\nevil",
		"a signed number": "HTTP/1.1 +42 Odd\r\nContent-Length: 4\r\n\r\nevil",
	} {
		for _, call := range [][2]string{{"GET", functions}, {"GET", source}, {"POST", secrets}} {
			t.Run(name+" to "+call[0]+" "+call[1], func(t *testing.T) {
				l := newLine(t, options{upstream: verbatim(answer)})
				a := l.call(t.Context(), call[0], call[1], "")
				if a.Code != http.StatusBadGateway || a.problem(t) != problem.UpstreamFailed || strings.Contains(a.Body.String(), "evil") {
					t.Errorf("answer %d %s", a.Code, a.Body)
				}
				if toldOfAnEffect := strings.Contains(a.Body.String(), "look before you repeat"); toldOfAnEffect != (call[0] == "POST") {
					t.Errorf("told %s", a.Body)
				}
				if r := l.onlyOutcome(t); r.Status != http.StatusBadGateway || r.Outcome != string(problem.UpstreamFailed) {
					t.Errorf("recorded: %d %s", r.Status, r.Outcome)
				}
			})
		}
	}
}

// verbatim is an upstream that sends a text for an answer and ends the connection.
func verbatim(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, text)
		conn.Close()
	}
}

func TestUpstreamsHeaderIsBounded(t *testing.T) {
	l := newLine(t, options{upstream: reply(200, `[]`, "X-Large: "+strings.Repeat("x", 100<<10))})
	for _, path := range []string{functions, source} {
		if a := l.call(t.Context(), "GET", path, ""); a.Code != http.StatusBadGateway || a.problem(t) != problem.UpstreamFailed {
			t.Errorf("%s: answer %d with a header of %d bytes", path, a.Code, len(a.Header().Get("X-Large")))
		}
	}
}

// Each page is one call of the quota that all share.
func TestAListOfVeryManyPagesIsNotReadWhole(t *testing.T) {
	asked := 0
	l := newLine(t, options{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked > 5 {
			w.WriteHeader(http.StatusInternalServerError) // without the bound it would go on
			return
		}
		reply(200, `{"projects":[],"pagination":{"count":1000000,"limit":100,"offset":0}}`)(w, r)
	})})
	if a := l.call(t.Context(), "GET", "/v1/organizations/"+sandbox.Acme+"/projects", ""); a.Code != http.StatusBadGateway || !strings.Contains(a.Body.String(), "longer than the 3000") || asked != 1 {
		t.Errorf("answer %d %s after %d questions, want a refusal after one", a.Code, a.Body, asked)
	}
}
