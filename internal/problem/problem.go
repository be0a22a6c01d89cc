// Package problem holds the errors that know their HTTP answer.
//
// A problem carries two texts: Message is what the client may read, Err is what only the log sees. The codes are a
// closed set, so that metrics and clients can branch on them. The package decides nothing; it gives an error its shape.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Code names a kind of refusal. The set is closed: metrics use it as a label and clients branch on it.
type Code string

// The codes, each with the status it is answered with.
const (
	BadRequest          Code = "bad_request"          // 400: the request cannot be read in one way only
	Unauthenticated     Code = "unauthenticated"      // 401: nobody is known behind this request
	Denied              Code = "denied"               // 403: the policy said no
	CredentialLacks     Code = "credential_lacks"     // 403: upstream says that the gateway's own credential lacks a permission
	CSRF                Code = "csrf"                 // 403: a portal form came from elsewhere
	UnknownOperation    Code = "unknown_operation"    // 404: not in the catalogue
	MethodNotAllowed    Code = "method_not_allowed"   // 405: the path is in the catalogue, this method is not
	TooLarge            Code = "body_too_large"       // 413: the body is over server.max_body or a step's own bound
	QueueTimeout        Code = "queue_timeout"        // 429: no slot before the deadline
	Guessing            Code = "too_many_failures"    // 429: too many failed authentications from one address
	Internal            Code = "internal"             // 500: a fault of the gateway's own
	UpstreamFailed      Code = "upstream_failed"      // 502: upstream could not be reached or answered nonsense
	UpstreamCredential  Code = "upstream_credential"  // 502: upstream refused the gateway's own credential
	NoCredential        Code = "no_credential"        // 502: no configured credential covers the call
	LimiterUnavailable  Code = "limiter_unavailable"  // 503: the shared quota cannot be counted now
	AuditUnavailable    Code = "audit_unavailable"    // 503: no required sink records
	IdentityUnavailable Code = "identity_unavailable" // 503: who is asking cannot be found out now
	UpstreamTimeout     Code = "upstream_timeout"     // 504: upstream did not answer within upstream.timeout
	OnlyIfCached        Code = "not_cached"           // 504: Cache-Control: only-if-cached, and it is not (RFC 9111 section 5.2.1.7)
	ClientGone          Code = "client_gone"          // 499: the client left before the answer; seen in audit and metrics only
)

// Error is an error that knows its HTTP answer.
type Error struct {
	Status     int           // the HTTP status
	Code       Code          // the closed-set name
	Message    string        // for the client: what is wrong and what to do; never a secret or an internal detail
	Missing    []string      // what a policy refusal lacks: scopes, permissions, targets
	RetryAfter time.Duration // when to come back; zero: not said
	Header     http.Header   // further answer headers, such as Allow or WWW-Authenticate
	Err        error         // for the log only; may be nil
}

// New returns a problem without log detail.
func New(status int, code Code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e that carries err for the log.
func (e *Error) Because(err error) *Error {
	copied := *e
	copied.Err = err
	return &copied
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	}
	return fmt.Sprintf("%d %s: %s: %v", e.Status, e.Code, e.Message, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// From finds the problem in err. An error that is none becomes a bare 500: its text stays in the log.
func From(err error) *Error {
	var p *Error
	if errors.As(err, &p) {
		return p
	}
	return New(http.StatusInternalServerError, Internal, "The gateway failed to answer. Its log has the reason under this request id.").Because(err)
}

// body is the answer's JSON: "message" is where upstream's clients look for their error text.
type body struct {
	Message    string   `json:"message"`
	Code       Code     `json:"code"`
	RequestID  string   `json:"request_id,omitempty"`
	Missing    []string `json:"missing,omitempty"`
	RetryAfter int      `json:"retry_after,omitempty"` // seconds
}

// Write answers with the problem in err as JSON and returns the bytes written. It sets Retry-After in whole seconds,
// rounded up: coming back early would only queue again.
func Write(w http.ResponseWriter, requestID string, err error) int {
	p := From(err)
	h := w.Header()
	for name, values := range p.Header {
		h[name] = values
	}
	b := body{Message: p.Message, Code: p.Code, RequestID: requestID, Missing: p.Missing}
	if p.RetryAfter > 0 {
		b.RetryAfter = int(math.Ceil(p.RetryAfter.Seconds()))
		h.Set("Retry-After", strconv.Itoa(b.RetryAfter))
	}
	// Marshalling plain strings and ints cannot fail.
	data, _ := json.Marshal(b)
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(p.Status)
	n, _ := w.Write(data) // the client may be gone; there is nobody left to tell
	return n
}
