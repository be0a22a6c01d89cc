package portal_test

import (
	"context"
	"iter"
	"net/http"
	"testing"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/portal"
)

// TestAPIRefusesWhatItDoesNotKnow has parameters that would change the answer if they were spelt right.
func TestAPIRefusesWhatItDoesNotKnow(t *testing.T) {
	s := newStage(t, withService, func(c *portal.Config) {
		c.Quota = func() []limiter.BucketState { return nil }
		c.AuditLines = func(context.Context, audit.Filter) iter.Seq2[audit.Line, error] {
			return func(func(audit.Line, error) bool) {}
		}
	})
	for address, says := range map[string]string{
		"whoami?team=payments":                     "takes none",
		"access?team=payments":                     "takes none",
		"quota?team=payments":                      "takes none",
		"admin?replica=one":                        "takes none",
		"explain?path=/v1/projects&metod=DELETE":   `\"metod\" is no parameter: there are method, path, team.`,
		"explain?path=/v1/projects&path=/v1/other": "path is given 2 times",
		"explain":                  `\"\" is no path`,
		"tokens?al=true":           `\"al\" is no parameter`,
		"tokens?all=1":             `true or false, not \"1\"`,
		"audit?sinse=24h":          `\"sinse\" is no parameter`,
		"audit?since=24h&since=1h": "since is given 2 times",
	} {
		s.api(t, http.MethodGet, "/-/api/"+address, s.bearer("grace"), "").wants(t, http.StatusBadRequest, says)
	}
	s.api(t, http.MethodPut, "/-/api/tokens", s.bearer("grace"), "").wants(t, http.StatusMethodNotAllowed, "does not take PUT; it takes GET, POST, HEAD.")
}
