package catalog_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzParse: whatever is accepted is read in one way only.
func FuzzParse(f *testing.F) {
	c := load(f)
	for _, op := range c.Operations() {
		f.Add(op.Method, fill(op.Path))
	}
	for _, uri := range []string{
		"/v1/projects/" + ref + "/branches/a%20b?x=%2e&y", health + "?services=a&services=b", "//v1/projects", "/v1/projects/../x",
		"/v1/projects/%61", "/v1/projects/" + ref + "%2f", "/v1/projects/" + ref + "/branches/%E2%88%95", "http://x/v1/projects", "/v1/projects?a=1;b=2",
	} {
		f.Add("GET", uri)
	}
	f.Fuzz(func(t *testing.T, method, uri string) {
		call, err := c.Parse(method, uri)
		if err != nil {
			if message := err.Error(); !utf8.ValidString(message) || strings.ContainsFunc(message, unicode.IsControl) || len(message) > 1000 {
				t.Errorf("Parse(%q, %q) repeats what it was sent unquoted or at length: %q", method, uri, message)
			}
			return
		}
		if call.RequestURI() != strings.TrimSuffix(uri, "?") {
			t.Errorf("Parse(%q) would forward %q", uri, call.RequestURI())
		}
		const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,=:@/%"
		if i := strings.IndexFunc(call.Path, func(r rune) bool { return !strings.ContainsRune(allowed, r) }); i >= 0 {
			t.Errorf("Parse(%q) accepted the byte %q", uri, call.Path[i])
		}
		segments := strings.Split(call.Op.Path, "/")
		for i, segment := range segments {
			if strings.HasPrefix(segment, "{") {
				segments[i] = call.Param(strings.Trim(segment, "{}"))
			}
			if segments[i] == "." || segments[i] == ".." || i > 0 && segments[i] == "" {
				t.Errorf("Parse(%q) accepted the segment %q", uri, segments[i])
			}
		}
		if rebuilt := strings.Join(segments, "/"); rebuilt != call.Path {
			t.Errorf("Parse(%q): template and parameters give %q", uri, rebuilt)
		}
		again, err := c.Parse(method, call.RequestURI())
		if err != nil || again.Op != call.Op || again.Target != call.Target || again.Query().Canonical() != call.Query().Canonical() {
			t.Errorf("Parse(%q) is another call when parsed again: %v", uri, err)
		}
		canonical, err := c.Parse(method, strings.TrimSuffix(call.Path+"?"+call.Query().Canonical(), "?"))
		if err != nil || canonical.Query().Canonical() != call.Query().Canonical() {
			t.Errorf("the canonical query %q of %q does not stand for itself: %v", call.Query().Canonical(), uri, err)
		}
	})
}

// fill puts a value that fits in the place of every parameter of a template.
func fill(template string) string {
	return strings.NewReplacer("{ref}", ref, "{slug}", "acme", "{branch_id_or_ref}", ref, "{version}", "20260101000000",
		"{function_slug}", "hello-world", "{run_id}", "run_01", "{token}", "0a", "{addon_variant}", "pitr_7", "{name}", "preview",
		"{aws_account_id}", "123456789012", "{database_identifier}", ref, "{invite_id}", uuid,
		"{id}", uuid, "{provider_id}", uuid, "{tpa_id}", uuid, "{user_id}", uuid).Replace(template)
}

func TestEveryOperationParses(t *testing.T) {
	c := load(t)
	for _, op := range c.Operations() {
		call, err := c.Parse(op.Method, fill(op.Path))
		if err != nil || call.Op != op {
			t.Errorf("Parse(%s %s) = %v, %v", op.Method, fill(op.Path), call.Op, err)
		}
	}
}
