package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
)

// route is one operation.
type route struct {
	id      string // upstream's operation id
	pattern string // method and path template, as http.ServeMux reads it
	status  int    // of a successful answer
	perform func(*call) (any, error)
	streams bool // perform reads the body itself
}

// op is an operation that runs under the state's lock, with its body read and its project found.
func op(id, pattern string, status int, perform func(*call) (any, error)) route {
	return route{id: id, pattern: pattern, status: status, perform: perform}
}

// stream is an operation whose body is too large to read beforehand. It takes the lock and finds its project itself.
func stream(id, pattern string, status int, perform func(*call) (any, error)) route {
	return route{id: id, pattern: pattern, status: status, perform: perform, streams: true}
}

// routes is every operation, a section to a file.
func (s *Sandbox) routes() []route {
	return slices.Concat(
		s.organizationRoutes(), s.claimRoutes(), s.projectRoutes(), s.keyRoutes(), s.secretRoutes(), s.functionRoutes(),
		s.branchRoutes(), s.snippetRoutes(), s.migrationRoutes(), s.databaseRoutes(), s.accessRoutes(), s.backupRoutes(),
		s.settingRoutes(), s.authRoutes(), s.networkRoutes(), s.domainRoutes(), s.addonRoutes(), s.analyticsRoutes(),
		s.oauthRoutes(), s.newerRoutes(), s.notebookRoutes(), s.webhookRoutes(),
	)
}

func (s *Sandbox) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, s.serve(r))
	}
	// Upstream answers a path it does not know and a method it does not know alike.
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, refuse(http.StatusNotFound, "Cannot %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// operate performs the operation. A path in an unusual form is no operation's: ServeMux would redirect it.
func (s *Sandbox) operate(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != path.Clean(r.URL.Path) {
		writeError(w, refuse(http.StatusNotFound, "Cannot %s %s", r.Method, r.URL.Path))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// serve makes the handler of one operation.
func (s *Sandbox) serve(o route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := s.perform(o, &call{Request: r})
		if err != nil {
			writeError(w, err)
			return
		}
		answer(w, o.status, result)
	}
}

func (s *Sandbox) perform(o route, c *call) (any, error) {
	if o.streams {
		v, err := o.perform(c)
		if err != nil {
			return nil, err
		}
		return encoded(v)
	}
	var err error
	if c.body, err = io.ReadAll(io.LimitReader(c.Body, maxJSON+1)); err != nil {
		return nil, refuse(http.StatusBadRequest, "reading the body: %v", err)
	}
	if len(c.body) > maxJSON {
		return nil, refuse(http.StatusRequestEntityTooLarge, "request entity too large")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if ref := c.PathValue("ref"); ref != "" {
		if c.project, err = s.state.project(ref); err != nil {
			return nil, err
		}
	}
	v, err := o.perform(c)
	if err != nil {
		return nil, err
	}
	return encoded(v)
}

// route says which operation a request asks for, as method and path template, and which project, organization or account
// it is about: what upstream's rate limits count by. An unknown path is nobody's operation.
func (s *Sandbox) route(r *http.Request) (operation, scope string) {
	_, operation = s.mux.Handler(r)
	segments := strings.Split(r.URL.Path, "/")
	if operation == "" || operation == "/" || len(segments) < 3 {
		return "", "account"
	}
	scope = "account"
	if operation == "POST /v1/projects" {
		if slug := peekOrganization(r); slug != "" {
			scope = "organization:" + slug
		}
		return operation, scope
	}
	switch {
	case strings.Contains(operation, "/projects/{ref}"):
		scope = "project:" + segments[3]
	case strings.Contains(operation, "/organizations/{slug}"):
		scope = "organization:" + segments[3]
	case strings.Contains(operation, "/branches/{branch_id_or_ref}"):
		scope = "project:" + s.state.branchRef(segments[3])
	}
	return operation, scope
}

// peekOrganization reads which organization a new project is for, and puts the body back.
func peekOrganization(r *http.Request) string {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxJSON))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
	var request createProject
	if err != nil || json.Unmarshal(body, &request) != nil {
		return ""
	}
	return request.organization()
}

// fixed is an operation that always answers the same, with the project's own ref written into it.
func fixed(name string) func(*call) (any, error) {
	data := answerFile(name)
	return func(c *call) (any, error) {
		return json.RawMessage(forProject(data, c.PathValue("ref"))), nil
	}
}

// nothing is an operation without an answer body that changes nothing anybody can see.
func nothing(*call) (any, error) { return nil, nil }

// done is an operation that answers only that it was done.
func done(*call) (any, error) { return doc{"message": "ok"}, nil }

// missing is the answer for something that is not there.
func missing(what string) error { return refuse(http.StatusNotFound, "%s not found", what) }
