package policy

import (
	"corp.example/gateway/internal/catalog"
)

// Target is what a request is about, as far as it is known. Empty fields are facts that nobody looked up or that do not
// exist; an unknown fact never lets an allow match and never keeps a deny from matching.
type Target struct {
	Kind         catalog.Kind // for people and records; the operation alone decides which fields count
	Project      string       // ref: the project's, the snippet's project's, or the branch's own project's
	Organization string       // slug: the organization's, or the one the project is in
	Parent       string       // ref of the parent project where Project is a branch's own, or the operation is about a branch
	Branch       bool         // Project is a branch's own ref

	// Resolved says that the facts Wants asked for were looked up, so that an empty Parent means "this is no branch".
	// Without it a deny on some project's branches holds for every project whose parent is unknown.
	Resolved bool
}

// Request is one call as policy judges it.
type Request struct {
	Op *catalog.Operation
	// Effect is what this call does. Only where the operation has a ReadOnlyIf can it be less than the operation's own.
	// Zero is the operation's own.
	Effect catalog.Effect
	Target Target
}

// Decision is the answer to a request. The zero value denies.
type Decision struct {
	Allow   bool
	Team    string   // the team the call is made as; on a refusal the one that was judged, where there is only one
	Weight  int      // the team's share of a contended bucket, at least 1
	Rule    string   // what decided, as "policy.yaml:14 teams[0].allow[1]"; "" where no rule covers the call
	Reason  string   // for people: what was decided, why, and on a refusal whom to ask; "" for a plain allow
	Missing []string // on a refusal: scopes and permission sets ("a+b"), each enough, then the target ("project:…") where that lacks
	Shadow  Shadow   // what the shadow rules would change
}

// Shadow is what a decision would have been with the shadow rules in force. The zero value: the same.
type Shadow struct {
	Rule  string // the shadow rule that would have decided otherwise
	Allow bool   // what it would have decided
}

// Changes reports whether a shadow rule would have decided otherwise.
func (s Shadow) Changes() bool { return s.Rule != "" }

// query is a request in the form that compiled rules are asked in.
type query struct {
	bit    int // operation's column in a grant's bits
	effect effects
	kind   catalog.Kind
	target Target
	now    int64 // Unix seconds
}

// query turns a request into its judged form. ok is false for an operation the policy was not compiled for.
func (p *Policy) query(r Request, now int64) (q query, ok bool) {
	op := p.own(r.Op)
	if op == nil || op.Effect == 0 {
		return query{}, false
	}
	effect := max(op.Effect, r.Effect)
	bit := op.Index
	if r.Effect == catalog.Read && op.ReadOnlyIf != "" {
		effect, bit = catalog.Read, len(p.ops)+op.Index
	}
	return query{bit: bit, effect: effectBit(effect), kind: op.Target, target: r.Target, now: now}, true
}

// own returns the policy's own operation for op, nil where it has none: an index of another catalogue would point at
// another operation's column.
func (p *Policy) own(op *catalog.Operation) *catalog.Operation {
	if op == nil {
		return nil
	}
	if i := op.Index; i >= 0 && i < len(p.ops) && p.ops[i] == op {
		return op
	}
	return p.catalog.Lookup(op.ID)
}
