// Package httpcache_test holds the cache to RFC 9111 by the public suite of HTTP cache tests (npm: http-cache-tests,
// shown at cache-tests.fyi). The suite's own server is upstream, its own client asks the running gateway with a bearer
// token, and what does not pass is listed in docs/cache.md with the reason: the list and the truth are kept equal.
package httpcache_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// The suite's paths as operations: /test/ID/PROJECT, and below it what Location and Content-Location of a write name.
// Error answers are stored, too, since the suite looks at those.
const operations = `
catalog:
  extra:
    - {id: x-get, method: GET, path: "/test/{id}/{ref}", effect: read, target: project, scope: "database:read", cache: {ttl: 2s, errors: true}}
    - {id: x-get-file, method: GET, path: "/test/{id}/{ref}/{file}", params: {file: "[a-z_]+"}, effect: read, target: project, scope: "database:read", cache: {ttl: 2s, errors: true}}
    - {id: x-post, method: POST, path: "/test/{id}/{ref}", effect: write, target: project, scope: "database:write"}
    - {id: x-put, method: PUT, path: "/test/{id}/{ref}", effect: write, target: project, scope: "database:write"}
    - {id: x-delete, method: DELETE, path: "/test/{id}/{ref}", effect: write, target: project, scope: "database:write"}
`

// What the suite tells its server, and what it varies answers by.
const suiteHeaders = "Test-ID, Test-Name, Req-Num, Foo, Bar, Baz, Abc, Other"

// least is how many tests of a kind must pass.
var least = map[string]int{"required": 137, "optimal": 64}

func TestPublicHTTPCacheTests(t *testing.T) {
	harness.Need(t, []string{"node"}, []string{suiteServer})
	t.Parallel()
	origin := startOrigin(t)
	g := harness.Start(t, harness.Options{Origin: origin, Forward: suiteHeaders, Config: operations})
	token := g.Token("platform")

	outcomes := runSuite(t, g, origin, token)
	listed := listedFailures(t)
	if again := differing(outcomes, listed); len(again) > 0 {
		// The suite's waits are of three seconds, and so is what becomes stale meanwhile: on a machine that stood still
		// for that long, a test says nothing. What differs from the list must differ twice.
		maps.Copy(outcomes, runSuite(t, g, origin, token, again...))
	}

	passed, of := map[string]int{}, map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(outcomes)) {
		o := outcomes[id]
		of[o.Kind]++
		switch {
		case o.Passed:
			passed[o.Kind]++
			if listed[id] {
				t.Errorf("%s passes: take it off the list in docs/cache.md", id)
			}
		case o.Kind == "check":
			t.Logf("%s: %s", id, o.Reason)
		case !listed[id]:
			t.Errorf("%s, which is %s, does not pass and is not listed in docs/cache.md: %s", id, o.Kind, o.Reason)
		}
	}
	for id := range listed {
		if _, ran := outcomes[id]; !ran {
			t.Errorf("docs/cache.md lists %s, which is no test of the suite", id)
		}
	}
	for kind, n := range least {
		if passed[kind] < n {
			t.Errorf("%d %s tests pass, want %d", passed[kind], kind, n)
		}
	}
	t.Logf("passed %v of %v", passed, of)
}

// differing are the tests whose outcome is not what the list says.
func differing(outcomes map[string]outcome, listed map[string]bool) []string {
	var ids []string
	for id, o := range outcomes {
		if o.Kind != "check" && o.Passed == listed[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

var backquoted = regexp.MustCompile("`([^`]+)`")

// listedFailures reads the table in docs/cache.md below the suite's name: its first column holds ids, its last the reason.
func listedFailures(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "cache.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Conformance")
	if !found {
		t.Fatal("docs/cache.md has no section about conformance")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for line := range strings.Lines(section) {
		columns := strings.Split(line, "|")
		if len(columns) != 4 {
			continue
		}
		for _, id := range backquoted.FindAllStringSubmatch(columns[1], -1) {
			if listed[id[1]] {
				t.Errorf("docs/cache.md lists %s twice", id[1])
			}
			if listed[id[1]] = true; strings.TrimSpace(columns[2]) == "" {
				t.Errorf("docs/cache.md gives no reason for %s", id[1])
			}
		}
	}
	return listed
}
