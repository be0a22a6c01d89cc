package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// function is one edge function. It is replaced whole when it changes, never written to: branches share their parent's.
type function struct {
	bundle bundle

	ID             string `json:"id"`
	Slug           string `json:"slug"`
	Name           string `json:"name"`
	Status         string `json:"status"`
	Version        int    `json:"version"`
	CreatedAt      int64  `json:"created_at"` // milliseconds
	UpdatedAt      int64  `json:"updated_at"` // milliseconds
	VerifyJWT      bool   `json:"verify_jwt"`
	ImportMap      bool   `json:"import_map"`
	EntrypointPath string `json:"entrypoint_path,omitempty"` // as a file URL
	ImportMapPath  string `json:"import_map_path,omitempty"` // as a file URL
	SHA256         string `json:"ezbr_sha256"`
}

func seedFunctions(p *project) []*function {
	f := newFunction("hello-world", p.created)
	f.bundle = filesBundle([]bundleFile{{"index.ts", []byte("Deno.serve(() => new Response(\"Hello from " + p.ref + "\"))\n")}})
	f.SHA256 = f.bundle.sum
	functionBody{entrypoint: "index.ts"}.apply(p, f)
	return []*function{f}
}

func newFunction(slug string, created time.Time) *function {
	at := created.UnixMilli()
	return &function{ID: newID(), Slug: slug, Name: slug, Status: "ACTIVE", Version: 1, CreatedAt: at, UpdatedAt: at, VerifyJWT: true}
}

func (s *Sandbox) functionRoutes() []route {
	return []route{
		op("v1-list-all-functions", "GET /v1/projects/{ref}/functions", 200, s.listFunctions),
		stream("v1-create-a-function", "POST /v1/projects/{ref}/functions", 201, s.createFunction),
		op("v1-bulk-update-functions", "PUT /v1/projects/{ref}/functions", 200, s.replaceFunctions),
		stream("v1-deploy-a-function", "POST /v1/projects/{ref}/functions/deploy", 201, s.deployFunction),
		op("v1-get-a-function", "GET /v1/projects/{ref}/functions/{function_slug}", 200, s.getFunction),
		stream("v1-update-a-function", "PATCH /v1/projects/{ref}/functions/{function_slug}", 200, s.updateFunction),
		op("v1-delete-a-function", "DELETE /v1/projects/{ref}/functions/{function_slug}", 200, s.deleteFunction),
		op("v1-get-a-function-body", "GET /v1/projects/{ref}/functions/{function_slug}/body", 200, s.getFunctionBody),
	}
}

// function finds one by its slug or its id.
func (p *project) function(slug string) (*function, error) {
	for _, f := range p.functions {
		if f.Slug == slug || f.ID == slug {
			return f, nil
		}
	}
	return nil, missing("Function")
}

// put adds a function, or replaces the one of the same slug.
func (p *project) put(f *function) {
	list := slices.DeleteFunc(slices.Clone(p.functions), func(other *function) bool { return other.Slug == f.Slug })
	list = append(list, f)
	slices.SortFunc(list, func(a, b *function) int { return cmp.Compare(a.Slug, b.Slug) })
	p.functions = list
}

func (s *Sandbox) listFunctions(c *call) (any, error) {
	return append([]*function{}, c.project.functions...), nil
}

func (s *Sandbox) getFunction(c *call) (any, error) {
	return c.project.function(c.PathValue("function_slug"))
}

func (s *Sandbox) deleteFunction(c *call) (any, error) {
	f, err := c.project.function(c.PathValue("function_slug"))
	if err != nil {
		return nil, err
	}
	c.project.functions = slices.DeleteFunc(slices.Clone(c.project.functions), func(other *function) bool { return other == f })
	return nil, nil
}

// functionBody is what a JSON body or the query may say of a function.
type functionBody struct {
	Slug      string `json:"slug"`
	Name      string `json:"name"`
	Body      string `json:"body"`
	VerifyJWT *bool  `json:"verify_jwt"`

	entrypoint, importMap string
	hasImportMap          bool
	sum                   string // as the client computed it, "" where it did not say
}

// fromQuery reads what an eszip upload says beside the bundle.
func fromQuery(q url.Values) functionBody {
	b := functionBody{
		Slug: q.Get("slug"), Name: q.Get("name"), entrypoint: q.Get("entrypoint_path"), importMap: q.Get("import_map_path"),
		sum: q.Get("ezbr_sha256"), hasImportMap: q.Get("import_map") == "true",
	}
	if verify, err := strconv.ParseBool(q.Get("verify_jwt")); err == nil {
		b.VerifyJWT = &verify
	}
	return b
}

// apply writes into f, a function of p, what the body says.
func (b functionBody) apply(p *project, f *function) {
	f.Name = cmp.Or(b.Name, f.Name)
	if b.entrypoint != "" {
		f.EntrypointPath = f.fileURL(p, b.entrypoint)
	}
	if b.importMap != "" {
		f.ImportMapPath = f.fileURL(p, b.importMap)
	}
	f.ImportMap = f.ImportMap || b.hasImportMap || b.importMap != ""
	if b.VerifyJWT != nil {
		f.VerifyJWT = *b.VerifyJWT
	}
}

// fileURL is a path in the bundle as upstream gives it back: where its builder unpacked this version.
func (f *function) fileURL(p *project, name string) string {
	if strings.HasPrefix(name, "file://") {
		return name
	}
	return fmt.Sprintf("file:///tmp/user_fn_%s_%s_%d/source/%s", p.ref, f.ID, f.Version, strings.TrimPrefix(name, "./"))
}

// receive reads a function's bundle and what is said of it: an eszip with a query, or JSON with the source in it.
func (s *Sandbox) receive(c *call) (functionBody, *bundle, error) {
	if err := s.known(c); err != nil {
		return functionBody{}, nil, err
	}
	if !strings.HasPrefix(c.Header.Get("Content-Type"), "application/json") {
		received, err := readEszip(c.Body, s.config.KeptBody)
		return fromQuery(c.URL.Query()), &received, err
	}
	request := fromQuery(c.URL.Query())
	if err := c.read(&request); err != nil {
		return request, nil, err
	}
	if request.Body == "" {
		return request, nil, nil
	}
	received := filesBundle([]bundleFile{{"index.ts", []byte(request.Body)}})
	return request, &received, nil
}

// known refuses a project that does not exist before its upload is read.
func (s *Sandbox) known(c *call) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	_, err := s.state.project(c.PathValue("ref"))
	return err
}

// change runs fn on the project under the lock, after an upload was read without it.
func (s *Sandbox) change(c *call, fn func(*project) (any, error)) (any, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	p, err := s.state.project(c.PathValue("ref"))
	if err != nil {
		return nil, err
	}
	return fn(p)
}

func (s *Sandbox) createFunction(c *call) (any, error) {
	request, received, err := s.receive(c)
	if err != nil {
		return nil, err
	}
	if !isSlug(request.Slug) {
		return nil, refuse(http.StatusBadRequest, "slug: Invalid")
	}
	if received == nil {
		return nil, refuse(http.StatusBadRequest, "body: Required")
	}
	return s.change(c, func(p *project) (any, error) {
		if _, err := p.function(request.Slug); err == nil {
			return nil, refuse(http.StatusConflict, "Function %q already exists", request.Slug)
		}
		f := newFunction(request.Slug, time.Now())
		request.apply(p, f)
		f.bundle, f.SHA256 = *received, cmp.Or(request.sum, received.sum)
		p.put(f)
		return f, nil
	})
}

func (s *Sandbox) updateFunction(c *call) (any, error) {
	request, received, err := s.receive(c)
	if err != nil {
		return nil, err
	}
	return s.change(c, func(p *project) (any, error) {
		old, err := p.function(c.PathValue("function_slug"))
		if err != nil {
			return nil, err
		}
		f := *old
		f.Version, f.UpdatedAt = old.Version+1, time.Now().UnixMilli()
		request.apply(p, &f)
		if received != nil {
			f.bundle, f.SHA256 = *received, cmp.Or(request.sum, received.sum)
		}
		p.put(&f)
		return &f, nil
	})
}

// deployFunction takes source files as multipart. With bundleOnly it answers what it would deploy, and deploys nothing.
func (s *Sandbox) deployFunction(c *call) (any, error) {
	if err := s.known(c); err != nil {
		return nil, err
	}
	upload, err := readDeploy(c.Request, s.config.KeptBody)
	if err != nil {
		return nil, err
	}
	slug := cmp.Or(c.URL.Query().Get("slug"), upload.metadata.Name)
	if !isSlug(slug) {
		return nil, refuse(http.StatusBadRequest, "slug: Invalid")
	}
	return s.change(c, func(p *project) (any, error) {
		f := newFunction(slug, time.Now())
		if old, err := p.function(slug); err == nil {
			*f = *old
			f.Version, f.UpdatedAt = old.Version+1, time.Now().UnixMilli()
		}
		upload.metadata.apply(p, f)
		f.bundle, f.SHA256 = upload.bundle, upload.bundle.sum
		if !c.flag("bundleOnly") {
			p.put(f)
		}
		return f, nil
	})
}

// replaceFunctions makes the list given the project's functions: those it lacks are gone, the others keep their bundles.
func (s *Sandbox) replaceFunctions(c *call) (any, error) {
	var request []function
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	list := []*function{}
	for _, item := range request {
		if !isSlug(item.Slug) {
			return nil, refuse(http.StatusBadRequest, "slug: Invalid")
		}
		f := item
		f.UpdatedAt = time.Now().UnixMilli()
		if old, err := c.project.function(item.Slug); err == nil {
			f.bundle, f.CreatedAt = old.bundle, cmp.Or(item.CreatedAt, old.CreatedAt)
		}
		f.CreatedAt = cmp.Or(f.CreatedAt, f.UpdatedAt)
		list = append(list, &f)
	}
	c.project.functions = list
	return doc{"functions": list}, nil
}

// isSlug reports whether upstream would take the text as a function's slug.
func isSlug(slug string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return slug != "" && strings.Trim(slug, letters+"0123456789_-") == "" && strings.ContainsAny(slug[:1], letters)
}
