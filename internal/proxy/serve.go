package proxy

import (
	"net/http"

	"corp.example/gateway/internal/problem"
)

// ServeHTTP answers one call of the proxied API.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r)
	defer p.finish(x)
	if err := p.serve(x); err != nil {
		p.fail(x, err)
	}
}

// serve is the request's way, one straight line. An error is the client's answer; once the answer has begun, it cuts it.
func (p *Proxy) serve(x *exchange) error {
	ctx := x.r.Context()

	// 1. Parse. The error waits until step 2 has passed: strangers learn nothing about what exists.
	call, unparsed := p.config.Catalog.Parse(x.r.Method, x.r.RequestURI)
	x.parsed(call)

	// 2. Identify. Only a bearer token counts; session cookies are the portal's.
	caller, err := p.config.Authenticate(ctx, x.r.Header["Authorization"], x.record.Client.IP)
	if err != nil {
		return p.refuseStranger(x, err)
	}
	x.identified(caller)
	if unparsed != nil {
		return unparsed
	}
	if call.Op.Refused != "" {
		return problem.New(http.StatusForbidden, problem.Denied, "%s", call.Op.Refused)
	}
	if call.Op.Local {
		return p.answerProfile(x)
	}

	// 3. Resolve. What the call is about, where neither path nor body says it all.
	rules := p.policy.Load()
	request, err := p.resolve(ctx, rules, x)
	if err != nil {
		return err
	}
	x.resolved(request)

	// 4. Authorise. The zero decision denies.
	x.decided(rules.Decide(caller, x.team(), request, x.began))
	if !x.decision.Allow {
		return denied(x)
	}
	if x.credential, err = p.config.Credentials.Choose(call.Op, request.Effect, credentialTarget(request.Target), x.began); err != nil {
		return err
	}
	x.record.Credential = x.credential.Name()

	// 5. Intent. Nothing that changes anything goes on before it is durably recorded.
	if !x.isRead() {
		x.body.recordHash()
		if err := p.config.Audit.Intent(ctx, &x.record); err != nil {
			return err
		}
	} else if err := p.config.Audit.Accepting(); err != nil {
		return err
	}

	// 6. Look up, and on a miss 7 to 10: queue, forward, learn, store.
	if !p.buffered(x) {
		return p.stream(ctx, x, x.hidden(rules))
	}
	found, err := p.read(ctx, x)
	if err != nil {
		return err
	}

	// 11. Narrow, to this caller, on hit and miss alike.
	if found, err = p.narrow(ctx, rules, x, found); err != nil {
		return err
	}

	// 12. Respond.
	return p.respond(x, found)
}
