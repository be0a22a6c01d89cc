package portal

import (
	"net/http"
	"slices"
	"strings"

	"corp.example/gateway/internal/problem"
)

// who says what a route asks of whoever comes.
type who int

const (
	anybody who = iota // nothing
	person             // a session; a stranger is shown the sign-in page instead
	form               // a session, and that the request was sent by one of its own pages
	bearer             // a token; a session does not count
)

// parameterMark ends the path of a route whose last segment is a parameter.
const parameterMark = "{}"

// route is one thing the portal answers.
type route struct {
	method string // GET stands for HEAD too
	path   string // as it comes, without decoding
	who    who
	serve  func(*visit) error
}

// matches reports whether the route is for the path, and the parameter.
func (t route) matches(path string) (parameter string, ok bool) {
	prefix, parametrised := strings.CutSuffix(t.path, parameterMark)
	if !parametrised {
		return "", path == t.path
	}
	parameter, ok = strings.CutPrefix(path, prefix)
	return parameter, ok && parameter != "" && !strings.Contains(parameter, "/")
}

// find returns the route of a request, or a problem: 404, or 405 with Allow.
func (p *Portal) find(method, path string) (found route, parameter string, err error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, candidate := range p.routes {
		parameter, ok := candidate.matches(path)
		if !ok {
			continue
		}
		if candidate.method == method {
			return candidate, parameter, nil
		}
		allowed = append(allowed, candidate.method)
	}
	if len(allowed) == 0 {
		return route{}, "", problem.New(http.StatusNotFound, problem.UnknownOperation, "There is nothing at this address.")
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	takes := strings.Join(allowed, ", ")
	refusal := problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "This address does not take %.20s; it takes %s.", method, takes)
	refusal.Header = http.Header{"Allow": {takes}}
	return route{}, "", refusal
}
