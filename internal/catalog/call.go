package catalog

import "net/http"

// maxParams bounds the path parameters of one template, so that a Call holds them without allocating. The table needs 3.
const maxParams = 6

// Call is one parsed request: the operation, its path parameters, its query. It is a value; Parse makes it.
type Call struct {
	Op       *Operation
	Method   string // as received; "HEAD" also where the GET row answers it, see HeadOfGet
	Path     string // raw, exactly as received and as it must be forwarded
	RawQuery string // raw, without its "?"; exactly as received and as it must be forwarded
	Target   Target

	params [maxParams]span
	query  Query
}

// span is where a path parameter stands in Path.
type span struct{ from, to uint16 }

// Target is what a call is about, as far as its path says.
type Target struct {
	Kind Kind
	ID   string // project ref, organization slug, branch id or ref, snippet id; "" for the account and where the body names it
}

// HeadOfGet reports whether this is a HEAD of an operation that the table knows as a GET only. Upstream answers it like
// the GET, without the body.
func (c *Call) HeadOfGet() bool { return c.Method == http.MethodHead && c.Op.Method == http.MethodGet }

// Param returns a path parameter by its name in the template, raw; "" where the template has none of that name.
func (c *Call) Param(name string) string {
	for i, known := range c.Op.params {
		if known == name {
			return c.param(i)
		}
	}
	return ""
}

func (c *Call) param(i int) string { return c.Path[c.params[i].from:c.params[i].to] }

// Query returns the parsed query.
func (c *Call) Query() Query { return c.query }

// RequestURI returns the path and query as they must be forwarded.
func (c *Call) RequestURI() string {
	if c.RawQuery == "" {
		return c.Path
	}
	return c.Path + "?" + c.RawQuery
}
