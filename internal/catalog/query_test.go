package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/problem"
)

const health = "/v1/projects/" + ref + "/health"

func TestQueryIsReadAsItIsForwarded(t *testing.T) {
	c := load(t)
	call, err := c.Parse("GET", health+"?services=db&services=auth&timeout_ms=500&note=a%20b+c%26d%0A&flag&empty=")
	if err != nil {
		t.Fatal(err)
	}
	q := call.Query()
	if got, want := q.All("services"), []string{"db", "auth"}; !slices.Equal(got, want) {
		t.Errorf("All(services) = %q, want %q in the order sent", got, want)
	}
	for _, row := range []struct {
		name, value string
		found       bool
	}{
		{"services", "db", true},
		{"timeout_ms", "500", true},
		{"note", "a b c&d\n", true},
		{"flag", "", true},
		{"empty", "", true},
		{"absent", "", false},
	} {
		if value, found := q.Get(row.name); value != row.value || found != row.found {
			t.Errorf("Get(%s) = %q, %v, want %q, %v", row.name, value, found, row.value, row.found)
		}
	}
	if q.Len() != 6 {
		t.Errorf("Len() = %d, want 6", q.Len())
	}
}

func TestQueryConfusion(t *testing.T) {
	c := load(t)
	keys := "/v1/projects/" + ref + "/api-keys"
	for _, attack := range []struct{ name, uri, says string }{
		{"repeated parameter", keys + "?reveal=false&reveal=true", "stands twice"},
		{"repeated with and without a value", keys + "?reveal&reveal=true", "stands twice"},
		{"repeated, once encoded", keys + "?reveal=false&re%76eal=true", "may hold only"},
		{"name encoded alone", keys + "?re%76eal=true", "may hold only"},
		{"name as an array", keys + "?reveal[]=true", "may hold only"},
		{"name as an encoded array", keys + "?reveal%5B%5D=true", "may hold only"},
		{"name with a space", keys + "?+reveal=true", "may hold only"},
		{"semicolon as a separator", keys + "?reveal=false;reveal=true", "percent-encoded"},
		{"semicolon in a name", keys + "?a;reveal=true", "may hold only"},
		{"bad escape", keys + "?reveal=%zz", "hexadecimal"},
		{"escape cut short", keys + "?reveal=%2", "hexadecimal"},
		{"NUL", keys + "?reveal=%00", "NUL"},
		{"overlong UTF-8", keys + "?reveal=%C0%AF", "UTF-8"},
		{"raw control byte", keys + "?reveal=\x01", "percent-encoded"},
		{"raw non-ASCII", keys + "?reveal=\u00e4", "percent-encoded"},
		{"backslash", keys + `?reveal=\`, "percent-encoded"},
		{"no name", keys + "?=true", "without a name"},
		{"stray ampersand", keys + "?reveal=true&", "without a name"},
		{"empty parameters", keys + "?&&", "without a name"},
		{"only services repeats, and only there", keys + "?services=a&services=b", "stands twice"},
		{"another parameter of a row with repeats", health + "?timeout_ms=1&timeout_ms=2", "stands twice"},
		{"too many parameters", keys + "?" + strings.Repeat("a&", 64) + "a", "at most 64"},
		{"too long a name", keys + "?" + strings.Repeat("a", 65) + "=1", "at most 64"},
		{"too long a query", keys + "?a=" + strings.Repeat("a", 32<<10), "at most 32768"},
	} {
		t.Run(attack.name, func(t *testing.T) {
			_, err := c.Parse("GET", attack.uri)
			var p *problem.Error
			if !errors.As(err, &p) || p.Status != 400 || p.Code != problem.BadRequest || !strings.Contains(p.Message, attack.says) {
				t.Errorf("Parse(%q) = %v, want 400 saying %q", attack.uri, err, attack.says)
			}
		})
	}
}

func TestCanonicalQuery(t *testing.T) {
	c := load(t)
	for _, row := range []struct{ query, want string }{
		{"", ""},
		{"a=1&b=2", "a=1&b=2"},
		{"b=2&a=1", "a=1&b=2"},
		{"a=%41", "a=A"},
		{"a=x%7Ey", "a=x~y"},
		{"a=x+y", "a=x%20y"},
		{"a=x%2by", "a=x%2By"},
		{"a=1%262", "a=1%262"},
		{"a=%25", "a=%25"},
		{"a=b=c", "a=b=c"},
		{"a", "a"},
		{"a=", "a="},
		{"services=b&a=1&services=a", "a=1&services=b&services=a"}, // repeated values keep their order
	} {
		call, err := c.Parse("GET", health+"?"+row.query)
		if err != nil {
			t.Errorf("Parse(?%s): %v", row.query, err)
			continue
		}
		if got := call.Query().Canonical(); got != row.want {
			t.Errorf("Canonical(%q) = %q, want %q", row.query, got, row.want)
		}
		if call.RawQuery != row.query {
			t.Errorf("RawQuery = %q, want %q as sent", call.RawQuery, row.query)
		}
	}
}
