package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/inventory"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/problem"
)

// buffered reports whether the answer passes through the cache's hands: because it may be stored, or because parts of it
// may have to be taken out. Everything else streams.
func (p *Proxy) buffered(x *exchange) bool {
	op := x.call.Op
	if !x.isRead() || op.Method != http.MethodGet {
		return false
	}
	return op.Cache.TTL > 0 || op.List != catalog.NotAList || len(op.SecretBody) > 0
}

// timing is what one fetch spent and met; the fetch may end after the request that began it.
type timing struct {
	queued   time.Duration
	upstream audit.Upstream
}

// read is steps 6 to 10 for a buffered read: look it up, and on a miss fetch it once for all who ask the same.
func (p *Proxy) read(ctx context.Context, x *exchange) (cache.Result, error) {
	question := cacheRequest(x)
	found := p.config.Cache.Get(question, x.began)
	if found.Status == cache.NotCached {
		found = p.config.Cache.Recall(ctx, question, cacheRule(x.call, x.request.Target))
	}
	var err error
	switch {
	case found.Refresh:
		p.config.Cache.Refresh(ctx, question, cacheRule(x.call, x.request.Target), p.fetcher(x, nil))
	case found.Entry == nil && found.Status == cache.NotCached:
		err = problem.New(http.StatusGatewayTimeout, problem.OnlyIfCached, "This answer is not in the cache, and Cache-Control: only-if-cached forbids to ask upstream.")
	case found.Entry == nil:
		found, err = p.fetch(ctx, x, question)
	}
	x.record.Cache = found.Status.String()
	return found, err
}

// fetch asks upstream for what the cache does not have, for as long as this request is willing to wait.
func (p *Proxy) fetch(ctx context.Context, x *exchange, question cache.Request) (cache.Result, error) {
	patience := p.patience(x.r.Header)
	if err := p.hopeless(x, patience); err != nil {
		return p.config.Cache.StandIn(question, err)
	}
	waiting, cancel := context.WithCancelCause(ctx)
	// Until the answer is there: what is too large for the cache may take longer to its client.
	over := time.AfterFunc(patience+p.config.Upstream.timeout, func() { cancel(context.DeadlineExceeded) })
	var spent atomic.Pointer[timing]
	found, err := p.config.Cache.Fetch(waiting, question, cacheRule(x.call, x.request.Target), p.fetcher(x, &spent))
	over.Stop()
	x.spent(spent.Load())
	if found.Rest == nil {
		cancel(nil)
	} else {
		found.Rest = ending{found.Rest, cancel} // what is too large for the cache still streams
	}
	if err != nil {
		return found, p.impatient(ctx, x, err, spent.Load() != nil)
	}
	return found, nil
}

// ending is the rest of an answer whose context ends with it.
type ending struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (e ending) Close() error {
	defer e.cancel(nil)
	return e.ReadCloser.Close()
}

// hopeless refuses at once a request that is willing to wait for less time than passes before there is any quota. The
// queue itself knows only the patience of all: others may wait for the same answer.
func (p *Proxy) hopeless(x *exchange, patience time.Duration) error {
	if patience >= p.config.MaxWait {
		return nil
	}
	_, remaining, reset := p.config.Limiter.Quota(x.credential.Owner(), x.quotaScope(), x.call.Op)
	if remaining > 0 || reset <= patience {
		return nil
	}
	return queueTimeout(reset)
}

func queueTimeout(retryAfter time.Duration) *problem.Error {
	refusal := problem.New(http.StatusTooManyRequests, problem.QueueTimeout, "Upstream's quota is spent and your request's turn does not come in time.")
	refusal.RetryAfter = max(retryAfter, time.Second)
	return refusal
}

// impatient turns the end of this request's own patience into an honest 429; or 504 where its turn had come and upstream
// took so long.
func (p *Proxy) impatient(ctx context.Context, x *exchange, err error, turned bool) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*problem.Error)) {
		return err
	}
	if turned {
		return unanswered(err, true)
	}
	_, _, reset := p.config.Limiter.Quota(x.credential.Owner(), x.quotaScope(), x.call.Op)
	return queueTimeout(reset).Because(err)
}

// fetcher asks upstream on behalf of everyone who waits for the same answer. What it took is left in spent, if that is
// not nil: the request that began the fetch may have left by then.
func (p *Proxy) fetcher(x *exchange, spent *atomic.Pointer[timing]) cache.Fetcher {
	e := x.errand(p.config.MaxWait)
	e.method, e.body = http.MethodGet, nil
	return func(ctx context.Context, fill *cache.Fill) (*cache.Answer, error) {
		e.header = shareable(e.header)
		fill.Validate(e.header)
		e.send = fill.Sent
		a, err := p.ask(ctx, e)
		if spent != nil {
			spent.Store(&timing{queued: a.queued, upstream: a.upstream()})
		}
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		copyAnswerHeader(header, a.response.Header, e.credential)
		localLocation(header, p.config.Upstream.origin(), p.config.PublicURL)
		cookies := a.response.Header["Set-Cookie"] // withheld from clients, but what comes with one may be for one of them
		a.response.Header = header
		answer, err := p.config.Cache.Read(a.response)
		if err != nil {
			return nil, unanswered(err, true)
		}
		answer.Cookies = cookies
		if err := legible(e.call.Op, answer); err != nil {
			return nil, err
		}
		if answer.Status == http.StatusOK && answer.Rest == nil {
			p.inventory.Learn(e.call.Op, e.call.Target, answer.Body)
		}
		return answer, nil
	}
}

// shareable is a copy of the client's header for a question that others share the answer of: without the client's own
// conditions, which the cache answers, and without what describes a body or a write. Upstream has no use for those here,
// and as they select nothing, whatever it made of them would be stored for everybody.
func shareable(h http.Header) http.Header {
	shared := h.Clone()
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Content-Type", "Content-Encoding", "Idempotency-Key"} {
		delete(shared, name)
	}
	return shared
}

func (x *exchange) spent(t *timing) {
	if t == nil {
		return // somebody else's fetch brought the answer
	}
	x.record.Queue, x.record.Upstream = t.queued, t.upstream
}

// lookUp is how the inventory asks: the same cache, queue and credentials, in nobody's name.
func (p *Proxy) lookUp(ctx context.Context, method, requestURI string) ([]byte, error) {
	call, err := p.config.Catalog.Parse(method, requestURI)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", requestURI, err)
	}
	target := namedTarget(call.Target)
	chosen, err := p.config.Credentials.Choose(call.Op, call.Op.Effect, credentialTarget(target), time.Now())
	if err != nil {
		return nil, err
	}
	x := &exchange{r: &http.Request{Method: method, Header: http.Header{}}, began: time.Now(), call: call, credential: chosen,
		request: policy.Request{Op: call.Op, Effect: call.Op.Effect, Target: target}, decision: policy.Decision{Team: lookUpTeam, Weight: 1}}
	found, err := p.read(ctx, x)
	if err != nil {
		return nil, err
	}
	if found.Rest != nil {
		found.Rest.Close()
		return nil, fmt.Errorf("looking up %s: the answer is too large", requestURI)
	}
	switch status := found.Entry.Status(); status {
	case http.StatusOK:
		return found.Entry.Body(), nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("looking up %s: %w", requestURI, inventory.ErrNotFound)
	default:
		return nil, problem.New(http.StatusBadGateway, problem.UpstreamFailed, "Upstream answered %d while the gateway looked up what your call is about.", status)
	}
}

// lookUpTeam is the queue's name for the gateway's own look-ups. No team of a policy can have it.
const lookUpTeam = "(inventory)"

// cacheRequest names what the exchange asks of the cache.
func cacheRequest(x *exchange) cache.Request {
	return cache.Request{
		Key: cache.Key{
			View:      x.credential.Name(),
			Operation: x.call.Op.ID,
			Path:      x.call.Path,
			Query:     x.call.Query().Canonical(),
		},
		Header:     x.r.Header,
		Directives: cache.ParseDirectives(x.r.Header),
	}
}

// cacheRule is the catalogue's word on an answer.
func cacheRule(call catalog.Call, target policy.Target) cache.Rule {
	reveal, _ := call.Query().Get("reveal")
	return cache.Rule{
		TTL:    call.Op.Cache.TTL,
		Errors: call.Op.Cache.Errors,
		Strict: call.Op.Cache.Strict,
		Scopes: readScopes(call, target),
		Secret: call.Op.Secret || reveal != "" && !strings.EqualFold(reveal, "false"),
	}
}

// readScopes are what a write must touch to make this answer old.
func readScopes(call catalog.Call, target policy.Target) []string {
	var scopes []string
	for _, ref := range []string{target.Project, target.Parent} {
		if ref != "" {
			scopes = append(scopes, "project:"+ref)
		}
	}
	if target.Organization != "" && call.Target.Kind == catalog.Organization {
		scopes = append(scopes, "organization:"+target.Organization)
	}
	if call.Target.Kind != catalog.Project {
		scopes = append(scopes, "account")
	}
	return scopes
}
