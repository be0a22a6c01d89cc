package e2e

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/sandbox"
	"corp.example/gateway/test/harness"
)

// referenceTable are the rows of the tables below a heading of docs/reference.md, each as its cells.
func referenceTable(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n"+heading+"\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"))
		}
	}
	if len(rows) == 0 {
		t.Fatalf("docs/reference.md has no table under %q", heading)
	}
	return rows
}

var (
	inBackticks = regexp.MustCompile("`([^`]+)`")
	sample      = regexp.MustCompile(`(?m)^(gateway_[a-z_]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? `)
	labelName   = regexp.MustCompile(`([a-z_]+)="`)
)

func TestTheReferenceNamesTheLabelsOfEveryMetric(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	ada := g.JWT("ada")
	g.Get(ada, "/v1/projects/"+sandbox.Payments)
	g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`)
	documented := map[string]string{}
	for _, row := range referenceTable(t, "## Metrics") {
		for _, name := range inBackticks.FindAllStringSubmatch(row[0], -1) {
			documented[name[1]] = strings.TrimSpace(row[1])
		}
	}
	_, metrics := operator(t, g, "/metrics")
	seen := map[string]bool{}
	for _, line := range sample.FindAllStringSubmatch(metrics, -1) {
		var labels []string
		for _, label := range labelName.FindAllStringSubmatch(line[2], -1) {
			if label[1] != "le" { // of the buckets
				labels = append(labels, label[1])
			}
		}
		want := strings.Split(documented[line[1]], ", ")
		if documented[line[1]] == "" {
			want = nil
		}
		slices.Sort(labels)
		slices.Sort(want)
		if !slices.Equal(labels, want) && !seen[line[1]] {
			t.Errorf("%s has the labels %q, the reference says %q", line[1], labels, want)
		}
		seen[line[1]] = true
	}
	if len(seen) < 15 {
		t.Errorf("found %d metrics: this test looks in the wrong place", len(seen))
	}
}

// What the reference says that answers carry, they carry; and what they carry of the gateway's own, it says.
func TestTheReferenceNamesTheHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Config: "limits: {max_wait: 1s}"})
	documented := map[string]bool{}
	for _, row := range referenceTable(t, "## Headers") {
		for _, name := range inBackticks.FindAllStringSubmatch(row[0], -1) {
			documented[http.CanonicalHeaderKey(name[1])] = true
		}
	}
	for _, ordinary := range []string{ // what any server says; see docs/cache.md and docs/security.md
		"Content-Type", "Content-Length", "Date", "Etag", "Vary", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy",
	} {
		documented[ordinary] = true
	}
	ada, project := g.JWT("ada"), "/v1/projects/"+sandbox.Payments
	g.Get(ada, project)
	hit, stranger, other := g.Get(ada, project), g.Get("", project), g.Do(ada, "POST", project, "")
	g.Upstream.Limits().Spend("platform-bot", "project:"+sandbox.Payments, "", 120)
	late := g.Get(ada, project+"/functions")
	said := map[string]bool{}
	for _, a := range []harness.Answer{hit, stranger, other, late} {
		for name := range a.Header {
			said[name] = true
			if !documented[name] {
				t.Errorf("a %d carries %s, which the reference does not name", a.StatusCode, name)
			}
		}
	}
	for _, name := range []string{
		"X-Request-Id", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Server-Timing", "Cache-Status", "Age",
		"Retry-After", "Www-Authenticate", "Allow",
	} {
		if !documented[name] || !said[name] {
			t.Errorf("%s: in the reference %v, on an answer %v, want both", name, documented[name], said[name])
		}
	}
}
