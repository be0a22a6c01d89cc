package catalog

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxTemplate bounds a path template; the longest of the table has 109 bytes.
const maxTemplate = 512

// The forms of what a row names. Ids become metric labels and are written in policies.
var (
	idForm         = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$`)
	paramForm      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	segmentForm    = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,63}$`)
	scopeForm      = regexp.MustCompile(`^[a-z][a-z_]*:[a-z]+$`)
	permissionForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	queryNameForm  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// reserved are the paths the gateway answers itself; an extra row cannot take them.
var reserved = []string{"/-/", "/cli/", "/platform/"}

// compiling turns rows into operations and collects what is wrong with them.
type compiling struct {
	known      map[string]*pattern // the well-known path parameters
	classes    map[string]*Class
	limits     map[string][]rowLimit
	operations []*Operation
	patterns   [][]*pattern // per operation, of its path parameters in order
	faults     Faults

	origin  int  // of the row in hand
	current *Row // the row in hand
}

func newCompiling(own table) *compiling {
	c := &compiling{known: map[string]*pattern{}, classes: map[string]*Class{}, limits: own.Classes}
	for name, source := range own.Params {
		p, err := compilePattern(source)
		if err != nil {
			panic(fmt.Sprintf("embedded operations.yaml: params.%s: %v", name, err))
		}
		c.known[name] = p
	}
	for name, limits := range own.Classes {
		class := &Class{Name: name}
		for _, l := range limits {
			class.Limits = append(class.Limits, Limit{N: l.N, Window: time.Duration(l.Window)})
		}
		c.classes[name] = class
	}
	return c
}

func (c *compiling) fault(key, format string, args ...any) {
	c.faults = append(c.faults, Fault{Row: c.origin, ID: c.current.ID, Key: key, Message: fmt.Sprintf(format, args...)})
}

// row compiles one row.
func (c *compiling) row(origin int, row *Row) {
	c.origin, c.current = origin, row
	op := &Operation{
		ID: row.ID, Index: len(c.operations), Method: row.Method, Path: row.Path, Effect: row.Effect,
		Scope: row.Scope, Permissions: c.permissions("permissions", row.Permissions), Assumed: row.Assumed,
		Class: c.class(row.Limit), Secret: row.Secret || len(row.SecretBody) > 0, SecretBody: row.SecretBody, List: row.List,
		Touches: row.Touches, Repeat: row.Repeat, BodyTarget: row.BodyTarget, Local: row.Local, Refused: row.Refused,
	}
	if row.Cache != nil {
		op.Cache = Cache{TTL: time.Duration(row.Cache.TTL), Errors: row.Cache.Errors, Strict: row.Cache.Strict}
	}
	if row.ReadOnlyIf != nil {
		op.ReadOnlyIf = row.ReadOnlyIf.Field
		op.ReadNeeds = Needs{Scope: row.ReadOnlyIf.Scope, Permissions: c.permissions("read_only_if.permissions", row.ReadOnlyIf.Permissions)}
	}
	c.identity(row)
	patterns := c.template(op, row)
	c.target(op, row)
	c.consistency(row)
	c.operations, c.patterns = append(c.operations, op), append(c.patterns, patterns)
}

func (c *compiling) identity(row *Row) {
	switch {
	case row.ID == "":
		c.fault("id", "every row needs an id")
	case !idForm.MatchString(row.ID):
		c.fault("id", "%q is no id: letters, digits, spaces and . _ -, at most 80", row.ID)
	}
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if !slices.Contains(methods, row.Method) {
		c.fault("method", "%q is no method of this API: write one of %s", row.Method, strings.Join(methods, ", "))
	}
	if row.Effect == 0 {
		c.fault("effect", "say what it does: read, write or destructive")
	}
	if row.Scope != "" && !scopeForm.MatchString(row.Scope) {
		c.fault("scope", "%q is no scope: write it as database:read", row.Scope)
	}
}

// template reads the path and returns the patterns of its parameters.
func (c *compiling) template(op *Operation, row *Row) []*pattern {
	if len(row.Path) < 2 || row.Path[0] != '/' || len(row.Path) > maxTemplate {
		c.fault("path", "%q is no path template: write it as /v2/projects/{ref}/things, at most %d bytes", row.Path, maxTemplate)
		return nil
	}
	for _, prefix := range reserved {
		if strings.HasPrefix(row.Path+"/", prefix) {
			c.fault("path", "the gateway answers %s itself: no operation can be there", prefix)
		}
	}
	var patterns []*pattern
	for segment := range strings.SplitSeq(row.Path[1:], "/") {
		name, isParam := paramName(segment)
		switch {
		case !isParam && !segmentForm.MatchString(segment):
			c.fault("path", "%q is no segment: letters, digits and . _ ~ -, or a {parameter}", segment)
		case isParam && !paramForm.MatchString(name):
			c.fault("path", "%q is no parameter: lower-case letters, digits and _ between the braces", segment)
		case isParam && slices.Contains(op.params, name):
			c.fault("path", "{%s} stands twice: give each parameter its own name", name)
		case isParam:
			op.params = append(op.params, name)
			patterns = append(patterns, c.pattern(name, row))
		}
	}
	if len(op.params) > maxParams {
		c.fault("path", "it has %d parameters; at most %d are taken", len(op.params), maxParams)
	}
	for _, name := range slices.Sorted(maps.Keys(row.Params)) {
		if !slices.Contains(op.params, name) {
			c.fault("params."+name, "the path has no {%s}", name)
		}
	}
	return patterns
}

// pattern returns the pattern of a parameter. On a fault it is the never-matching one; the table will not be used.
func (c *compiling) pattern(name string, row *Row) *pattern {
	source, own := row.Params[name]
	known := c.known[name]
	switch {
	case own:
		p, err := compilePattern(source)
		if err != nil {
			c.fault("params."+name, "%v", err)
			return &pattern{}
		}
		return p
	case known == nil:
		c.fault("params."+name, "say what {%s} may be, as a regular expression of the whole segment, for example \"[0-9a-f-]{36}\"", name)
		return &pattern{}
	default:
		return known
	}
}

// targetParams says which path parameter names a target of each kind.
var targetParams = map[Kind]string{Organization: "slug", Project: "ref", Branch: "branch_id_or_ref", Snippet: "id"}

// target settles what the operation is about. What names the target is matched by its one well-known pattern, since
// policies, credentials and caches compare it byte for byte.
func (c *compiling) target(op *Operation, row *Row) {
	op.Target, op.targetParam = row.Target, -1
	if op.Target == 0 {
		op.Target = Account
		for _, kind := range []Kind{Project, Branch, Organization} {
			if slices.Contains(op.params, targetParams[kind]) {
				op.Target = kind
				break
			}
		}
	}
	name, inPath := targetParams[op.Target]
	if !inPath || len(row.BodyTarget) > 0 {
		return
	}
	if op.targetParam = slices.Index(op.params, name); op.targetParam < 0 {
		c.fault("target", "a %s is named by {%s}, which the path lacks: name the parameter so, or choose another target", op.Target, name)
	}
	if _, own := row.Params[name]; own {
		c.fault("params."+name, "what names the target has one form for all operations: take the pattern out")
	}
}

// consistency checks what the keys of a row say together.
func (c *compiling) consistency(row *Row) {
	if row.Cache != nil && row.Cache.TTL > 0 && (row.Effect != Read || row.Method != http.MethodGet) {
		c.fault("cache", "only GET operations that read can be cached")
	}
	if row.Cache != nil && (row.Cache.Errors || row.Cache.Strict) && row.Cache.TTL <= 0 {
		c.fault("cache", "nothing of this operation is stored, so errors and strict mean nothing: give ttl as well")
	}
	if row.List != NotAList && (row.Effect != Read || row.Method != http.MethodGet) {
		c.fault("list", "only GET operations that read are narrowed")
	}
	if row.ReadOnlyIf != nil && (row.ReadOnlyIf.Field == "" || row.Effect != Write) {
		c.fault("read_only_if", "it names the boolean body field that makes a write a read: give field, and effect: write")
	}
	if len(row.BodyTarget) > 0 && row.Target != Organization {
		c.fault("body_target", "the body can name an organization only: say target: organization")
	}
	for i, touched := range row.Touches {
		if touched != Parent && touched != InOrganization && touched != InAccount {
			c.fault(fmt.Sprintf("touches[%d]", i), "%q is nothing that can be touched: write %s, %s or %s", touched, Parent, InOrganization, InAccount)
		}
	}
	for i, name := range row.Repeat {
		if !queryNameForm.MatchString(name) {
			c.fault(fmt.Sprintf("repeat[%d]", i), "%q is no name of a query parameter: letters, digits and . _ -", name)
		}
	}
	if row.Local && c.origin != embeddedOrigin {
		c.fault("local", "the gateway has no answer of its own for this: take the key out")
	}
}

// permissions reads alternatives written as "a+b".
func (c *compiling) permissions(key string, written []string) [][]string {
	var sets [][]string
	for i, alternative := range written {
		set := strings.Split(alternative, "+")
		for _, permission := range set {
			if !permissionForm.MatchString(permission) {
				c.fault(fmt.Sprintf("%s[%d]", key, i), "%q is no permission: write it as database_read, and a+b where both are needed", permission)
			}
		}
		sets = append(sets, set)
	}
	return sets
}

func (c *compiling) class(name string) *Class {
	if name == "" {
		name = "default"
	}
	class := c.classes[name]
	if class == nil {
		c.fault("limit", "%s", unknownClass(name, c.limits))
	}
	return class
}
