package cache

import (
	"io"
	"strconv"
	"time"
)

// Status says how a read was served. The set is closed: metrics use it as a label.
type Status uint8

// The statuses.
const (
	Bypass      Status = iota // the cache stayed out of it: the client's no-store, or an answer that carries secrets
	Hit                       // served fresh from memory
	Stale                     // served from memory past its freshness: max-stale, stale-while-revalidate, stale-if-error
	Miss                      // nothing was stored for it; fetched
	Expired                   // what was stored needed validation; fetched anew
	Revalidated               // what was stored needed validation, and upstream said it is still good
	Requested                 // the client's directives asked for a newer answer; fetched
	Collapsed                 // waited for a fetch that another request had begun
	NotCached                 // only-if-cached, and it is not
	statuses
)

// Statuses are all of them, for those who prepare one counter for each.
func Statuses() []Status {
	all := make([]Status, statuses)
	for i := range all {
		all[i] = Status(i)
	}
	return all
}

// String is the status as metrics and audit records name it.
func (s Status) String() string {
	switch s {
	case Hit:
		return "hit"
	case Stale:
		return "stale"
	case Miss:
		return "miss"
	case Expired:
		return "expired"
	case Revalidated:
		return "revalidated"
	case Requested:
		return "requested"
	case Collapsed:
		return "collapsed"
	case NotCached:
		return "not_cached"
	default:
		return "bypass"
	}
}

func (s Status) served() bool { return s == Hit || s == Stale }

// Why a request was forwarded, in the words of RFC 9211 section 2.2.
const (
	fwdBypass  = "bypass"
	fwdMiss    = "uri-miss"
	fwdVary    = "vary-miss"
	fwdStale   = "stale"
	fwdRequest = "request"
)

// Why a stale answer was served, or a fetched one not stored: RFC 9211 section 2.8. A closed set too.
const (
	detailMaxStale        = "max-stale"
	detailWhileRevalidate = "stale-while-revalidate"
	detailIfError         = "stale-if-error"
	detailStatus          = "status"      // not a status that is stored
	detailNoStore         = "no-store"    // upstream forbids it
	detailPrivate         = "private"     // upstream forbids it to a shared cache
	detailSetCookie       = "set-cookie"  // meant for one client
	detailVary            = "vary"        // Vary: * or more fields than are kept
	detailSilent          = "no-lifetime" // neither upstream nor the catalogue gives one
	detailUseless         = "stale-on-arrival"
	detailTooLarge        = "too-large"
	detailSecret          = "secret"
	detailRequest         = "request-no-store"
	detailFenced          = "write-between" // a write came between the fetch's beginning and its end
)

// Result is the outcome of Get or Fetch. The zero value is a bypass without an answer.
type Result struct {
	Entry   *Entry // what to answer with; nil where there is none
	Status  Status
	Refresh bool // Get only: the entry is stale but may be served once more, while Refresh fetches a new one
	Stored  bool // the fetched answer was stored

	// Rest is what is left of a body that is too large to store or share, to be sent after Entry.Body. It is set for one
	// request alone, which must close it; Respond does.
	Rest io.ReadCloser

	forward   string // RFC 9211 fwd; "" where nothing was forwarded
	upstream  int    // upstream's status; 0 where it was not asked or did not answer
	collapsed bool
	detail    string
}

func (r Result) withoutEntry() Result {
	r.Entry, r.Refresh = nil, false
	return r
}

// withoutUnserved leaves out the entry that a look-up found but that may not be served.
func (r Result) withoutUnserved() Result {
	if r.Status.served() {
		return r
	}
	return r.withoutEntry()
}

// CacheStatus is the Cache-Status field value (RFC 9211). Where nothing was answered, ask it of Fetch's Result all the
// same: it says what was tried.
func (r Result) CacheStatus(now time.Time) string {
	b := make([]byte, 0, 64)
	b = append(b, "gateway"...)
	if r.forward == "" && r.Status.served() {
		b = append(b, "; hit"...)
	} else {
		b = append(b, "; fwd="...)
		if r.forward == "" {
			b = append(b, fwdBypass...)
		}
		b = append(b, r.forward...)
	}
	if r.upstream != 0 {
		b = append(b, "; fwd-status="...)
		b = strconv.AppendInt(b, int64(r.upstream), 10)
	}
	if r.Entry != nil && (r.Stored || r.Status.served()) {
		b = append(b, "; ttl="...)
		b = strconv.AppendInt(b, r.Entry.fresh.ttl(now), 10)
	}
	if r.Stored {
		b = append(b, "; stored"...)
	}
	if r.collapsed {
		b = append(b, "; collapsed"...)
	}
	if r.detail != "" {
		b = append(b, "; detail="...)
		b = append(b, r.detail...)
	}
	return string(b)
}
