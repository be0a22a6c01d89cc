package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/narrow"
	"corp.example/gateway/internal/policy"
	"corp.example/gateway/internal/secret"
)

// stream is steps 7 to 12 for everything that is neither cached nor narrowed: the bodies pass through as they come, in
// both directions, and nothing is kept of them.
func (p *Proxy) stream(ctx context.Context, x *exchange, hidden []string) error {
	if err := x.body.readAhead(replayBytes); err != nil {
		return err
	}
	x.record.Cache = cache.Bypass.String()
	a, err := p.ask(ctx, x.errand(p.patience(x.r.Header)))
	x.record.Queue, x.record.Upstream = a.queued, a.upstream()
	if a.sent {
		p.wrote(x, a.response)
	}
	if err != nil {
		return err
	}
	defer a.response.Body.Close()
	if err := p.learn(x, a.response); err != nil {
		return err
	}
	if len(hidden) > 0 {
		if err := hide(a.response, hidden); err != nil {
			return err
		}
	}

	// 12. Respond.
	h := x.w.Header()
	copyAnswerHeader(h, a.response.Header, x.credential)
	localLocation(h, p.config.Upstream.origin(), p.config.PublicURL)
	h["Cache-Status"] = []string{"gateway; fwd=" + forwardReason(x.r.Method) + "; fwd-status=" + strconv.Itoa(a.response.StatusCode)}
	p.tellQuota(x, h)
	p.tellTiming(x, h)
	if a.response.StatusCode == http.StatusTooManyRequests && first(h, "Retry-After") == "" {
		_, _, reset := p.config.Limiter.Quota(x.credential.Owner(), x.quotaScope(), x.call.Op)
		h["Retry-After"] = []string{seconds(reset)}
	}
	if a.response.ContentLength >= 0 && first(h, "Content-Length") == "" && a.response.StatusCode != http.StatusNoContent && a.response.StatusCode != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.FormatInt(a.response.ContentLength, 10)}
	}
	if first(h, "Content-Type") == "" {
		h["Content-Type"] = nil // net/http would guess one
	}
	x.answer.status = a.response.StatusCode
	x.w.WriteHeader(a.response.StatusCode)
	return p.copyBody(x, a.response)
}

// forwardReason is the RFC 9211 word for why the cache was not used.
func forwardReason(method string) string {
	if method == http.MethodGet || method == http.MethodHead {
		return "bypass"
	}
	return "method"
}

// writeIdle is how long a client may refuse to take the next part of its answer.
const writeIdle = 60 * time.Second

// copyBody passes the answer's body on, part by part: the client's own pace holds upstream back, but not for longer than
// writeIdle. An answer of unknown length is flushed as it comes.
func (p *Proxy) copyBody(x *exchange, response *http.Response) error {
	space := buffers.Get().(*[]byte)
	defer buffers.Put(space)
	connection := http.NewResponseController(x.w)
	for {
		n, err := response.Body.Read(*space)
		if n > 0 {
			canBlock := x.answer.bytes+int64(n) > socketBytes
			if canBlock {
				_ = connection.SetWriteDeadline(time.Now().Add(writeIdle)) // an error here comes back from the write itself
			}
			written, writeErr := x.w.Write((*space)[:n])
			x.answer.bytes += int64(written)
			if writeErr != nil {
				return clientGone(writeErr)
			}
			if response.ContentLength < 0 {
				_ = connection.Flush()
			}
			if canBlock {
				_ = connection.SetWriteDeadline(time.Time{}) // upstream may take its time for the next part
			}
		}
		if errors.Is(err, io.EOF) {
			if len(response.Trailer) > 0 {
				maps.Copy(x.w.Header(), trailers(response.Trailer, x.credential.Secrets()))
			}
			return nil
		}
		if err != nil {
			return unanswered(err, x.isRead())
		}
	}
}

// trailers are upstream's trailer fields in the form that net/http sends after a body.
func trailers(in http.Header, secrets []secret.Text) http.Header {
	out := http.Header{}
	for name, values := range in {
		for _, value := range values {
			if !withheld[name] && !disguised(name) && !named(name, secrets) && !holds(value, secrets) {
				out.Add(http.TrailerPrefix+name, value)
			}
		}
	}
	return out
}

// hiddenBytes bounds a write's answer that is read whole, to learn from it or to take fields out: such have a few KiB.
const hiddenBytes = 1 << 20

// hide takes the secret-bearing fields out of a write's answer. What cannot be read is not passed on.
func hide(response *http.Response, fields []string) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, hiddenBytes+1))
	if err != nil {
		return unanswered(err, false)
	}
	if len(body) == 0 {
		return nil
	}
	if len(body) > hiddenBytes {
		return unnarrowable(errors.New("it is too large"))
	}
	if body, err = narrow.Secrets(body, fields); err != nil {
		return unnarrowable(err)
	}
	response.Body.Close()
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response.Header.Del("Content-Length")
	response.Header.Del("ETag")
	return nil
}

// wrote is step 10 for a write that was sent: what it touched is forgotten before its client hears of it. A write that
// upstream refused touched nothing; one whose outcome is unknown may have. The response is nil where none came.
func (p *Proxy) wrote(x *exchange, response *http.Response) {
	if status := x.record.Upstream.Status; x.isRead() || status >= 400 && status < 500 {
		return
	}
	scopes := p.writeScopes(x.call, x.request.Target)
	if response != nil {
		scopes = append(scopes, p.namedScopes(response)...)
	}
	p.config.Cache.Invalidate(scopes...)
	if x.request.Effect == catalog.Destructive && movesTargets(x.call.Op) {
		p.inventory.Forget(x.call.Target.ID)
	}
}

// movesTargets reports whether the operation changes what exists or where it belongs: such are what lists beside the
// target show.
func movesTargets(op *catalog.Operation) bool { return len(op.Touches) > 0 }

// learn takes a write's small answer in, so that what it says of new projects and branches is known at once.
func (p *Proxy) learn(x *exchange, response *http.Response) error {
	if x.isRead() || !movesTargets(x.call.Op) || response.StatusCode >= 300 || response.ContentLength == 0 {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, hiddenBytes))
	if err != nil {
		return unanswered(err, false)
	}
	p.inventory.Learn(x.call.Op, x.call.Target, body)
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), response.Body), response.Body}
	return nil
}

// namedScopes are the paths that a write's answer says it made or changed (RFC 9111 section 4.4), where they are
// upstream's own: anybody else's answers are not here.
func (p *Proxy) namedScopes(response *http.Response) []string {
	base, scopes := p.config.Upstream.base, []string(nil)
	for _, name := range []string{"Location", "Content-Location"} {
		named, err := url.Parse(response.Header.Get(name))
		if err != nil || response.Header.Get(name) == "" {
			continue
		}
		if response.Request != nil {
			named = response.Request.URL.ResolveReference(named)
		}
		if named.Host == base.Host && named.Scheme == base.Scheme {
			scopes = append(scopes, cache.PathScope(named.EscapedPath()))
		}
	}
	return scopes
}

// writeScopes are what a write makes old. Coarse is safe: it costs one more call upstream.
func (p *Proxy) writeScopes(call catalog.Call, target policy.Target) []string {
	scopes := []string{cache.PathScope(call.Path)}
	parent := target.Parent
	if parent == "" && target.Project != "" {
		parent = p.inventory.KnownParent(target.Project) // pausing a branch shows in its parent's list
	}
	for _, ref := range []string{target.Project, parent} {
		if ref != "" {
			scopes = append(scopes, "project:"+ref)
		}
	}
	if target.Organization != "" {
		scopes = append(scopes, "organization:"+target.Organization)
	}
	for _, touched := range call.Op.Touches {
		if touched == catalog.InAccount || touched == catalog.InOrganization {
			scopes = append(scopes, "account")
		}
	}
	if target.Project == "" && target.Organization == "" {
		scopes = append(scopes, "account")
	}
	return scopes
}
