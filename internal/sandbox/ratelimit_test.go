package sandbox

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	getProject = "GET /v1/projects/{ref}"
	getHealth  = "GET /v1/projects/{ref}/health"
	getContext = "GET /v1/projects/{ref}/database/context"
	postOrg    = "POST /v1/organizations"
)

// counter is a limiter in front of an operation that always succeeds.
type counter struct {
	*Limits
	t *testing.T
}

func newCounter(t *testing.T, c LimitConfig) counter {
	t.Helper()
	l, err := newLimits(c)
	if err != nil {
		t.Fatal(err)
	}
	return counter{l, t}
}

// ask makes one request and returns its answer.
func (c counter) ask(owner, scope, operation string) *httptest.ResponseRecorder {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) })
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner))
	w := httptest.NewRecorder()
	c.wrap(ok, func(*http.Request) (string, string) { return operation, scope }).ServeHTTP(w, r)
	return w
}

// allowed is how many of n requests pass.
func (c counter) allowed(n int, owner, scope, operation string) (passed int) {
	for range n {
		if c.ask(owner, scope, operation).Code == http.StatusOK {
			passed++
		}
	}
	return passed
}

// expect makes requests and compares how many pass.
func (c counter) expect(what string, want, n int, owner, scope, operation string) {
	c.t.Helper()
	if got := c.allowed(n, owner, scope, operation); got != want {
		c.t.Errorf("%s: %d of %d pass, want %d", what, got, n, want)
	}
}

func TestClassOf(t *testing.T) {
	for operation, want := range map[string]string{
		"GET /v1/projects/{ref}":                                              "default 120/1m0s",
		"GET /v1/organizations/{slug}":                                        "default 120/1m0s",
		"GET /v1/projects/{ref}/analytics/endpoints/logs.all":                 "logs 30/1m0s",
		"GET /v1/projects/{ref}/analytics/endpoints/logs":                     "logs 30/1m0s",
		"GET /v1/projects/{ref}/analytics/endpoints/usage.api-counts":         "logs 30/1m0s",
		"GET /v1/projects/{ref}/analytics/endpoints/usage.api-requests-count": "logs 30/1m0s",
		"GET /v1/projects/{ref}/analytics/endpoints/functions.combined-stats": "default 120/1m0s",
		"GET /v1/projects/{ref}/database/context":                             "context 10/1m0s 1/1s",
		"GET /v1/projects/{ref}/vanity-subdomain":                             "vanity 10/1m0s",
		"DELETE /v1/projects/{ref}/vanity-subdomain":                          "vanity 10/1m0s",
		"POST /v1/projects/{ref}/vanity-subdomain/activate":                   "vanity 10/1m0s",
		"POST /v1/projects/{ref}/vanity-subdomain/check-availability":         "vanity 10/1m0s",
		"GET /v1/projects/{ref}/custom-hostname":                              "default 120/1m0s",
		"POST /v1/projects/{ref}/custom-hostname/activate":                    "default 120/1m0s",
		"DELETE /v1/projects/{ref}/custom-hostname":                           "hostname 10/1m0s",
		"POST /v1/projects/{ref}/custom-hostname/initialize":                  "hostname 10/1m0s",
		"POST /v1/projects/{ref}/custom-hostname/reverify":                    "hostname 10/1m0s",
		"GET /v1/projects/{ref}/database/migrations":                          "migrations 120/3m0s",
		"PATCH /v1/projects/{ref}/database/migrations/{version}":              "migrations 120/3m0s",
		"GET /v1/projects/{ref}/config/vanity-subdomain":                      "default 120/1m0s", // as the reference misspells it
		"GET /v1/branches/{branch_id_or_ref}":                                 "default 120/1m0s",
	} {
		class := classOf(operation)
		got := class.name
		for _, l := range class.limits {
			got += " " + strconv.Itoa(l.n) + "/" + l.window.String()
		}
		if got != want {
			t.Errorf("%s = %s, want %s", operation, got, want)
		}
	}
}

func TestWindowStartsWithItsFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, LimitConfig{})
		time.Sleep(59 * time.Second) // a window by the clock would end in a second
		c.expect("a fresh window", 120, 121, "ada", "project:a", getProject)
		time.Sleep(60*time.Second - 1)
		c.expect("its last nanosecond", 0, 1, "ada", "project:a", getProject)
		time.Sleep(time.Nanosecond)
		c.expect("the next window", 120, 121, "ada", "project:a", getProject)
		if got := c.Refused(); got != 3 {
			t.Errorf("refused %d, want 3", got)
		}
	})
}

func TestWhatOneWindowCounts(t *testing.T) {
	c := newCounter(t, LimitConfig{})
	c.expect("project a", 120, 121, "ada", "project:a", getProject)
	c.expect("another operation on it", 0, 1, "ada", "project:a", getHealth)
	c.expect("another class on it", 10, 11, "ada", "project:a", "GET /v1/projects/{ref}/vanity-subdomain")
	c.expect("the same class by another operation", 0, 1, "ada", "project:a", "POST /v1/projects/{ref}/vanity-subdomain/activate")
	c.expect("another project", 120, 121, "ada", "project:b", getProject)
	c.expect("another owner", 120, 121, "bob", "project:a", getProject)
	c.expect("an organization", 120, 121, "ada", "organization:a", "GET /v1/organizations/{slug}")
	c.expect("the account", 120, 121, "ada", "account", "GET /v1/projects")
	c.expect("what is no operation", 200, 200, "ada", "project:a", "")
}

func TestPerEndpoint(t *testing.T) {
	c := newCounter(t, LimitConfig{Granularity: PerEndpoint})
	c.expect("one operation", 120, 121, "ada", "project:a", getProject)
	c.expect("another", 120, 121, "ada", "project:a", getHealth)
	c.expect("one of the vanity class", 10, 11, "ada", "project:a", "GET /v1/projects/{ref}/vanity-subdomain")
	c.expect("another of it", 10, 11, "ada", "project:a", "POST /v1/projects/{ref}/vanity-subdomain/activate")
}

func TestTwoLimitsOnOneOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, LimitConfig{})
		for i := range 10 {
			answer := c.ask("ada", "project:a", getContext)
			if left := answer.Header().Get("X-RateLimit-Remaining"); answer.Code != 200 || left != strconv.Itoa(9-i) {
				t.Errorf("request %d = %d with %s left, want 200 with %d", i+1, answer.Code, left, 9-i)
			}
			// The second in the same second is refused and spends nothing of the ten.
			if answer := c.ask("ada", "project:a", getContext); answer.Code != 429 || i < 9 && answer.Header().Get("Retry-After") != "1" {
				t.Errorf("its twin %d = %d, Retry-After %s, want 429 and 1", i+1, answer.Code, answer.Header().Get("Retry-After"))
			}
			time.Sleep(time.Second)
		}
		if answer := c.ask("ada", "project:a", getContext); answer.Code != 429 || answer.Header().Get("Retry-After") != "50" {
			t.Errorf("the eleventh = %d, Retry-After %s, want 429 and 50", answer.Code, answer.Header().Get("Retry-After"))
		}
	})
}

func TestHeaders(t *testing.T) {
	const fresh, started = 0, 1500 * time.Millisecond
	for _, tt := range []struct {
		name      string
		config    LimitConfig
		operation string
		spent     int // requests before, and how long ago the first
		since     time.Duration
		want      string // status limit/remaining/reset retry-after
	}{
		{"fresh window", LimitConfig{}, getProject, 0, fresh, "200 120/119/60 -"},
		{"later", LimitConfig{}, getProject, 1, started, "200 120/118/59 -"},
		{"milliseconds", LimitConfig{ResetUnit: Milliseconds}, getProject, 0, fresh, "200 120/119/60000 -"},
		{"milliseconds later", LimitConfig{ResetUnit: Milliseconds}, getProject, 1, started, "200 120/118/58500 -"},
		{"refused", LimitConfig{}, getProject, 120, started, "429 120/0/59 59"},
		{"refused in milliseconds", LimitConfig{ResetUnit: Milliseconds}, getProject, 120, started, "429 120/0/58500 59"},
		{"bare 429", LimitConfig{Bare429: true}, getProject, 120, started, "429 // 59"},
		{"before a bare 429", LimitConfig{Bare429: true}, getProject, 0, fresh, "200 120/119/60 -"},
		{"never", LimitConfig{Headers: HeadersNever}, getProject, 0, fresh, "200 // -"},
		{"never, refused", LimitConfig{Headers: HeadersNever}, getProject, 120, started, "429 // 59"},
		{"new organization", LimitConfig{}, postOrg, 0, fresh, "200 // -"},
		{"new organization, always", LimitConfig{Headers: HeadersAlways}, postOrg, 0, fresh, "200 120/119/60 -"},
		{"short window", LimitConfig{Window: time.Second}, getProject, 0, fresh, "200 120/119/1 -"},
		{"scaled class", LimitConfig{Window: time.Second}, "GET /v1/projects/{ref}/database/migrations", 0, fresh, "200 120/119/3 -"},
		{"off", LimitConfig{Off: true}, getProject, 200, fresh, "200 // -"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCounter(t, tt.config)
				c.allowed(tt.spent, "ada", "x", tt.operation)
				time.Sleep(tt.since)
				answer := c.ask("ada", "x", tt.operation)
				h := answer.Header()
				got := strconv.Itoa(answer.Code) + " " + h.Get("X-RateLimit-Limit") + "/" + h.Get("X-RateLimit-Remaining") + "/" + h.Get("X-RateLimit-Reset")
				if retry := h.Get("Retry-After"); retry != "" {
					got += " " + retry
				} else {
					got += " -"
				}
				if got != tt.want {
					t.Errorf("answered %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestOvershootBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, LimitConfig{BlockOnOvershoot: true})
		c.expect("the window", 120, 120, "ada", "project:a", getProject)
		time.Sleep(50 * time.Second)
		if got := c.ask("ada", "project:a", getProject).Header().Get("Retry-After"); got != "60" {
			t.Errorf("the overshoot is told to wait %s, want a whole window", got)
		}
		time.Sleep(40 * time.Second)
		c.expect("a probe while blocked, after the first window's end", 0, 1, "ada", "project:a", getProject)
		time.Sleep(59 * time.Second)
		if b := c.Buckets()[0]; b.Remaining != 0 || b.Reset != time.Second || b.Refused != 2 {
			t.Errorf("bucket %+v, want blocked for one more second", b)
		}
		time.Sleep(time.Second)
		c.expect("after a whole window of silence", 120, 121, "ada", "project:a", getProject)
	})
}

func TestOutsiderOnCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, LimitConfig{})
		c.Spend("ada", "project:a", "", 100) // starts the window
		time.Sleep(30 * time.Second)
		if h := c.ask("ada", "project:a", getProject).Header(); h.Get("X-RateLimit-Remaining") != "19" || h.Get("X-RateLimit-Reset") != "30" {
			t.Errorf("told %v", h)
		}
		c.Spend("ada", "project:a", getProject, 1000)
		c.expect("after the outsider took the rest", 0, 1, "ada", "project:a", getProject)
		c.expect("another project", 1, 1, "ada", "project:b", getProject)
		if got := c.Refused(); got != 1 {
			t.Errorf("refused %d, want 1: the outsider's own refusals are not ours", got)
		}
	})
}

func TestOutsiderAtRandom(t *testing.T) {
	c := newCounter(t, LimitConfig{Outsider: 0.25})
	draws := 0
	c.chance = func() float64 { draws++; return float64(draws%4) / 4 } // 0.25, 0.5, 0.75, 0, …
	c.expect("with one in four joined", 96, 120, "ada", "project:a", getProject)
}

func TestOutsiderComesAfterTheAnswer(t *testing.T) {
	c := newCounter(t, LimitConfig{Outsider: 1})
	for i, want := range []string{"119", "117", "115"} {
		if got := c.ask("ada", "project:a", getProject).Header().Get("X-RateLimit-Remaining"); got != want {
			t.Errorf("answer %d tells %s, want %s", i+1, got, want)
		}
	}
}

func TestSetForgetsAndRefusesNonsense(t *testing.T) {
	c := newCounter(t, LimitConfig{})
	c.allowed(121, "ada", "project:a", getProject)
	if err := c.Set(LimitConfig{Window: -1, ResetUnit: "hours", Granularity: "all", Headers: "some", Outsider: 2}); err == nil {
		t.Error("nonsense was accepted")
	} else {
		for _, text := range []string{"window -1ns", `"hours"`, `"all"`, `"some"`, "outsider 2"} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("error %q lacks %s", err, text)
			}
		}
	}
	c.expect("after a refused Set", 0, 1, "ada", "project:a", getProject)
	if err := c.Set(LimitConfig{Window: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	c.expect("after Set", 120, 121, "ada", "project:a", getProject)
	if got := c.Config(); got.Window != 2*time.Second || got.ResetUnit != Seconds || got.Granularity != PerScope {
		t.Errorf("Config = %+v", got)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, LimitConfig{})
		for i := range maxBuckets + 1 {
			c.ask("ada", "project:"+strconv.Itoa(i), getProject)
		}
		if got := len(c.Buckets()); got > maxBuckets {
			t.Errorf("%d buckets are kept, want at most %d", got, maxBuckets)
		}
	})
}

func TestRefusalIsInUpstreamsForm(t *testing.T) {
	c := newCounter(t, LimitConfig{})
	c.allowed(120, "ada", "project:a", getProject)
	answer := c.ask("ada", "project:a", getProject)
	var body struct{ Message string }
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || body.Message == "" || !strings.HasPrefix(answer.Header().Get("Content-Type"), "application/json") {
		t.Errorf("refused with %q: %v", answer.Body, err)
	}
}
