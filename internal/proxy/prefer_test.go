package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"corp.example/gateway/internal/problem"
)

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
