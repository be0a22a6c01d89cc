package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/problem"
	"corp.example/gateway/internal/sandbox"
)

const onlyPayments = `teams: [{name: a, members: [{email: a@example.com}], allow: [{projects: [` + sandbox.Payments + `], scopes: ["*"], permissions: ["*"]}]}]`

func TestEveryRequestLeavesOneRecordThatSaysHowItEnded(t *testing.T) {
	upstream := replies(reply(200, `{"a":1}`, "X-Request-Id: theirs"))
	for name, test := range map[string]struct {
		upstream http.Handler
		method   string
		target   string
		body     string
		headers  []string
		want     audit.Record // of it, what follows is compared
		upID     string
	}{
		"a streamed read": {upstream, "GET", source + "?a=b", "", nil, audit.Record{Outcome: "ok", Status: 200, Bytes: 7, Cache: "bypass",
			Operation: "v1-get-a-function-body", Path: source, Team: "a", Credential: "shared", Upstream: audit.Upstream{Status: 200, RequestID: "theirs"}}, ""},
		"a cached read": {upstream, "GET", functions, "", nil, audit.Record{Outcome: "ok", Status: 200, Bytes: 7, Cache: "miss",
			Operation: "v1-list-all-functions", Path: functions, Team: "a", Credential: "shared", Upstream: audit.Upstream{Status: 200, RequestID: "theirs"}}, ""},
		"a write": {reply(201, ""), "POST", secrets, "[]", nil, audit.Record{Outcome: "ok", Status: 201, Cache: "bypass",
			Operation: "v1-bulk-create-secrets", Path: secrets, Team: "a", Credential: "shared", Upstream: audit.Upstream{Status: 201}, BodySHA256: hexSum("[]")}, ""},
		"upstream's own refusal": {reply(404, `{}`), "GET", functions, "", nil, audit.Record{Outcome: "upstream_error", Status: 404, Bytes: 2, Cache: "miss",
			Operation: "v1-list-all-functions", Path: functions, Team: "a", Credential: "shared", Upstream: audit.Upstream{Status: 404}}, ""},
		"denied": {upstream, "GET", strings.Replace(functions, sandbox.Payments, sandbox.FieldApp, 1), "", nil, audit.Record{Outcome: "denied", Status: 403, Team: "a",
			Operation: "v1-list-all-functions", Path: strings.Replace(functions, sandbox.Payments, sandbox.FieldApp, 1)}, ""},
		"never forwarded": {upstream, "POST", "/v1/oauth/token", "x=y", nil, audit.Record{Outcome: "denied", Status: 403, Operation: "v1-exchange-oauth-token", Path: "/v1/oauth/token"}, ""},
		"the profile":     {upstream, "GET", "/v1/profile", "", nil, audit.Record{Outcome: "ok", Status: 200, Team: "a", Operation: "v1-get-profile", Path: "/v1/profile"}, ""},
		"an unknown path": {upstream, "GET", "/v1/%22no\"where", "", nil, audit.Record{Outcome: "bad_request", Status: 400, Path: "/v1/%22no\"where"}, ""},
		"a stranger":      {upstream, "GET", functions, "", []string{"Authorization: Bearer x"}, audit.Record{Outcome: "unauthenticated", Status: 401, Path: functions}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{upstream: test.upstream, policy: onlyPayments}, func(t *testing.T, l *line) {
				a := l.call(t.Context(), test.method, test.target, test.body, test.headers...)
				got, want := l.onlyOutcome(t), test.want
				if want.Bytes == 0 {
					want.Bytes = int64(a.Body.Len())
				}
				if a.Code != want.Status || got.Status != want.Status || got.Outcome != want.Outcome || got.Bytes != want.Bytes || got.Cache != want.Cache ||
					got.Operation != want.Operation || got.Path != want.Path || got.Team != want.Team || got.Credential != want.Credential ||
					got.Upstream != want.Upstream || got.BodySHA256 != want.BodySHA256 || got.Method != test.method || got.RequestID != "request-1" {
					t.Errorf("answer %d, recorded\n%+v, want\n%+v", a.Code, got, want)
				}
				if known := want.Status != 401; known != (got.Caller.Email == "a@example.com") {
					t.Errorf("recorded caller %+v", got.Caller)
				}
				if judged := want.Operation != ""; judged != (got.Decision.Rule != "" || got.Decision.Reason != "") || got.Decision.Allow != (got.Credential != "" || name == "the profile") {
					t.Errorf("recorded decision %+v", got.Decision)
				}
			})
		})
	}
}

func TestAPanicIsRecordedAndPasses(t *testing.T) {
	l := newLine(t, options{upstream: reply(200, `{}`)})
	passed := func(w http.ResponseWriter, token string) (value any) {
		defer func() { value = recover() }()
		request := httptest.NewRequest("GET", source, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		l.ServeHTTP(w, request)
		return nil
	}
	if passed(httptest.NewRecorder(), "panic") == nil || passed(panicking{httptest.NewRecorder()}, "caller") == nil {
		t.Error("a panic does not reach the middleware, which answers it")
	}
	before, during := l.outcomes(t)[0], l.outcomes(t)[1]
	if before.Outcome != string(problem.Internal) || before.Status != 500 {
		t.Errorf("before the answer: recorded %s %d, want internal 500", before.Outcome, before.Status)
	}
	if during.Outcome != string(problem.Internal) || during.Status != 200 {
		t.Errorf("within the answer: recorded %s %d, want internal, and the 200 that the client saw", during.Outcome, during.Status)
	}
}

// panicking panics where the body is written.
type panicking struct{ *httptest.ResponseRecorder }

func (panicking) Write([]byte) (int, error) { panic("a fault of the gateway's own") }

// deaf is a client that takes nothing of its answer's body.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("write: broken pipe") }

func TestAClientThatTakesNoMoreIsNotUpstreamsFault(t *testing.T) {
	for how, path := range map[string]string{"streamed": source, "cached": functions} {
		t.Run(how, func(t *testing.T) {
			l := newLine(t, options{upstream: reply(200, `{}`)})
			request := httptest.NewRequest("GET", path, nil)
			request.Header.Set("Authorization", "Bearer caller")
			func() {
				defer func() {
					if value := recover(); value != http.ErrAbortHandler {
						t.Errorf("ended with %v, want the connection cut", value)
					}
				}()
				l.ServeHTTP(deaf{httptest.NewRecorder()}, request)
			}()
			if r := l.onlyOutcome(t); r.Outcome != string(problem.ClientGone) || r.Status != 200 {
				t.Errorf("recorded %s %d, want client_gone and the 200 that was begun", r.Outcome, r.Status)
			}
		})
	}
}

func TestAClientThatLeavesWhileUpstreamWorks(t *testing.T) {
	var said bytes.Buffer
	inBubble(t, options{upstream: http.HandlerFunc(hang), said: &said}, func(t *testing.T, l *line) {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan answer, 1)
		go func() { done <- l.call(ctx, "POST", secrets, "[]") }()
		synctest.Wait()
		leave()
		if a := <-done; !a.cut {
			t.Errorf("answered %d", a.Code)
		}
		if r := l.onlyOutcome(t); r.Outcome != string(problem.ClientGone) || r.Status != 499 {
			t.Errorf("recorded %s %d", r.Outcome, r.Status)
		}
		if said.Len() > 0 {
			t.Errorf("the process log has a line for a client that left: %s", &said)
		}
	})
}

func TestABodyThatBreaksOffIsTheClientsFault(t *testing.T) {
	for name, test := range map[string]struct {
		fault error
		want  int
	}{
		"cut":       {io.ErrUnexpectedEOF, http.StatusBadRequest},
		"too large": {&http.MaxBytesError{Limit: 1}, http.StatusRequestEntityTooLarge},
	} {
		for how, sent := range map[string]int{"while read ahead": 10, "while streaming": len(long)} {
			t.Run(name+" "+how, func(t *testing.T) {
				inBubble(t, options{upstream: reply(201, "")}, func(t *testing.T, l *line) {
					request := httptest.NewRequest("POST", secrets, io.MultiReader(strings.NewReader(long[:sent]), failing{test.fault}))
					if a := l.do(request); a.Code != test.want {
						t.Errorf("status %d %s, want %d", a.Code, a.Body, test.want)
					}
				})
			})
		}
	}
}

// failing is a reader that fails.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestAWriteThatWasNotSentLeavesTheCacheAlone(t *testing.T) {
	spent := reply(200, `[]`, "X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30")
	for name, test := range map[string]struct {
		write   http.HandlerFunc
		headers []string
		status  int
		hit     bool
	}{
		"no turn":          {reply(201, ""), []string{"Prefer: wait=0"}, http.StatusTooManyRequests, true},
		"refused":          {reply(400, "{}"), nil, http.StatusBadRequest, true},
		"done":             {reply(201, ""), nil, http.StatusCreated, false},
		"no answer":        {reset, nil, http.StatusBadGateway, false},
		"upstream's fault": {reply(500, "{}"), nil, http.StatusInternalServerError, false},
	} {
		t.Run(name, func(t *testing.T) {
			read := reply(200, `[]`)
			if test.headers != nil {
				read = spent
			}
			upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" {
					read(w, r)
				} else {
					test.write(w, r)
				}
			})
			inBubble(t, options{upstream: upstream}, func(t *testing.T, l *line) {
				l.call(t.Context(), "GET", functions, "")
				if a := l.call(t.Context(), "POST", secrets, "[]", test.headers...); a.Code != test.status {
					t.Fatalf("status %d %s, want %d", a.Code, a.Body, test.status)
				}
				a := l.call(t.Context(), "GET", functions, "", "Cache-Control: only-if-cached")
				if hit := a.Code == http.StatusOK; hit != test.hit {
					t.Errorf("the stored answer may be used: %v, want %v", hit, test.hit)
				}
			})
		})
	}
}

func TestEveryAnswerSaysHowItCameAbout(t *testing.T) {
	for name, c := range map[string]struct {
		method, target, token string
		want                  string
	}{
		"a stranger's":   {"GET", functions, "nobody", "gateway; detail=unauthenticated"},
		"denied":         {"GET", strings.Replace(functions, sandbox.Payments, sandbox.FieldApp, 1), "caller", "gateway; detail=denied"},
		"unknown":        {"GET", "/v1/nothing", "caller", "gateway; detail=unknown_operation"},
		"upstream fails": {"GET", functions, "caller", "gateway; detail=upstream_failed"},
		"the caller's":   {"GET", "/v1/profile", "caller", "gateway; detail=local"},
	} {
		l := newLine(t, options{
			policy:   `teams: [{name: a, members: [{email: a@example.com}], allow: [{projects: [` + sandbox.Payments + `], account: true, scopes: ["*"], permissions: ["*"]}]}]`,
			upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		})
		a := l.call(t.Context(), c.method, c.target, "", "Authorization: Bearer "+c.token)
		if got := a.Header()["Cache-Status"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %d, Cache-Status %q, want %q", name, a.Code, got, c.want)
		}
		if got := a.Header().Get("Server-Timing"); !strings.HasPrefix(got, "queue;dur=") {
			t.Errorf("%s: %d, Server-Timing %q", name, a.Code, got)
		}
	}
}
