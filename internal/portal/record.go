package portal

import (
	"context"
	"net/http"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/problem"
)

// The operations that the portal itself does and records, named as docs/audit.md has them.
const (
	tokenCreated = "gateway-token-create"
	tokenRevoked = "gateway-token-revoke"
	cachePurged  = "gateway-cache-purge"
	appConnected = "gateway-credential-connect"
)

// change is what the portal is about to do.
type change struct {
	operation string
	rule      string // why the visitor may
	target    audit.Target
	detail    string // what it does, for people; do may say more
	status    int    // what the client is told where it is done
	do        func(*change) error
}

// Why the visitor may, as the audit record says it.
const (
	ruleOwn   = "built in: everybody may make and revoke tokens of their own"
	ruleAdmin = "built in: administrators of the gateway may"
)

// recorded does what its record announces: as with calls that change something upstream, nothing is done before the
// intent is on stable storage, and how it ended is recorded too.
func (p *Portal) recorded(v *visit, c change) error {
	record := audit.Record{
		RequestID: v.id(), Operation: c.operation, Method: v.r.Method, Path: v.path, Target: c.target, Detail: c.detail,
		Caller:   audit.Caller{Kind: string(v.caller.Kind), Issuer: v.caller.Issuer, Subject: v.caller.Subject, Email: v.caller.Email, Token: v.caller.Token},
		Client:   audit.Client{IP: p.config.TrustedProxies.Of(v.r), UserAgent: v.r.UserAgent()},
		Decision: audit.Decision{Allow: true, Rule: c.rule},
	}
	if err := p.config.Audit.Intent(v.r.Context(), &record); err != nil {
		return err
	}
	record.Status, record.Outcome = http.StatusInternalServerError, string(problem.Internal) // what a panic leaves
	defer func() {
		record.Detail = c.detail
		// The record must be kept though the client, and with it the request's context, may be gone.
		if err := p.config.Audit.Outcome(context.WithoutCancel(v.r.Context()), &record); err != nil {
			p.config.Log.Error("outcome not recorded", "request_id", v.id(), "error", err)
		}
	}()
	err := c.do(&c)
	if record.Status, record.Outcome = c.status, "ok"; err != nil {
		fault := problem.From(err)
		record.Status, record.Outcome = fault.Status, string(fault.Code)
	}
	return err
}
