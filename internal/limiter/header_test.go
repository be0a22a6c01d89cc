package limiter

import (
	"net/http"
	"testing"
	"time"
)

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   int64
	}{
		{nil, -1},
		{[]string{"0"}, 0},
		{[]string{"120"}, 120},
		{[]string{"-1"}, -1},
		{[]string{"+5"}, 5},
		{[]string{""}, -1},
		{[]string{"12.5"}, -1},
		{[]string{"120, 120"}, -1},
		{[]string{"120", "30"}, -1}, // which one?
		{[]string{"99999999999999999999"}, -1},
	} {
		if got := number(http.Header{"X-Ratelimit-Limit": test.values}, "X-Ratelimit-Limit"); got != test.want {
			t.Errorf("number(%q) = %d, want %d", test.values, got, test.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"42", "", 42 * time.Second},
		{"42", "Thu, 01 Jan 2026 09:00:00 GMT", 42 * time.Second},
		{"-3", "", 0},
		{"soon", "", 0},
		{"99999999999", "", 24 * time.Hour}, // nothing may stop a bucket for good
		{"Thu, 01 Jan 2026 00:01:30 GMT", "", 90 * time.Second},
		{"Thu, 01 Jan 2026 00:01:30 GMT", "what is a date?", 90 * time.Second},
		{"Wed, 31 Dec 2025 00:00:00 GMT", "", 0},
		{"Thu, 01 Jan 2026 09:01:30 GMT", "Thu, 01 Jan 2026 09:00:00 GMT", 90 * time.Second}, // upstream's clock is hours ahead
		{"Wed, 31 Dec 2025 20:01:30 GMT", "Wed, 31 Dec 2025 20:00:00 GMT", 90 * time.Second}, // or behind
	} {
		h := http.Header{"Retry-After": {test.value}}
		if test.date != "" {
			h.Set("Date", test.date)
		}
		if got := retryAfter(h, now); got != test.want {
			t.Errorf("retryAfter(%q) of an answer dated %q = %s, want %s", test.value, test.date, got, test.want)
		}
	}
}

func TestUnitIsFoundOut(t *testing.T) {
	for _, test := range []struct {
		name             string
		was              unit
		remaining, reset int64 // of 120
		period           time.Duration
		want             unit
	}{
		{"a fresh window in seconds", seconds, 119, 60, time.Minute, seconds},
		{"a fresh window in milliseconds", seconds, 119, 60000, time.Minute, milliseconds},
		{"a fresh window in seconds corrects", milliseconds, 119, 59, time.Minute, seconds},
		{"a fresh window near its end keeps", milliseconds, 119, 30, time.Minute, milliseconds},
		{"a used window in milliseconds", seconds, 50, 31456, time.Minute, milliseconds},
		{"a used window of few milliseconds keeps", milliseconds, 3, 45, time.Minute, milliseconds},
		{"a used window in seconds keeps", seconds, 3, 45, time.Minute, seconds},
		{"three minutes in seconds", seconds, 119, 180, 3 * time.Minute, seconds},
		{"a second in milliseconds", seconds, 119, 1000, time.Second, milliseconds},
		{"a date proves nothing", seconds, 119, 1_770_000_000, time.Minute, seconds},
		{"no header proves nothing", milliseconds, 119, -1, time.Minute, milliseconds},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := headers{limit: 120, remaining: test.remaining, reset: test.reset}
			if got := test.was.findOut(h, test.period); got != test.want {
				t.Errorf("got %s, want %s", time.Duration(got), time.Duration(test.want))
			}
		})
	}
}

func TestEndOfWindowByReset(t *testing.T) {
	sent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := sent.Add(100 * time.Millisecond)
	for _, test := range []struct {
		unit   unit
		reset  int64
		ok     bool
		lo, hi time.Duration // after sent
	}{
		{seconds, 60, true, 59 * time.Second, 61*time.Second + 100*time.Millisecond},
		{seconds, 0, true, 0, 1100 * time.Millisecond}, // it had not ended when the request was sent
		{milliseconds, 60000, true, 59999 * time.Millisecond, 60101 * time.Millisecond},
		{seconds, 1_770_000_000, false, 0, 0},
		{seconds, 1 << 62, false, 0, 0},
		{seconds, -1, false, 0, 0},
	} {
		got, ok := test.unit.end(test.reset, sent, now)
		if ok != test.ok {
			t.Errorf("reset %d: believed %v, want %v", test.reset, ok, test.ok)
		}
		if want := (span{sent.Add(test.lo), sent.Add(test.hi)}); ok && got != want {
			t.Errorf("reset %d: %v, want %v", test.reset, got, want)
		}
	}
}

// Whatever upstream sends, nothing in it makes the limiter fail, and no time runs backwards.
func FuzzHeaders(f *testing.F) {
	f.Add("120", "119", "60", "42")
	f.Add("-1", "", "60000", "Thu, 01 Jan 2026 00:01:30 GMT")
	f.Add("9223372036854775807", "9223372036854775807", "9223372036854775807", "9223372036854775807")
	f.Fuzz(func(t *testing.T, limit, remaining, reset, after string) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		h := readHeaders(http.Header{"X-Ratelimit-Limit": {limit}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Retry-After": {after}}, now)
		if h.retryAfter < 0 || h.retryAfter > longestBlock {
			t.Errorf("Retry-After %q read as %s", after, h.retryAfter)
		}
		u := seconds.findOut(h, time.Minute)
		if end, ok := u.end(h.reset, now.Add(-time.Second), now); ok && (end.hi.Before(end.lo) || end.lo.Before(now.Add(-time.Second)) || end.hi.After(now.Add(longest+time.Second))) {
			t.Errorf("reset %q read as %v", reset, end)
		}
	})
}
