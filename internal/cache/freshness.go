package cache

import (
	"net/http"
	"slices"
	"time"
)

// freshness is how long an entry may be used, and how (RFC 9111 section 4.2).
type freshness struct {
	received        time.Time
	initial         time.Duration // its age when it was received
	relayed         bool          // upstream said an age: its answer came from a cache, too
	lifetime        time.Duration
	whileRevalidate time.Duration // how long past its lifetime it may be served while it is fetched anew
	ifError         time.Duration // how long past its lifetime it may stand in for a failed fetch
	validate        bool          // no-cache: not once without upstream's word
	strict          bool          // must-revalidate and its kind: never past its lifetime, whatever the client accepts
}

// exchange is when a request was sent and its answer received.
type exchange struct{ requested, received time.Time }

func (f *freshness) age(now time.Time) time.Duration {
	return f.initial + max(0, now.Sub(f.received))
}

// seconds is the Age field's value (section 5.1).
func (f *freshness) seconds(now time.Time) int64 {
	return min(int64(f.age(now)/time.Second), maxSeconds)
}

// ttl is what is left, in seconds; negative when stale (RFC 9211 section 2.5).
func (f *freshness) ttl(now time.Time) int64 {
	return int64(f.lifetime/time.Second) - f.seconds(now)
}

// use is what may be done with a stored answer for one request.
type use uint8

const (
	useNot             use = iota // it must be validated first
	useFresh                      // it is fresh
	useStale                      // it is stale, and the client accepts that
	useWhileRevalidate            // it is stale, and upstream allows it while it is fetched anew
	useRequested                  // it would do, but the client asks for a newer one
)

// judge decides whether the answer may be served at now without asking upstream (RFC 9111 section 4.2 and 5.2.1).
func (f *freshness) judge(d Directives, now time.Time) use {
	if f.validate {
		return useNot
	}
	age := f.age(now)
	past := age - f.lifetime
	switch {
	case d.NoCache, d.LimitAge && age > d.MaxAge:
		return useRequested
	case past < 0 && -past < d.MinFresh:
		return useRequested
	case past < 0:
		return useFresh
	case f.strict, d.MinFresh > 0:
		return useNot
	case past <= d.MaxStale && d.MaxStale > 0:
		return useStale
	case past < f.whileRevalidate:
		return useWhileRevalidate
	default:
		return useNot
	}
}

// standsIn tells whether the answer may be served at now because a fetch failed (RFC 5861 section 4).
func (f *freshness) standsIn(d Directives, now time.Time) bool {
	return !f.strict && !f.validate && !d.NoCache && f.age(now)-f.lifetime < f.ifError
}

// assess decides whether an answer is stored and for how long. The reason is "" where it is, else a detail for
// Cache-Status. Section 3.5 (requests with Authorization) asks for upstream's consent to share: here every client is
// authorised before each use, and the key holds whose credential fetched it, so what is shared never leaves its view.
func (c *Cache) assess(a *Answer, t exchange, rule Rule) (f freshness, reason string) {
	control := parseControl(a.Header)
	explicit, lifetime := explicitLifetime(a.Header, control, t.received)
	f = freshness{
		received: t.received,
		relayed:  len(a.Header["Age"]) > 0,
		initial:  initialAge(a.Header, t, explicit),
		lifetime: lifetime,
		validate: control.noCache,
		strict:   control.revalidate || rule.Strict,
		ifError:  c.staleIfError,
	}
	if reason := c.refusal(a, control, rule, explicit); reason != "" {
		return f, reason
	}
	switch {
	case !explicit:
		f.lifetime = rule.TTL
	case rule.Strict:
		f.lifetime = min(f.lifetime, rule.TTL)
	}
	if control.ifError.said {
		f.ifError = control.ifError.Duration
	}
	f.whileRevalidate = control.whileRevalidate.Duration
	if !explicit && (rule.TTL <= 0 || !silentlyStored(a.Status)) && !control.noCache {
		return f, detailSilent
	}
	if (f.validate || f.age(t.received) >= f.lifetime) && !validatable(a.Header) {
		return f, detailUseless
	}
	return f, ""
}

// refusal names what forbids storing an answer, whatever its freshness (section 3).
func (c *Cache) refusal(a *Answer, control control, rule Rule, explicit bool) string {
	switch {
	case rule.Secret:
		return detailSecret
	case a.Rest != nil:
		return detailTooLarge
	case !storedStatus(a.Status, control, rule, explicit):
		return detailStatus
	case control.noStore:
		return detailNoStore
	case control.private:
		return detailPrivate
	case len(a.Header["Set-Cookie"]) > 0, c.personal(a.Cookies):
		return detailSetCookie
	}
	return ""
}

// personal tells whether one of the cookies is for one client. What cannot be read is.
func (c *Cache) personal(cookies []string) bool {
	for _, line := range cookies {
		cookie, err := http.ParseSetCookie(line)
		if err != nil || !slices.Contains(c.ignoreCookies, cookie.Name) {
			return true
		}
	}
	return false
}

// storedStatus tells whether answers of this status are stored at all. Errors are so only where the rule says it; 401,
// 403 and 429 speak of the gateway's credential and quota, not of the resource. 206 is a part, 304 an answer to one
// conditional request.
func storedStatus(status int, control control, rule Rule, explicit bool) bool {
	switch {
	case status < 200, status == http.StatusPartialContent, status == http.StatusNotModified:
		return false
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusTooManyRequests:
		return false
	case status >= 300 && !explicit && !silentlyStored(status):
		return false
	case status >= 400 && !rule.Errors:
		return false
	default:
		return !control.understand || http.StatusText(status) != ""
	}
}

// silentlyStored are the statuses a rule's lifetime applies to: those that may be cached without upstream's word (RFC 9110
// section 15.1), without the redirects, since where they lead may change with every request.
func silentlyStored(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}

// explicitLifetime is the freshness lifetime upstream gives a shared cache (section 4.2.1).
func explicitLifetime(h http.Header, control control, received time.Time) (explicit bool, lifetime time.Duration) {
	switch {
	case control.sharedMaxAge.said:
		return true, control.sharedMaxAge.Duration
	case control.maxAge.said:
		return true, control.maxAge.Duration
	}
	expires := h["Expires"]
	if len(expires) == 0 {
		return false, 0
	}
	at, err := http.ParseTime(expires[0])
	if err != nil || len(expires) > 1 {
		return true, 0 // section 5.3: an invalid date, "0" above all, is in the past
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = received
	}
	return true, max(0, at.Sub(date))
}

// initialAge is corrected_initial_age of section 4.2.3. Under a rule's lifetime upstream's clock is left out: those
// lifetimes are a second or two, less than clocks and Date's whole seconds may be apart, and count from the sending of
// the request, before which the answer cannot have been made.
func initialAge(h http.Header, t exchange, explicit bool) time.Duration {
	delay := t.received.Sub(t.requested)
	said, ok := ageField(h)
	if !ok {
		return maxSeconds * time.Second
	}
	corrected := said + delay
	if !explicit {
		return corrected
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return corrected
	}
	return max(corrected, t.received.Sub(date))
}

// ageField reads Age. What is not one plain number makes the answer old: nothing says how much younger it is.
func ageField(h http.Header) (time.Duration, bool) {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0, true
	}
	age, ok := parseSeconds(lines[0])
	return age, ok && len(lines) == 1
}

// validatable tells whether upstream gave something to ask for changes by.
func validatable(h http.Header) bool {
	return h.Get("Etag") != "" || h.Get("Last-Modified") != ""
}
