// Package policy decides what a caller may do: it compiles policy.yaml and answers every call with a Decision.
//
// Invariant: nothing is allowed that one single grant does not cover whole, a deny of any of the caller's teams beats
// every allow, and the zero Decision denies. A decision is a pure function of the policy, the caller, the request and the
// time; it reads no clock, file or network. Facts that are not in a request (which organization a project is in, whose
// branch it is) are handed in: Wants says which of them could matter, and looking them up is the caller's business.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
)

// MaxFileBytes bounds a policy file. One of 1,000 teams with 20 grants each takes about 3 MiB.
const MaxFileBytes = 16 << 20

// Policy is one compiled policy file. It is immutable and safe for concurrent use; a reload makes a new one.
type Policy struct {
	file    string
	version string
	contact string // whom to ask where no team says so
	catalog *catalog.Catalog
	ops     []*catalog.Operation // by Operation.Index
	teams   []*team              // in the order of the file
	byName  map[string]*team
	members memberIndex
	items   map[catalog.List][]*catalog.Operation // the operations that read one item of a list
	secrets []*catalog.Operation                  // the operations that stand for secrets in other answers
	named   []namedIssuer                         // issuers the members name, for CheckIssuers
	shadows bool                                  // some team has a shadow rule
	ends    []int64                               // when grants end, sorted, Unix seconds
	shelf   shelf
}

// team is one compiled team.
type team struct {
	index   int // position in the file
	name    string
	contact string
	weight  int
	admin   bool
	book
}

// book is the rules of one team, or of several read as one.
type book struct {
	allow   rules
	deny    rules
	trial   rules // allow grants marked shadow
	tighter rules // deny grants marked shadow
}

// lists returns all four, always in the same order.
func (b *book) lists() [4]*rules { return [4]*rules{&b.allow, &b.deny, &b.trial, &b.tighter} }

// Load compiles a policy against a catalogue and runs its tests. file is the name that faults and rules carry. An error
// is of type strictyaml.Faults and holds everything that is wrong with the file.
func Load(file string, data []byte, cat *catalog.Catalog) (*Policy, error) {
	if len(data) > MaxFileBytes {
		return nil, strictyaml.Faults{{File: file, Message: fmt.Sprintf("the policy is over %d MiB: split it or use sets", MaxFileBytes>>20)}}
	}
	var doc document
	source, err := strictyaml.Decode(file, data, &doc)
	c := &compiler{source: source, catalog: cat, doc: &doc}
	c.adopt(err)
	p := c.policy(file)
	hash := sha256.Sum256(data)
	p.version = hex.EncodeToString(hash[:8])
	if len(c.faults) == 0 {
		// Tests of a policy that does not compile would only repeat its faults.
		c.runTests(p)
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return p, nil
}

// Version names the content of the file: the first 16 hex digits of its SHA-256.
func (p *Policy) Version() string { return p.version }

// File returns the name the policy was loaded under.
func (p *Policy) File() string { return p.file }

// Contact returns whom to ask who belongs to no team, "" where the policy does not say.
func (p *Policy) Contact() string { return p.contact }

// Weight returns the team's share of a contended bucket, 1 for an unknown team.
func (p *Policy) Weight(name string) int {
	if t := p.byName[name]; t != nil {
		return t.weight
	}
	return 1
}

// TeamNames returns the names of all teams in the order of the file: the closed set for metrics.
func (p *Policy) TeamNames() []string {
	names := make([]string, len(p.teams))
	for i, t := range p.teams {
		names[i] = t.name
	}
	return names
}

// CheckIssuers returns a fault for each member that names an issuer which is not among the configured ones, nil where all
// are known. Load cannot do it: issuers are no part of the policy file.
func (p *Policy) CheckIssuers(configured []string) error {
	var faults strictyaml.Faults
	for _, n := range p.named {
		if !contains(configured, n.issuer) {
			fault := n.place
			fault.Message = fmt.Sprintf("unknown issuer %q%s: name one under identity.issuers", n.issuer, didYouMean(n.issuer, configured))
			faults = append(faults, fault)
		}
	}
	return faults.Err()
}
