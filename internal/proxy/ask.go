package proxy

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/credential"
	"corp.example/gateway/internal/limiter"
	"corp.example/gateway/internal/problem"
)

// errand is one call to be made upstream. It belongs to no request, since several may wait for its answer and the one
// that began it may leave.
type errand struct {
	call       catalog.Call
	method     string
	isRead     bool
	header     http.Header // the client's, to pick from
	body       *requestBody
	credential *credential.Credential
	turn       limiter.Ask
	renewed    bool        // upstream refused the credential once, and there was another secret to go on with
	send       func() bool // asked at the last moment whether anybody still waits for the answer; nil: somebody does
}

// asked is what an errand brought.
type asked struct {
	response *http.Response // the last that came; its body is closed where ask failed
	sent     bool
	queued   time.Duration // in all its turns
	took     time.Duration // from sending to the answer's header, the last time
}

// upstream is the part of it that is recorded.
func (a *asked) upstream() audit.Upstream {
	met := audit.Upstream{Duration: a.took}
	if a.response != nil {
		met.Status, met.RequestID = a.response.StatusCode, first(a.response.Header, "X-Request-Id")
	}
	return met
}

// errand describes the exchange's call upstream.
func (x *exchange) errand(maxWait time.Duration) errand {
	if maxWait == 0 {
		maxWait = -1 // to the limiter zero is its own longest wait, and what is below is none
	}
	return errand{
		call:       x.call,
		method:     x.r.Method,
		isRead:     x.isRead(),
		header:     x.r.Header,
		body:       &x.body,
		credential: x.credential,
		turn: limiter.Ask{
			Owner:   x.credential.Owner(),
			Scope:   x.quotaScope(),
			Op:      x.call.Op,
			Team:    x.decision.Team,
			Weight:  x.decision.Weight,
			MaxWait: maxWait,
			Batch:   prefers(x.r.Header, "batch"),
		},
	}
}

// choose picks the credential that the call is made with. Where one reaches only some organizations, that of the project
// must be known, though policy may not have asked for it.
func (p *Proxy) choose(ctx context.Context, x *exchange) (*credential.Credential, error) {
	target := credentialTarget(x.request.Target)
	if target.Project != "" && target.Organization == "" && p.config.Credentials.WantsOrganization() {
		project, err := p.inventory.Project(ctx, target.Project)
		if err = unknownIsFine(err); err != nil {
			return nil, undetermined(err)
		}
		target.Organization = project.Organization
	}
	return p.config.Credentials.Choose(x.call.Op, x.request.Effect, target, x.began)
}

// quotaScope names the quota that upstream takes a call from: the project or organization that its path or body names,
// else the account. The name is made once, and asked for several times.
func (x *exchange) quotaScope() string {
	if x.scope == "" {
		switch target := x.call.Target; {
		case target.Kind == catalog.Project:
			x.scope = "project:" + target.ID
		case target.Kind == catalog.Organization:
			x.scope = "organization:" + target.ID
		case len(x.call.Op.BodyTarget) > 0:
			x.scope = "organization:" + x.request.Target.Organization
		default:
			x.scope = "account"
		}
	}
	return x.scope
}

// ask is steps 7 to 9. The response's body is still to be read, and scrubbed of our credential.
func (p *Proxy) ask(ctx context.Context, e errand) (asked, error) {
	var a asked
	var slot *limiter.Slot
	for {
		// 7. Queue for a slot in every bucket the call spends.
		var err error
		if slot, err = p.queue(ctx, &e, &a, slot); err != nil {
			return a, err
		}

		// 8. Forward.
		bearer, err := e.credential.Bearer(ctx)
		if err != nil {
			slot.Unsent()
			return a, err
		}
		if e.send != nil && !e.send() {
			slot.Unsent()
			return a, context.Canceled
		}
		a.sent = true
		began := time.Now()
		forwarding, span := p.span(ctx, "forward", trace.SpanKindClient, e.call.Op)
		a.response, err = p.config.Upstream.forward(forwarding, e.method, &e.call, e.header, e.body, bearer)
		ended := time.Now()
		a.took = ended.Sub(began)
		if err != nil {
			answered(span, 0)
			p.metrics.upstreamAnswered(e.call.Op, 0, ended, a.took)
			slot.Lost()
			return a, unanswered(err, e.isRead)
		}
		answered(span, a.response.StatusCode)
		p.metrics.upstreamAnswered(e.call.Op, a.response.StatusCode, ended, a.took)

		// 9. Learn.
		slot.Learn(a.response.StatusCode, a.response.Header)
		again, err := p.observe(ctx, &e, bearer, a.response, ended)
		switch status := a.response.StatusCode; {
		case err != nil:
			return a, err
		case again:
			continue
		case status == http.StatusTooManyRequests:
			p.metrics.upstreamLimited.Inc()
			p.config.Log.Warn("upstream answered 429: its quota was spent elsewhere", "operation", e.call.Op.ID, "scope", e.turn.Scope, "owner", e.turn.Owner)
			if e.body == nil || e.body.replayable() {
				// Upstream refused before it acted, so the same call may be sent again in its turn.
				discard(a.response.Body)
				continue
			}
		}
		if a.response.StatusCode < http.StatusOK {
			a.response.Body.Close()
			return a, unfinished(a.response.StatusCode, e.isRead)
		}
		if coding := first(a.response.Header, "Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			a.response.Body.Close()
			return a, unreadable(coding, e.isRead)
		}
		a.response.Body = scrub(a.response.Body, e.credential.Secrets())
		return a, nil
	}
}

// queue waits for one turn: the first, or another one after that of the slot refused, nil for none. How long counts also
// where the turn did not come.
func (p *Proxy) queue(ctx context.Context, e *errand, a *asked, refused *limiter.Slot) (slot *limiter.Slot, err error) {
	began := time.Now()
	ctx, span := p.span(ctx, "queue", trace.SpanKindInternal, e.call.Op)
	defer span.End()
	if refused == nil {
		slot, err = p.config.Limiter.Acquire(ctx, e.turn)
	} else {
		slot, err = refused.Retry(ctx)
	}
	waited := time.Since(began)
	a.queued += waited
	p.metrics.queued(e.call.Op.Class.Name, waited)
	return slot, err
}

// unfinished refuses a status that ends no request: 101 for a switch of protocols that nobody asked for, behind which a client
// would take whatever comes for anything but answers, and what is no status at all.
func unfinished(status int, isRead bool) error {
	return problem.New(http.StatusBadGateway, problem.UpstreamFailed,
		"Upstream answered with the status %d, which is no end of a request. %s", status, repeating(isRead))
}

// unreadable refuses an answer in a coding that was not asked for: neither our credential nor what this caller may not see
// can be looked for in it, and what a few bytes of it unpack to has no bound.
func unreadable(coding string, isRead bool) error {
	return problem.New(http.StatusBadGateway, problem.UpstreamFailed,
		"Upstream answered in a coding that the gateway did not ask for and does not pass on. %s", repeating(isRead)).
		Because(fmt.Errorf("Content-Encoding %.40q", coding))
}

// discard reads the little that a refusal's body has, so that its connection can be used again.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	body.Close()
}

// patience is how long the client is willing to queue: Prefer: wait=SECONDS (RFC 7240 section 4.3), at most
// limits.max_wait.
func (p *Proxy) patience(h http.Header) time.Duration {
	for preference := range preferences(h) {
		if text, found := strings.CutPrefix(preference, "wait="); found {
			if seconds, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 31); err == nil {
				return min(time.Duration(seconds)*time.Second, p.config.MaxWait)
			}
		}
	}
	return p.config.MaxWait
}

func prefers(h http.Header, what string) bool {
	for preference := range preferences(h) {
		if preference == what {
			return true
		}
	}
	return false
}

// preferences are the parts of the Prefer header, lower-cased, without white space and without parameters.
func preferences(h http.Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range h["Prefer"] {
			for part := range strings.SplitSeq(line, ",") {
				part, _, _ = strings.Cut(part, ";")
				if !yield(strings.ToLower(strings.Join(strings.Fields(part), ""))) {
					return
				}
			}
		}
	}
}

func levelOf(p *problem.Error) slog.Level {
	switch {
	case p.Status == http.StatusInternalServerError, p.Code == problem.UpstreamCredential, p.Code == problem.NoCredential, p.Code == problem.AuditUnavailable:
		return slog.LevelError
	case p.Status >= 500, p.Code == problem.CredentialLacks:
		return slog.LevelWarn
	case p.Code == problem.ClientGone: // nobody's fault, and all who wait may leave at once
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}
