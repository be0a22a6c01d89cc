package catalog_test

import (
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/internal/catalog"
)

var patterns = []struct {
	source string
	fast   bool
	yes    []string
	no     []string
}{
	{"[a-z]{20}", true, []string{ref}, []string{"", ref[:19], ref + "a", strings.ToUpper(ref)}},
	{"[a-z]{20}|[0-9]+", true, []string{ref, "1", "123"}, []string{ref + "1", "", "a1"}},
	{"x|y", true, []string{"x", "y"}, []string{"xy", "ax", "ya"}},
	{"[0-9a-f]{8}-[0-9a-f]{4}", true, []string{"11111111-2222"}, []string{"11111111-222", "111111112222"}},
	{`\d+`, true, []string{"0", "2026"}, []string{"", "x", "1x", "\u0663"}},
	{`[\w-]+`, true, []string{"a_b-C9"}, []string{"a b", "a/b", ""}},
	{"[a-z]{1,3}-?", false, []string{"a", "abc-"}, []string{"abcd", "-"}},
	{"(?i)abc", false, []string{"ABC"}, []string{"abcd"}},
	{"[a-z]+[a-z0-9]{2}", false, []string{"abc", "a12"}, []string{"ab"}}, // needs to give back what it took
	{"(?:daily|weekly)-[0-9]{4}", false, []string{"daily-2026"}, []string{"daily"}},
	{"[^/]+", false, []string{"anything"}, []string{""}},
}

func TestPatterns(t *testing.T) {
	for _, row := range patterns {
		match, fast, err := catalog.CompilePattern(row.source)
		if err != nil || fast != row.fast {
			t.Errorf("CompilePattern(%q): without a regular expression %v, error %v; want %v", row.source, fast, err, row.fast)
			continue
		}
		for _, segment := range row.yes {
			if !match(segment) {
				t.Errorf("%q does not match %q", row.source, segment)
			}
		}
		for _, segment := range row.no {
			if match(segment) {
				t.Errorf("%q matches %q", row.source, segment)
			}
		}
	}
}

// TestKnownParametersRunNoRegularExpression keeps regular expressions off the way of every request.
func TestKnownParametersRunNoRegularExpression(t *testing.T) {
	for name, source := range catalog.KnownPatterns() {
		if _, fast, err := catalog.CompilePattern(source); err != nil || !fast {
			t.Errorf("{%s}: %q, error %v; want a pattern that runs without a regular expression", name, source, err)
		}
	}
	for _, row := range catalog.Default() {
		for name, source := range row.Params {
			if _, fast, err := catalog.CompilePattern(source); err != nil || !fast {
				t.Errorf("%s: {%s}: %q, error %v", row.ID, name, source, err)
			}
		}
	}
}

// FuzzPattern holds the compiled form against the regular expression it was made of.
func FuzzPattern(f *testing.F) {
	for _, row := range patterns {
		for _, segment := range append(row.yes, row.no...) {
			f.Add(row.source, segment)
		}
	}
	f.Fuzz(func(t *testing.T, source, segment string) {
		if len(segment) > 255 { // the bound is the matcher's own
			t.Skip()
		}
		match, _, err := catalog.CompilePattern(source)
		if err != nil {
			t.Skip()
		}
		reference, err := regexp.Compile("^(?:" + source + ")$")
		if err != nil {
			t.Skip()
		}
		if got, want := match(segment), reference.MatchString(segment); got != want {
			t.Errorf("%q matches %q: %v, the regular expression says %v", source, segment, got, want)
		}
	})
}
