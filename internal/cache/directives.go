package cache

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// maxSeconds is the greatest delta-seconds kept: RFC 9111 section 1.2.2 asks for 2^31 where a number is too large.
const maxSeconds = 1 << 31

// Directives are the client's wishes: the request's Cache-Control (RFC 9111 section 5.2.1). The zero value has none.
type Directives struct {
	NoCache      bool          // only what upstream has validated for this request
	NoStore      bool          // neither look up nor store
	OnlyIfCached bool          // never ask upstream
	LimitAge     bool          // MaxAge counts
	MaxAge       time.Duration // how old the answer may be
	MinFresh     time.Duration // for how much longer it must be fresh
	MaxStale     time.Duration // how far past its freshness it may be
}

// ParseDirectives reads the client's Cache-Control, or Pragma: no-cache where there is none (RFC 9111 section 5.4). What
// cannot be read is taken in the sense that trusts the stored answer less.
func ParseDirectives(h http.Header) Directives {
	var d Directives
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		for _, line := range h["Pragma"] {
			d.NoCache = d.NoCache || hasToken(line, "no-cache")
		}
		return d
	}
	for _, line := range lines {
		for line != "" {
			var one directive
			var whole bool
			one, line, whole = nextDirective(line)
			d.NoCache = d.NoCache || !whole
			d.take(one)
		}
	}
	return d
}

func (d *Directives) take(one directive) {
	switch {
	case one.is("no-cache"):
		d.NoCache = true
	case one.is("no-store"):
		d.NoStore = true
	case one.is("only-if-cached"):
		d.OnlyIfCached = true
	case one.is("max-age"):
		age, _ := one.seconds() // unreadable: 0, the strictest
		if !d.LimitAge || age < d.MaxAge {
			d.MaxAge = age
		}
		d.LimitAge = true
	case one.is("min-fresh"):
		fresh, ok := one.seconds()
		if !ok {
			fresh = maxSeconds * time.Second
		}
		d.MinFresh = max(d.MinFresh, fresh)
	case one.is("max-stale"):
		if !one.hasArgument {
			d.MaxStale = math.MaxInt64 // any staleness
			return
		}
		d.MaxStale, _ = one.seconds()
	}
}

// control is what upstream's Cache-Control says to a shared cache (RFC 9111 section 5.2.2, RFC 5861).
type control struct {
	noStore, private, noCache bool
	revalidate                bool // must-revalidate, proxy-revalidate, and s-maxage, which implies the latter
	understand                bool // must-understand
	noTransform               bool
	maxAge, sharedMaxAge      lifetime
	whileRevalidate, ifError  lifetime
}

// lifetime is an optional number of seconds. Said twice, the shorter counts: section 4.2.1 allows the first or none, and
// the shorter is never later than either.
type lifetime struct {
	said bool
	time.Duration
}

func (l *lifetime) take(one directive) {
	d, _ := one.seconds() // unreadable: 0, that is, stale (section 4.2.1)
	if !l.said || d < l.Duration {
		l.Duration = d
	}
	l.said = true
}

// parseControl reads the answer's Cache-Control. The qualified forms private="…" and no-cache="…" count as the
// unqualified ones, as section 5.2.2.4 allows. A field whose quotes do not close can be read in two ways: not stored.
func parseControl(h http.Header) control {
	var c control
	for _, line := range h["Cache-Control"] {
		for line != "" {
			var one directive
			var whole bool
			one, line, whole = nextDirective(line)
			c.noStore = c.noStore || !whole
			c.take(one)
		}
	}
	if len(h["Cache-Control"]) == 0 {
		for _, line := range h["Pragma"] {
			c.noCache = c.noCache || hasToken(line, "no-cache")
		}
	}
	return c
}

func (c *control) take(one directive) {
	switch {
	case one.is("no-store"):
		c.noStore = true
	case one.is("private"):
		c.private = true
	case one.is("no-cache"):
		c.noCache = true
	case one.is("must-revalidate"), one.is("proxy-revalidate"):
		c.revalidate = true
	case one.is("must-understand"):
		c.understand = true
	case one.is("no-transform"):
		c.noTransform = true
	case one.is("max-age"):
		c.maxAge.take(one)
	case one.is("s-maxage"):
		c.sharedMaxAge.take(one)
		c.revalidate = true
	case one.is("stale-while-revalidate"):
		c.whileRevalidate.take(one)
	case one.is("stale-if-error"):
		c.ifError.take(one)
	}
}

// directive is one element of a Cache-Control list, cut out but not interpreted.
type directive struct {
	name, argument string
	hasArgument    bool
}

// nextDirective cuts the first directive off a list. Commas inside quotes do not end it. whole is false where a quote
// never closes; then nothing is left.
func nextDirective(list string) (one directive, rest string, whole bool) {
	end, quoted := len(list), false
scan:
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case quoted && list[i] == '\\':
			i++ // a quoted pair
		case !quoted && list[i] == ',':
			end = i
			break scan
		}
	}
	if end < len(list) {
		rest = list[end+1:]
	}
	one.name, one.argument, one.hasArgument = strings.Cut(strings.Trim(list[:end], " \t"), "=")
	return one, rest, !quoted
}

// is compares the name without case. Space before "=" is not allowed, yet the name still counts: a no-store must not be
// lost over it.
func (d directive) is(name string) bool {
	return strings.EqualFold(strings.TrimRight(d.name, " \t"), name)
}

// seconds reads delta-seconds, quoted or not (section 5.2: recipients accept both). Nothing but digits is a number.
func (d directive) seconds() (time.Duration, bool) {
	digits := d.argument
	if n := len(digits); n >= 2 && digits[0] == '"' && digits[n-1] == '"' {
		digits = digits[1 : n-1]
	}
	if strings.TrimRight(d.name, " \t") != d.name {
		return 0, false
	}
	return parseSeconds(digits)
}

func parseSeconds(digits string) (time.Duration, bool) {
	if digits == "" {
		return 0, false
	}
	var n int64
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(digits[i]-'0'), maxSeconds)
	}
	return time.Duration(n) * time.Second, true
}

// hasToken tells whether a comma-separated list has the token, without case.
func hasToken(list, token string) bool {
	for element := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(element, " \t"), token) {
			return true
		}
	}
	return false
}
