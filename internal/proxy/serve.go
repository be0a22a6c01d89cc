package proxy

import "net/http"

// ServeHTTP answers one call of the proxied API.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r)
	defer p.finish(x)
	err := p.serve(x)
	x.served = true
	if err != nil {
		p.fail(x, err)
	}
}

// serve is the request's way, one straight line. An error is the client's answer; once the answer has begun, it cuts it.
func (p *Proxy) serve(x *exchange) error {
	ctx := x.r.Context()

	// 1. Parse. The error waits until step 2 has passed: strangers learn nothing about what exists.
	x.enter("parse")
	call, unparsed := p.config.Catalog.Parse(x.r.Method, x.r.RequestURI)
	x.parsed(call)

	// 2. Identify. Only a bearer token counts; session cookies are the portal's.
	x.enter("identify")
	caller, err := p.config.Authenticate(ctx, x.r.Header["Authorization"], x.record.Client.IP)
	if err != nil {
		return p.refuseStranger(x, err)
	}
	x.identified(caller)
	if unparsed != nil {
		return unparsed
	}
	rules := p.policy.Load()
	if call.Op.Refused != "" || call.Op.Local {
		return p.answerHere(rules, x)
	}

	// 3. Resolve. What the call is about, where neither path nor body says it all.
	x.enter("resolve")
	request, err := p.resolve(ctx, rules, x)
	if err != nil {
		return err
	}
	x.resolved(request)
	if p.config.RecordSQL {
		x.record.SQL = x.statement()
	}

	// 4. Authorise. The zero decision denies.
	x.enter("authorise")
	x.decided(rules.Decide(caller, x.team, request, x.began))
	if !x.decision.Allow {
		return denied(x)
	}
	if x.credential, err = p.choose(ctx, x); err != nil {
		return err
	}
	x.record.Credential = x.credential.Name()

	// 5. Intent. Nothing that changes anything goes on before it is durably recorded.
	x.enter("intent")
	if !x.isRead() {
		x.body.recordHash()
		if err := p.config.Audit.Intent(ctx, &x.record); err != nil {
			return err
		}
	} else if err := p.config.Audit.Accepting(); err != nil {
		return err
	}

	// 6. Look up, and on a miss 7 to 10: queue, forward, learn, store.
	x.enter("look up")
	if !p.buffered(x) {
		return p.stream(ctx, x, x.hidden(rules))
	}
	if call.Op.ID == pagedList {
		return p.servePages(ctx, rules, x)
	}
	found, err := p.read(ctx, x)
	if err != nil {
		return err
	}

	// 11. Narrow, to this caller, on hit and miss alike.
	x.enter("narrow")
	if found, err = p.narrow(ctx, rules, x, found); err != nil {
		return err
	}

	// 12. Respond.
	x.enter("respond")
	return p.respond(x, found)
}
