package catalog

import (
	"net/http"
	"strings"

	"corp.example/gateway/internal/problem"
)

// maxEcho bounds how much of a path an answer repeats: enough to recognise it.
const maxEcho = 120

// emptySegment answers a path with "//" or a slash at its end. It is not redirected: a client would repeat a write there.
func emptySegment(path string) error {
	if strings.HasPrefix(path, "//") {
		return notFound("The path begins with two slashes: the client's base URL probably ends with a slash. Take it off.")
	}
	if path == "/" {
		return notFound("There is no operation at /.")
	}
	if strings.Contains(path, "//") {
		return notFound("The path has two slashes in a row: something left a path parameter empty, or the base URL ends with a slash.")
	}
	return notFound("The path ends with a slash: take it off.")
}

// unknown answers a well-formed path for which the table has no operation of this method.
func (c *Catalog) unknown(method, path string) error {
	if allowed := c.root.methods(path, 1); len(allowed) > 0 {
		p := problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed,
			"%s is known, but not with the method %q; it takes %s.", echo(path), echo(method), strings.Join(allowed, ", "))
		p.Header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
		return p
	}
	if param, segment, ok := c.root.refusing(path); ok {
		return notFound("%s is not in the catalogue of operations: %q is no %s.", echo(path), echo(segment), paramText(param))
	}
	return notFound("%s is not in the catalogue of operations. An operator can add it under catalog.extra.", echo(path))
}

// paramText says what a path parameter should have been.
func paramText(name string) string {
	switch name {
	case "ref":
		return "project ref (20 lower-case letters)"
	case "slug":
		return "organization slug (letters, digits, - and _)"
	case "branch_id_or_ref":
		return "branch id (a UUID in lower case) or branch ref (20 lower-case letters)"
	case "id", "provider_id", "tpa_id", "user_id":
		return name + " (a UUID in lower case)"
	default:
		return strings.ReplaceAll(name, "_", " ")
	}
}

func notFound(format string, args ...any) error {
	return problem.New(http.StatusNotFound, problem.UnknownOperation, format, args...)
}

func echo(s string) string {
	if len(s) > maxEcho {
		return s[:maxEcho] + "…"
	}
	return s
}
