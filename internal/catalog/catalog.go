// Package catalog is the table of operations the gateway knows, and the strict parser that turns a raw request line into
// one of them. Anything that is not in the table is refused.
//
// Invariant: the path and query a Call carries are byte for byte what policy judged and what upstream will be sent. The
// package knows nothing of callers, policies or HTTP answers.
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
	TTL time.Duration // zero: never stored
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
	Touches     []string   // further things a successful call changes: "parent" (the branch's parent project), "account" (lists)
	ReadOnlyIf  string     // name of the boolean body field that makes it a Read, "" where there is none
	BodyTarget  []string   // body fields that name its organization, in order of preference
	Local       bool       // answered by the gateway itself (v1-get-profile)
	Refused     string     // why the gateway never forwards it ("" where it does), a sentence for the client
}
