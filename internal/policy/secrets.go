package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/identity"
)

// secretOperations returns the operations that stand for a project's secrets, the one for all of them first.
func secretOperations(cat *catalog.Catalog) []*catalog.Operation {
	all := cat.Lookup("v1-get-project-api-keys") // they open everything that the other secrets open
	if all == nil {
		return nil
	}
	stands := []*catalog.Operation{all}
	if database := cat.Lookup("v1-create-login-role"); database != nil { // makes a password for the database
		stands = append(stands, database)
	}
	return stands
}

// View names everything that Visible and Reveals decide by, the target aside: two callers with the same view see the same
// of every answer, now and until the view of one of them changes. It is a key for keeping narrowed answers.
func (p *Policy) View(c *identity.Caller, pick string, now time.Time) string {
	if c == nil {
		return ""
	}
	m := p.member(c)
	ended, _ := slices.BinarySearch(p.ends, now.Unix()+1)
	view := append(make([]byte, 0, 128), p.version...)
	view = strconv.AppendInt(append(view, ' '), int64(ended), 10)
	for _, t := range m.teams {
		view = strconv.AppendInt(append(view, ' '), int64(t.index), 10)
	}
	for _, part := range [][]string{{pick, c.Limits.Team}, c.Limits.Scopes, c.Limits.Projects} {
		view = append(view, ';')
		for _, word := range part {
			view = strconv.AppendQuote(view, word)
		}
	}
	return string(view)
}

// Reveals reports whether the caller may see the secret fields of an answer (Operation.SecretBody). It may where secrets
// are what the operation is about, where the call made the secret, or where the caller may read the same project's API
// keys; for answers about the database also where it may make itself a database password.
func (p *Policy) Reveals(c *identity.Caller, pick string, r Request, now time.Time) bool {
	op := p.own(r.Op)
	if c == nil || op == nil {
		return false
	}
	if revealsItself(op) {
		return true
	}
	m := p.member(c)
	_, granted := m.acting(pick)
	return slices.ContainsFunc(p.standsForSecrets(op), func(stand *catalog.Operation) bool {
		q := secretsQuery(stand, r.Target, now.Unix())
		deny, _ := m.rules.deny.holds(&q)
		return deny == nil && m.within(&q) && granted.allow.find(&q) != nil
	})
}

// revealsItself reports whether whoever may make the call may see all of its answer.
func revealsItself(op *catalog.Operation) bool {
	return strings.HasPrefix(op.Scope, "secrets:") || (op.Method == "POST" && op.Effect != catalog.Read)
}

// standsForSecrets returns the operations of which one must be allowed to see the secret fields of op's answer. A
// catalogue without them reveals nothing.
func (p *Policy) standsForSecrets(op *catalog.Operation) []*catalog.Operation {
	switch {
	case revealsItself(op):
		return nil
	case strings.HasPrefix(op.Scope, "database:"):
		return p.secrets
	default:
		return p.secrets[:min(1, len(p.secrets))]
	}
}

// secretsQuery asks for one of those operations on the target of another. A branch's own project may be unknown, which for
// the kind of a snippet's project is no reason to refuse.
func secretsQuery(op *catalog.Operation, t Target, now int64) query {
	return query{bit: op.Index, effect: effectBit(op.Effect), kind: catalog.Snippet, target: t, now: now}
}
