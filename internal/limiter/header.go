package limiter

import (
	"net/http"
	"strconv"
	"time"
)

// longest is the longest time a rate-limit header is believed to name. No known window is longer than three minutes; a
// value beyond this is some other quantity, such as a date.
const longest = 10 * time.Minute

// longestBlock bounds what Retry-After may name, against a value that would stop a bucket for good.
const longestBlock = 24 * time.Hour

// headers is what one answer says of the quota, as numbers; -1 where it says nothing.
type headers struct {
	limit, remaining, reset int64
	retryAfter              time.Duration // zero: not said
}

// readHeaders picks the rate-limit headers out of h. A header that cannot be read counts as absent.
func readHeaders(h http.Header, now time.Time) headers {
	return headers{
		limit:      number(h, "X-Ratelimit-Limit"),
		remaining:  number(h, "X-Ratelimit-Remaining"),
		reset:      number(h, "X-Ratelimit-Reset"),
		retryAfter: retryAfter(h, now),
	}
}

// number returns the header's value as a number that is not negative, or -1. The name must be in canonical form.
func number(h http.Header, name string) int64 {
	values := h[name]
	if len(values) != 1 {
		return -1 // none, or several that may contradict each other
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// retryAfter reads Retry-After in both its forms (RFC 9110 section 10.2.3). A date counts from the answer's own Date: the two
// are of one clock, which may not be ours. An answer without Date is taken for one of now (section 6.6.1).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(longestBlock/time.Second)))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if own, err := http.ParseTime(h.Get("Date")); err == nil {
		now = own
	}
	return max(0, min(date.Sub(now), longestBlock))
}

// unit is what X-RateLimit-Reset counts in. Upstream documents milliseconds and sends seconds.
type unit time.Duration

const (
	seconds      = unit(time.Second)
	milliseconds = unit(time.Millisecond)
)

// findOut returns the unit that the answer h proves, or u where it proves none. A fresh window names its own length,
// about 60 or about 60000; and no window lasts a thousand seconds.
func (u unit) findOut(h headers, period time.Duration) unit {
	fresh := h.limit >= 0 && h.limit-h.remaining == 1
	switch reset := time.Duration(h.reset); {
	case h.reset < 0 || reset*time.Millisecond > longest:
		return u
	case fresh && within(reset*time.Second, period, time.Second):
		return seconds
	case reset >= 1000:
		return milliseconds
	}
	return u
}

// end returns the stretch that contains the end of the window which an answer was counted in, and false when it names
// none that can be believed. The answer was computed somewhen between sent and now, and upstream may have rounded the
// value either way.
func (u unit) end(reset int64, sent, now time.Time) (span, bool) {
	one := time.Duration(u)
	if reset < 0 || reset > int64(longest/one) {
		return span{}, false
	}
	left := time.Duration(reset) * one
	return span{later(sent, sent.Add(left-one)), now.Add(left + one)}, true
}

func within(a, b, slack time.Duration) bool { return a-b <= slack && b-a <= slack }
