package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/cache"
	"corp.example/gateway/internal/identity"
	"corp.example/gateway/internal/policy"
)

// socketBytes is what the kernel takes for a client that reads nothing, at the least. Shorter answers cannot be held up, and
// need no deadline.
const socketBytes = 16 << 10

// respond is step 12 for a buffered read.
func (p *Proxy) respond(x *exchange, found cache.Result) error {
	h := x.w.Header()
	p.tellQuota(x, h)
	p.tellTiming(x, h)
	var rest *watchedBody
	if found.Rest != nil {
		rest = &watchedBody{ReadCloser: found.Rest}
		found.Rest = rest
	}
	w := x.w
	if rest != nil || len(found.Entry.Body()) > socketBytes {
		w = inParts{w, http.NewResponseController(w)}
	}
	var err error
	x.answer.status, x.answer.bytes, err = found.Respond(w, x.r, x.began)
	switch {
	case err == nil:
		return nil
	case rest != nil && rest.err != nil:
		return unanswered(rest.err, true)
	default:
		return clientGone(err)
	}
}

// partBytes is the most that is written under one deadline. Whole answers, which are faster, are at most as large; a client
// that takes this much within writeIdle is no slower than 18 KB/s.
const partBytes = 1 << 20

// inParts writes a large answer part by part, each under a deadline of its own: a client that is slow but takes all the time
// gets the end of it, too.
type inParts struct {
	http.ResponseWriter
	connection *http.ResponseController
}

func (w inParts) Write(p []byte) (written int, err error) {
	for part := range slices.Chunk(p, partBytes) {
		_ = w.connection.SetWriteDeadline(time.Now().Add(writeIdle)) // an error here comes back from the write itself
		n, err := w.ResponseWriter.Write(part)
		_ = w.connection.SetWriteDeadline(time.Time{}) // upstream may take its time for the next part
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// watchedBody remembers what reading it failed with, so that upstream's fault is told from the client's.
type watchedBody struct {
	io.ReadCloser
	err error
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// tellQuota tells what this caller can still expect of the quota, with the reset in seconds: clients take it so.
func (p *Proxy) tellQuota(x *exchange, h http.Header) {
	limit, remaining, reset := p.config.Limiter.Quota(x.credential.Owner(), x.quotaScope(), x.call.Op)
	// One text and one list for three fields: this is done for every answer.
	text := strconv.AppendInt(make([]byte, 0, 32), int64(limit), 10)
	first := len(text)
	text = strconv.AppendInt(text, int64(remaining), 10)
	second := len(text)
	text = strconv.AppendInt(text, wholeSeconds(reset), 10)
	all := string(text)
	values := [...]string{all[:first], all[first:second], all[second:]}
	h["X-Ratelimit-Limit"] = values[0:1:1]
	h["X-Ratelimit-Remaining"] = values[1:2:2]
	h["X-Ratelimit-Reset"] = values[2:3:3]
}

// notAsked is the Server-Timing of an answer from the cache. It is shared: nobody changes it.
var notAsked = []string{"queue;dur=0, upstream;dur=0"}

// tellTiming tells where the time went (Server-Timing).
func (p *Proxy) tellTiming(x *exchange, h http.Header) {
	if x.record.Queue == 0 && x.record.Upstream.Duration == 0 {
		h["Server-Timing"] = notAsked
		return
	}
	text := make([]byte, 0, 48)
	text = append(text, "queue;dur="...)
	text = appendMilliseconds(text, x.record.Queue)
	text = append(text, ", upstream;dur="...)
	text = appendMilliseconds(text, x.record.Upstream.Duration)
	h["Server-Timing"] = []string{string(text)}
}

func appendMilliseconds(text []byte, d time.Duration) []byte {
	micros := d.Microseconds()
	text = strconv.AppendInt(text, micros/1000, 10)
	return append(text, '.', byte('0'+micros/100%10), byte('0'+micros/10%10), byte('0'+micros%10))
}

// wholeSeconds rounds up: a client that comes back early would only queue again.
func wholeSeconds(d time.Duration) int64 {
	return int64((max(d, 0) + time.Second - 1) / time.Second)
}

// seconds is wholeSeconds as text.
func seconds(d time.Duration) string { return strconv.FormatInt(wholeSeconds(d), 10) }

// refuseStranger notes why nobody was identified. The log and the audit record say which check failed; the client hears
// as much as is safe.
func (p *Proxy) refuseStranger(x *exchange, err error) error {
	var refusal *identity.Refusal
	if errors.As(err, &refusal) {
		x.record.Decision.Reason = string(refusal.Reason)
		x.record.Caller = audit.Caller{Issuer: refusal.Issuer, Token: refusal.Token}
	}
	// What a stranger asked for is not in the catalogue of anybody's calls.
	x.record.Operation = ""
	return err
}

// local is the Cache-Status of what the gateway itself knows. It is shared: nobody changes it.
var local = []string{"gateway; detail=local"}

// answerHere answers a call that never goes upstream: one that is refused to everybody, or GET /v1/profile with the
// caller's own identity, never the shared account's.
func (p *Proxy) answerHere(rules *policy.Policy, x *exchange) error {
	x.resolved(policy.Request{Op: x.call.Op, Effect: x.call.Op.Effect, Target: namedTarget(x.call.Target)})
	x.decided(rules.Decide(x.caller, x.team, x.request, x.began))
	if !x.decision.Allow {
		return denied(x)
	}
	x.answer.status = http.StatusOK
	h := x.w.Header()
	h["Cache-Status"] = local
	p.tellTiming(x, h)
	n, err := writeJSON(x.w, x.r, profileOf(x.caller))
	x.answer.bytes = n
	if err != nil {
		return clientGone(err)
	}
	return nil
}
