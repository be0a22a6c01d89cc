package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// exchange is one request on its way. The steps fill it in; the deferred finish turns it into an audit record, metrics
// and a log line, on every path.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	began  time.Time
	id     string // request id
	call   catalog.Call
	caller *identity.Caller
	team   string // the one the caller asked to act as, "" for any
	body   requestBody

	request    policy.Request  // the call as policy judged it
	decision   policy.Decision // what policy said
	credential *credential.Credential
	scope      string // see quotaScope; "" until asked for
	record     audit.Record
	answer     answer
	trace      tracing
	served     bool // the line has returned; where it has not when finish runs, a panic is passing
}

// answer is what the client was told.
type answer struct {
	status int
	bytes  int64
	code   problem.Code // "" unless the gateway refused, failed or cut the answer
}

func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := p.exchanges.Get().(*exchange)
	x.w, x.began, x.body = w, time.Now(), newRequestBody(r)
	x.r, x.trace = p.beginTrace(r)
	x.team = strings.Join(r.Header["X-Gateway-Team"], ", ") // a second line makes a name that no team has
	x.id = w.Header().Get("X-Request-Id")
	x.record.ID, x.record.RequestID = x.id, x.id // one call a request: no need to draw lots again
	x.record.TraceID = traceID(x.r.Context())
	x.record.Method = r.Method
	x.record.Path = r.RequestURI // as received; the log cuts the query off
	x.record.Client = audit.Client{IP: p.config.TrustedProxies.Of(r), UserAgent: r.UserAgent()}
	return x
}

// recycle keeps the exchange, two KiB, for another request. Nothing that outlives a request may refer to it: a fetch that
// others wait for, or a body that the transport still sends, has copies of what it needs.
func (p *Proxy) recycle(x *exchange) {
	*x = exchange{}
	p.exchanges.Put(x)
}

// parsed notes what is called.
func (x *exchange) parsed(call catalog.Call) {
	x.call = call
	if call.Op != nil {
		x.record.Operation = call.Op.ID
	}
}

// identified notes who calls.
func (x *exchange) identified(caller *identity.Caller) {
	x.caller = caller
	x.record.Caller = audit.Caller{Kind: string(caller.Kind), Issuer: caller.Issuer, Subject: caller.Subject, Email: caller.Email, Token: caller.Token}
}

// resolved notes what the call is about.
func (x *exchange) resolved(request policy.Request) {
	x.request = request
	x.record.Target = audit.Target{Kind: request.Target.Kind.String(), Project: request.Target.Project, Organization: request.Target.Organization, Parent: request.Target.Parent}
}

// decided notes what policy said.
func (x *exchange) decided(d policy.Decision) {
	x.decision = d
	x.record.Team = d.Team
	x.record.Decision = audit.Decision{Allow: d.Allow, Rule: d.Rule, Reason: d.Reason, Shadow: d.Shadow.Rule}
}

// isRead reports whether the call changes nothing.
func (x *exchange) isRead() bool { return x.request.Effect == catalog.Read }

// finish records how the request ended. It runs deferred, so also while a panic passes, which it leaves alone.
func (p *Proxy) finish(x *exchange) {
	took := time.Since(x.began)
	x.body.end()
	if x.served {
		defer p.recycle(x)
	} else {
		x.answer.code = problem.Internal
		if x.answer.status == 0 {
			x.answer.status = http.StatusInternalServerError // by the middleware that recovers from the panic
		}
	}
	x.record.Time = x.began.Add(took)
	x.record.Status, x.record.Bytes = x.answer.status, x.answer.bytes
	x.record.Outcome = x.outcome()
	x.record.BodySHA256 = x.body.sha256()
	// The record must be kept though the client, and with it the request's context, may be gone.
	if err := p.config.Audit.Outcome(context.Background(), &x.record); err != nil {
		p.config.Log.Error("outcome not recorded", "request_id", x.id, "error", err)
	}
	p.metrics.count(answerLabels{
		operation: x.record.Operation,
		team:      x.record.Team,
		outcome:   x.record.Outcome,
		status:    x.answer.status,
		cache:     x.record.Cache,
		decision:  x.decisionLabel(),
	}, took, x.trace.exemplar())
	x.trace.end(x)
	p.shadowed(x)
	if !p.config.Log.Enabled(x.r.Context(), slog.LevelDebug) {
		return // the audit log is the record; without this check each field would be allocated for nothing
	}
	p.config.Log.Debug("request", "request_id", x.id, "trace_id", x.record.TraceID, "operation", x.record.Operation,
		"team", x.record.Team, "status", x.answer.status, "outcome", x.record.Outcome, "cache", x.record.Cache, "took", took)
}

// outcome is the closed word for how the request ended.
func (x *exchange) outcome() string {
	switch {
	case x.answer.code != "":
		return string(x.answer.code)
	case x.answer.status >= 400:
		return "upstream_error"
	default:
		return "ok"
	}
}

func (x *exchange) decisionLabel() string {
	switch {
	case x.decision.Allow:
		return "allow"
	case x.decision.Reason != "":
		return "deny"
	default:
		return "" // the request ended before policy was asked
	}
}

// fail answers with the problem in err. Where the answer has begun it is cut, so that a part is not taken for the whole;
// and where the client has left the connection is, since net/http would answer 200 for a handler that wrote nothing.
func (p *Proxy) fail(x *exchange, err error) {
	found := problem.From(p.translate(x, err))
	x.answer.code = found.Code
	if found.Err != nil {
		p.config.Log.Log(x.r.Context(), levelOf(found), "request failed", "request_id", x.id, "operation", x.record.Operation, "code", found.Code, "error", found.Err)
	}
	begun := x.answer.status != 0
	if !begun {
		x.answer.status = found.Status
	}
	if begun || found.Code == problem.ClientGone {
		panic(http.ErrAbortHandler)
	}
	h := x.w.Header()
	h["Cache-Status"] = []string{"gateway; detail=" + string(found.Code)} // neither from the cache nor from upstream (RFC 9211 section 2)
	p.tellTiming(x, h)
	if x.credential != nil { // the call has a quota: a client that is told to wait for it may look at either header
		p.tellQuota(x, h)
	}
	x.answer.bytes = int64(problem.Write(x.w, x.id, found))
}

// translate gives errors of the client's making their own answer.
func (p *Proxy) translate(x *exchange, err error) error {
	var tooLarge *http.MaxBytesError
	fault := x.body.fault()
	switch {
	case errors.As(err, &tooLarge), errors.As(fault, &tooLarge):
		return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, "The request body is over the gateway's limit of %d bytes. The platform team can raise server.max_body.", tooLarge.Limit)
	case x.r.Context().Err() != nil:
		return clientGone(err)
	case fault != nil:
		return problem.New(http.StatusBadRequest, problem.BadRequest, "The request body broke off or came too slowly.").Because(err)
	default:
		return err
	}
}

// clientGone is the end of a request whose client left or takes no more of its answer. Nobody reads its text.
func clientGone(err error) error {
	return problem.New(499, problem.ClientGone, "The client left before the end of its answer.").Because(err)
}
