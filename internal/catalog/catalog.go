// Package catalog is the table of operations the gateway knows, and the strict parser that turns a raw request line into
// one of them. Anything that is not in the table is refused.
//
// Invariant: the path and query a Call carries are byte for byte what policy judged and what upstream will be sent. The
// package knows nothing of callers or policies and decides nothing: what an operation needs is data here, whether a caller
// has it is policy's business.
package catalog

import "time"

// Effect is what a call does upstream. It is data of the table and does not follow from the verb.
type Effect uint8

// The effects, in rising order of harm.
const (
	Read        Effect = iota + 1 // changes nothing
	Write                         // changes something that can be changed back
	Destructive                   // deletes, pauses, restores over or resets
)

// Kind says what a call is about.
type Kind uint8

// The kinds of target.
const (
	Account      Kind = iota + 1 // the credential's own account: no project, no organization
	Organization                 // {slug}
	Project                      // {ref}
	Branch                       // {branch_id_or_ref}
	Snippet                      // {id} of a snippet
)

// List says how an answer that lists several targets is narrowed to one caller.
type List uint8

// The list shapes. NotAList is the zero value.
const (
	NotAList          List = iota
	ListProjects           // array of projects: ref, organization
	ListOrganizations      // array of organizations: id and slug
	ListOrgProjects        // {"projects": [...], "pagination": {...}}
	ListSnippets           // {"data": [...], "cursor": …}
	ListBranches           // array of branches: id, project_ref, parent_project_ref
)

// Limit is one upstream rate limit: at most N requests in each Window.
type Limit struct {
	N      int
	Window time.Duration
}

// Class is a limit class: a set of operations that upstream counts by its own limits. One call can spend several limits.
type Class struct {
	Name   string // "default", "logs", "context", "hostname", "vanity", "migrations"
	Limits []Limit
}

// Cache is an operation's rule where upstream says nothing about freshness.
type Cache struct {
	TTL    time.Duration // zero: never stored
	Errors bool          // error answers are stored, too
	Strict bool          // no answer older than TTL is served, whatever upstream says and though it fails
}

// Operation is one row of the catalogue. It is immutable once loaded.
type Operation struct {
	ID          string     // upstream's operation id, for example "v1-get-project"
	Index       int        // position in its Catalog, for tables resolved once per operation
	Method      string     // upper case
	Path        string     // template, for example "/v1/projects/{ref}"
	Effect      Effect     // what it does when nothing in its body says otherwise
	Target      Kind       // what it is about
	Scope       string     // OAuth scope, "" where upstream has none
	Permissions [][]string // alternatives; each is a set that must be granted whole
	Assumed     bool       // scope and permissions were given by analogy, upstream publishes none
	Class       *Class     // whose limits it spends
	Cache       Cache      // freshness where upstream is silent
	Secret      bool       // its answer carries secrets: never stored in the clear
	SecretBody  []string   // names of the secret-bearing JSON fields in its answer, at any depth
	List        List       // how its answer is narrowed
	Touches     []string   // what else a successful call changes, beside its target: Parent, InOrganization, InAccount
	Repeat      []string   // query parameters that may stand more than once; their order is kept
	ReadOnlyIf  string     // name of the boolean body field that makes it a Read, "" where there is none
	ReadNeeds   Needs      // what it needs when ReadOnlyIf makes it a Read; meaningless without ReadOnlyIf
	BodyTarget  []string   // body fields that name its organization, in order of preference
	Local       bool       // answered by the gateway itself (v1-get-profile)
	Refused     string     // why the gateway never forwards it ("" where it does), a sentence for the client

	params      []string // names of the path parameters, in the order of the path
	targetParam int      // which of them names the target; -1: none does
}

// What a call can change beside its own target, as Operation.Touches names it.
const (
	Parent         = "parent"       // the parent project of the branch it is about
	InOrganization = "organization" // the organization's lists, which show the project
	InAccount      = "account"      // the account's lists, which show the project or organization
)

// Needs is what a grant must hold to cover a call: the scope, or one of the permission sets.
type Needs struct {
	Scope       string     // OAuth scope, "" where upstream has none
	Permissions [][]string // alternatives; each is a set that must be granted whole
}

// Needs returns what a call of this operation needs when it has the given effect. The two differ only where a body
// field makes a write a read (ReadOnlyIf): upstream lists both permissions there as alternatives and holds the query to
// the one the caller has, but the gateway's credential has both, so taking them as alternatives would let a reader write.
func (o *Operation) Needs(effect Effect) Needs {
	if o.ReadOnlyIf != "" && effect == Read {
		return o.ReadNeeds
	}
	return Needs{Scope: o.Scope, Permissions: o.Permissions}
}
