package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"corp.example/gateway/internal/problem"
)

// RFC 5861 section 4: out of quota is a failure, too. A client that does not want to wait for it gets the stale answer,
// marked, where there is one.
func TestAStaleAnswerStandsInForAWaitThatIsHopeless(t *testing.T) {
	spent := reply(200, `{}`, "X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30")
	for prefer, directives := range map[string]string{"wait=0": "", "wait=5": "", "wait=1": "no-cache"} {
		inBubble(t, options{upstream: replies(reply(200, `["old"]`), spent, reply(200, `["new"]`))}, func(t *testing.T, l *line) {
			l.call(t.Context(), "GET", functions, "")
			time.Sleep(11 * time.Second)
			l.call(t.Context(), "GET", source, "")
			began := time.Now()
			a := l.call(t.Context(), "GET", functions, "", "Prefer: "+prefer, "Cache-Control: "+directives)
			switch {
			case directives != "" && a.Code != http.StatusTooManyRequests:
				t.Errorf("%s and %s: status %d, want 429: the client wants no old answer", prefer, directives, a.Code)
			case directives == "" && (a.Code != http.StatusOK || a.Body.String() != `["old"]` || a.Header().Get("Cache-Status") != "gateway; hit; ttl=-1; detail=stale-if-error"):
				t.Errorf("%s: status %d %s, %s", prefer, a.Code, a.Body, a.Header().Get("Cache-Status"))
			case time.Since(began) != 0:
				t.Errorf("%s: it waited %v", prefer, time.Since(began))
			}
		})
	}
}

func TestPreferSaysHowLongToQueue(t *testing.T) {
	// One answer spends the window, which ends after 30 s.
	spent := reply(200, `{}`, "X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30")
	for name, test := range map[string]struct {
		prefer string
		served bool
	}{
		"nothing said":                      {"", true},
		"not at all":                        {"wait=0", false},
		"too short":                         {"wait=5", false},
		"long enough":                       {"wait=40", true},
		"longer than the gateway lets":      {"wait=4000", true},
		"in quotes":                         {`wait="5"`, false},
		"with white space and capitals":     {"Wait =\t5", false},
		"with a parameter":                  {"wait=5; x=y", false},
		"among others":                      {"respond-async, wait=5", false},
		"twice: the first counts":           {"wait=5, wait=40", false},
		"unreadable: as if it were not":     {"wait=soon", true},
		"negative: as if it were not":       {"wait=-1", true},
		"beyond numbers: as if it were not": {"wait=99999999999999999999", true},
	} {
		for how, path := range map[string]string{"streamed": source, "cached": functions} {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, options{upstream: replies(spent, reply(200, `{}`))}, func(t *testing.T, l *line) {
					l.call(t.Context(), "GET", source, "")
					began := time.Now()
					a := l.call(t.Context(), "GET", path, "", "Prefer: "+test.prefer)
					took := time.Since(began)
					switch {
					case test.served && (a.Code != http.StatusOK || took < 30*time.Second):
						t.Errorf("status %d after %v, want it served when the window ends", a.Code, took)
					case !test.served && (a.Code != http.StatusTooManyRequests || a.problem(t) != problem.QueueTimeout || took != 0):
						t.Errorf("status %d after %v, want 429 at once", a.Code, took)
					case !test.served && a.Header().Get("Retry-After") < "29": // the window ends within a second of what upstream says
						t.Errorf("Retry-After %q is before there is any quota", a.Header().Get("Retry-After"))
					}
				})
			})
		}
	}
}
