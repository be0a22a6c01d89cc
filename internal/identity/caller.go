// Package identity turns what a request presents into who is asking: a person, a workload, or a minted token standing
// for one of them.
//
// Invariant: a Caller exists only after its proof was checked. The package knows nothing of policies: which teams a
// caller belongs to is policy's business.
package identity

import (
	"sync/atomic"
	"time"
)

// Kind is what kind of caller is asking.
type Kind string

// The kinds of caller.
const (
	Person   Kind = "person"   // an OIDC subject that signed in, or presents its own access or ID token
	Workload Kind = "workload" // a CI job or service account with its platform's own OIDC token
	Token    Kind = "token"    // a minted token, standing for the person or workload that made it
)

// Restriction is what a minted token gives up of its owner's rights. The zero value gives up nothing.
type Restriction struct {
	Team     string   `json:"team,omitempty"`     // only as this team; empty: any of the owner's
	Scopes   []string `json:"scopes,omitempty"`   // only these scopes or permissions, wildcards as in the policy; empty: all
	Projects []string `json:"projects,omitempty"` // only these project refs; empty: all
}

// Caller is who is asking. It is immutable and shared between requests, so it may be compared by pointer.
type Caller struct {
	Kind    Kind
	Issuer  string         // the configured issuer's name; "" for a token created on the command line
	Subject string         // unique within its issuer
	Email   string         // "" unless the issuer says it is verified
	Name    string         // for people to read; never for decisions
	Groups  []string       // without empty ones
	Claims  map[string]any // all verified claims, for workload rules
	Token   string         // public id of the minted token, "" when there is none
	Teams   []string       // teams a token was created for on the command line (--team); they count as membership
	Limits  Restriction
	Expires time.Time

	// Memo holds what policy worked out from this caller. It lives as long as the caller is remembered, so that a
	// decision for a known caller is a look-up.
	Memo atomic.Value
}
