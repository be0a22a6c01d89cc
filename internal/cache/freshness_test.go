package cache_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/cache"
)

const ten = 10 * time.Second

// storing is one row: what upstream says, and whether it is reused after a second.
type storing struct {
	name   string
	answer []string
	reused bool
}

func (s storing) run(t *testing.T, rule cache.Rule, status int) {
	bubble(t, s.name, func(t *testing.T) {
		if got := reused(t, rule, answer(status, "x", s.answer...), time.Second); got != s.reused {
			t.Errorf("%d %q: reused = %t, want %t", status, s.answer, got, s.reused)
		}
	})
}

// RFC 9111 section 3: storing responses in caches.
func TestSection3Storing(t *testing.T) {
	for _, row := range []storing{
		{"max-age", []string{"Cache-Control: max-age=10"}, true},
		{"no-store", []string{"Cache-Control: max-age=10, no-store"}, false},
		{"no-store in another case", []string{"Cache-Control: No-StOrE", "Cache-Control: max-age=10"}, false},
		{"no-store with an argument", []string{"Cache-Control: max-age=10, no-store=1"}, false},
		{"private", []string{"Cache-Control: private, max-age=10"}, false},
		{"private with fields", []string{`Cache-Control: private="x-a", max-age=10`}, false},
		{"set-cookie", []string{"Cache-Control: max-age=10", "Set-Cookie: a=b"}, false},
		{"vary star", []string{"Cache-Control: max-age=10", "Vary: *"}, false},
		{"vary star among others", []string{"Cache-Control: max-age=10", "Vary: Foo", "Vary: , *"}, false},
		{"no-cache without a validator", []string{"Cache-Control: no-cache, max-age=10"}, false},
		{"quotes that do not close", []string{`Cache-Control: max-age=10, a="b, no-store`}, false},
		{"pragma no-cache alone", []string{"Pragma: no-cache", "Expires: now+10s"}, false},
		{"pragma beside cache-control", []string{"Pragma: no-cache", "Cache-Control: max-age=10"}, true},
		{"unknown extensions", []string{"Cache-Control: foobar, max-age=10, x=y"}, true},
	} {
		row.run(t, cache.Rule{}, 200)
	}
}

// An answer that sets a cookie was meant for one client, unless the operator says of each that it tells connections apart.
func TestWhichCookiesKeepAnAnswerOut(t *testing.T) {
	ours := []string{"__cf_bm", "_cfuvid"}
	for _, row := range []struct {
		name            string
		ignored, header []string
		withheld        []string
		stored          bool
	}{
		{"none", ours, nil, nil, true},
		{"an ignored one", ours, nil, []string{"__cf_bm=a.b; path=/; secure; HttpOnly"}, true},
		{"two ignored ones", ours, nil, []string{"__cf_bm=a", "_cfuvid=b"}, true},
		{"another", ours, nil, []string{"session=a"}, false},
		{"another beside an ignored one", ours, nil, []string{"__cf_bm=a", "session=a"}, false},
		{"another in disguise", ours, nil, []string{"x__cf_bm=a"}, false},
		{"another case", ours, nil, []string{"__CF_BM=a"}, false},
		{"an attribute of that name", ours, nil, []string{"session=a; __cf_bm=b"}, false},
		{"one that cannot be read", ours, nil, []string{"__cf_bm"}, false},
		{"an empty line", ours, nil, []string{""}, false},
		{"none is ignored", nil, nil, []string{"__cf_bm=a"}, false},
		{"an ignored one that clients would get", ours, []string{"Set-Cookie: __cf_bm=a"}, nil, false},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{IgnoreCookies: row.ignored})
			w.rule.TTL = ten
			w.upstream = func(int, http.Header) (*cache.Answer, error) {
				a := ok("x", row.header...)
				a.Cookies = row.withheld
				return a, nil
			}
			w.slow()
			w.together(10)
			if shared := w.calls.Load() == 1; shared != row.stored {
				t.Errorf("those who asked at once share it: %t, want %t", shared, row.stored)
			}
			if got := w.get().result.Status == cache.Hit; got != row.stored {
				t.Errorf("stored = %t, want %t", got, row.stored)
			}
		})
	}
}

// RFC 9111 section 3 with RFC 9110 section 15.1: which statuses.
func TestSection3Statuses(t *testing.T) {
	explicit := []string{"Cache-Control: max-age=10"}
	rule := cache.Rule{TTL: ten}
	type kept struct{ explicit, silent bool }
	for status, want := range map[int]struct{ kept, withErrors kept }{
		200: {kept{true, true}, kept{true, true}},
		201: {kept{true, false}, kept{true, false}},
		203: {kept{true, true}, kept{true, true}},
		204: {kept{true, true}, kept{true, true}},
		206: {},
		299: {kept{true, false}, kept{true, false}},
		301: {kept{true, false}, kept{true, false}},
		302: {kept{true, false}, kept{true, false}},
		304: {},
		307: {kept{true, false}, kept{true, false}},
		400: {kept{}, kept{true, false}},
		401: {},
		403: {},
		404: {kept{}, kept{true, true}},
		405: {kept{}, kept{true, true}},
		410: {kept{}, kept{true, true}},
		414: {kept{}, kept{true, true}},
		429: {},
		500: {kept{}, kept{true, false}},
		501: {kept{}, kept{true, true}},
		503: {kept{}, kept{true, false}},
	} {
		storing{"explicit", explicit, want.kept.explicit}.run(t, rule, status)
		storing{"silent", nil, want.kept.silent}.run(t, rule, status)
		storing{"explicit with errors", explicit, want.withErrors.explicit}.run(t, cache.Rule{TTL: ten, Errors: true}, status)
		storing{"silent with errors", nil, want.withErrors.silent}.run(t, cache.Rule{TTL: ten, Errors: true}, status)
	}
	for _, status := range []int{299, 599} {
		storing{"must-understand", []string{"Cache-Control: max-age=10, must-understand"}, false}.run(t, cache.Rule{TTL: ten, Errors: true}, status)
	}
}

// RFC 9111 section 4.2.1: calculating the freshness lifetime of a shared cache.
func TestSection421Lifetime(t *testing.T) {
	for _, row := range []struct {
		answer []string
		want   time.Duration
	}{
		{[]string{"Cache-Control: max-age=10"}, ten},
		{[]string{"Cache-Control: MaX-aGe=10"}, ten},
		{[]string{`Cache-Control: max-age="10"`}, ten},
		{[]string{"Cache-Control: max-age=0010"}, ten},
		{[]string{"Cache-Control: max-age=99, s-maxage=10"}, ten},
		{[]string{"Cache-Control: max-age=0, s-maxage=10", "Expires: now-10s"}, ten},
		{[]string{"Cache-Control: s-maxage=10", "Cache-Control: max-age=1"}, ten},
		{[]string{"Cache-Control: max-age=10", "Expires: now-1h", "Date: now"}, ten},
		{[]string{"Cache-Control: max-age=10", "Expires: 0"}, ten},
		{[]string{"Cache-Control: max-age=10, max-age=99"}, ten},
		{[]string{"Cache-Control: max-age=99", "Cache-Control: max-age=10"}, ten},
		{[]string{`Cache-Control: extension="max-age=99", max-age=10`}, ten},
		{[]string{`Cache-Control: extension="a\", max-age=99", max-age=10`}, ten},
		{[]string{"Expires: now+10s", "Date: now"}, ten},
		{[]string{"Expires: now+10s"}, ten},
		{[]string{"Expires: now+10s", "Date: nonsense"}, ten},
		{[]string{"Expires: now+1h10s", "Date: now+1h"}, ten}, // a clock that is fast
		{[]string{"Cache-Control: max-age=0", "Expires: now+10s"}, 0},
		{[]string{"Cache-Control: max-age=-10"}, 0},
		{[]string{"Cache-Control: max-age='10'"}, 0},
		{[]string{"Cache-Control: max-age=10.5"}, 0},
		{[]string{"Cache-Control: max-age=10a"}, 0},
		{[]string{"Cache-Control: max-age="}, 0},
		{[]string{"Cache-Control: max-age"}, 0},
		{[]string{"Cache-Control: max-age =10"}, 0},
		{[]string{"Cache-Control: max-age= 10"}, 0},
		{[]string{"Expires: 0"}, 0},
		{[]string{"Expires: now-10s"}, 0},
		{[]string{"Expires: now+10s", "Expires: now+20s"}, 0},
		{[]string{"Expires: now+1h", "Date: now+2h"}, 0},
		{nil, 20 * time.Second}, // silent: the rule's
		{[]string{"Cache-Control: public"}, 20 * time.Second},
	} {
		bubble(t, "", func(t *testing.T) {
			rule := cache.Rule{TTL: 20 * time.Second}
			answer := ok("x", row.answer...)
			if row.want > 0 && !reused(t, rule, answer, row.want-time.Second) {
				t.Errorf("%q is not reused within %s", row.answer, row.want)
			}
		})
		bubble(t, "", func(t *testing.T) {
			if reused(t, cache.Rule{TTL: 20 * time.Second}, ok("x", row.answer...), row.want) {
				t.Errorf("%q is reused after %s", row.answer, row.want)
			}
		})
	}
	for _, large := range []string{"2147483647", "2147483648", "99999999999", "99999999999999999999999999"} {
		storing{large, []string{"Cache-Control: max-age=" + large}, true}.run(t, cache.Rule{}, 200)
	}
	storing{"silent without a rule", []string{`Etag: "a"`}, false}.run(t, cache.Rule{}, 200)
}

// RFC 9111 section 4.2.3: calculating age.
func TestSection423Age(t *testing.T) {
	for _, row := range []storing{
		{"an age within the lifetime", []string{"Age: 5"}, true},
		{"an age over the lifetime", []string{"Age: 10"}, false},
		{"an age that leaves no second", []string{"Age: 9"}, false},
		{"not a number", []string{"Age: abc"}, false},
		{"negative", []string{"Age: -5"}, false},
		{"a float", []string{"Age: 5.0"}, false},
		{"a list", []string{"Age: 0, 0"}, false},
		{"two lines", []string{"Age: 0", "Age: 0"}, false},
		{"a parameter", []string{"Age: 5;a=1"}, false},
		{"an old date", []string{"Date: now-20s"}, false},
		{"a date a little past", []string{"Date: now-5s"}, true},
		{"a date in the future", []string{"Date: now+20s"}, true},
	} {
		row.answer = append(row.answer, "Cache-Control: max-age=10")
		row.run(t, cache.Rule{}, 200)
	}
	for _, row := range []storing{
		{"a rule's lifetime does not trust upstream's clock", []string{"Date: now-1h"}, true},
		{"a rule's lifetime counts a said age", []string{"Age: 10"}, false},
	} {
		row.run(t, cache.Rule{TTL: ten}, 200)
	}
	bubble(t, "the time in transit counts", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = func(int, http.Header) (*cache.Answer, error) {
			time.Sleep(6 * time.Second)
			return ok("x", "Cache-Control: max-age=10", "Age: 1"), nil
		}
		w.get()
		time.Sleep(2 * time.Second)
		if got := w.get().Header().Get("Age"); got != "9" {
			t.Errorf("Age = %q, want 1 said + 6 in transit + 2 kept", got)
		}
		time.Sleep(time.Second)
		if w.get(); w.calls.Load() != 2 {
			t.Errorf("served at age 10 of 10")
		}
	})
	bubble(t, "the time in the queue does not count", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.rule = cache.Rule{TTL: 2 * time.Second}
		w.upstream = answers()
		w.sending = func(context.Context, *cache.Fill) error { time.Sleep(30 * time.Second); return nil }
		w.get()
		if s := w.get(); s.result.Status != cache.Hit {
			t.Errorf("an answer that waited 30 s to be asked for is %s", s.cacheStatus())
		}
	})
}

// RFC 9111 section 5.2.1: what the client asks for.
func TestSection521RequestDirectives(t *testing.T) {
	for _, row := range []struct {
		name, directive string
		age             time.Duration // of an answer that is fresh for ten seconds
		want            cache.Status
	}{
		{"nothing", "", 5 * time.Second, cache.Hit},
		{"no-cache", "no-cache", 0, cache.Requested},
		{"no-store", "no-store", 0, cache.Bypass},
		{"max-age over the age", "max-age=6", 5 * time.Second, cache.Hit},
		{"max-age under the age", "max-age=4", 5 * time.Second, cache.Requested},
		{"max-age=0", "max-age=0", 500 * time.Millisecond, cache.Requested},
		{"max-age that cannot be read", "max-age=x", time.Second, cache.Requested},
		{"two max-ages: the stricter", "max-age=9, max-age=1", 5 * time.Second, cache.Requested},
		{"min-fresh within what is left", "min-fresh=5", 5 * time.Second, cache.Hit},
		{"min-fresh over what is left", "min-fresh=6", 5 * time.Second, cache.Requested},
		{"min-fresh that cannot be read", "min-fresh=x", time.Second, cache.Requested},
		{"stale", "", ten, cache.Expired},
		{"max-stale", "max-stale=5", 14 * time.Second, cache.Stale},
		{"max-stale exceeded", "max-stale=5", 16 * time.Second, cache.Expired},
		{"any staleness", "max-stale", time.Hour, cache.Stale},
		{"max-stale that cannot be read", "max-stale=x", 12 * time.Second, cache.Expired},
		{"max-stale with min-fresh, which nothing stale has", "max-stale=5, min-fresh=1", 12 * time.Second, cache.Expired},
		{"max-stale with max-age", "max-stale=5, max-age=5", 12 * time.Second, cache.Requested},
		{"only-if-cached, fresh", "only-if-cached", 5 * time.Second, cache.Hit},
		{"only-if-cached, stale", "only-if-cached", ten, cache.NotCached},
		{"only-if-cached, no-cache", "only-if-cached, no-cache", 0, cache.NotCached},
		{"only-if-cached, no-store", "only-if-cached, no-store", 0, cache.NotCached},
		{"quotes that do not close", `x="`, time.Second, cache.Requested},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{})
			w.upstream = answers("Cache-Control: max-age=10")
			w.get()
			time.Sleep(row.age)
			s := w.get("Cache-Control: " + row.directive)
			if s.result.Status != row.want {
				t.Errorf("%q at age %s: %s, want %s", row.directive, row.age, s.result.Status, row.want)
			}
			asked := w.calls.Load() == 2
			if want := row.want != cache.Hit && row.want != cache.Stale && row.want != cache.NotCached; asked != want {
				t.Errorf("%q at age %s: upstream asked = %t, want %t", row.directive, row.age, asked, want)
			}
		})
	}
	bubble(t, "Pragma: no-cache", func(t *testing.T) {
		if reused(t, cache.Rule{TTL: ten}, ok("x"), time.Second, "Pragma: no-cache") {
			t.Error("Pragma: no-cache alone is not heeded (section 5.4)")
		}
		if !reused(t, cache.Rule{TTL: ten}, ok("x"), time.Second, "Pragma: no-cache", "Cache-Control: max-age=9") {
			t.Error("Pragma counts beside Cache-Control")
		}
	})
	bubble(t, "an answer to no-store is not stored", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers("Cache-Control: max-age=10")
		w.get("Cache-Control: no-store")
		if s := w.get(); s.result.Status != cache.Miss {
			t.Errorf("then: %s", s.result.Status)
		}
	})
	bubble(t, "only-if-cached does not wait for a fetch", func(t *testing.T) {
		w := newWorld(t, cache.Config{})
		w.upstream = answers()
		w.slow()
		go w.get()
		synctest.Wait()
		r := cache.Request{Key: w.key, Directives: cache.Directives{OnlyIfCached: true}}
		result, err := w.cache.Fetch(t.Context(), r, w.rule, w.fetch)
		if err != nil || result.Status != cache.NotCached || result.Entry != nil {
			t.Errorf("Fetch = %+v, %v", result, err)
		}
		time.Sleep(2 * time.Second) // let the fetch end
	})
}

// What tools wait on is never older than its rule says: neither upstream's word nor its failure stretches it.
func TestStrictRule(t *testing.T) {
	for _, row := range []struct {
		name, control string
		wait          time.Duration
		client        string
		served        bool
	}{
		{"within the rule", "X-Silent: 1", 1900 * time.Millisecond, "", true},
		{"upstream allows more", "Cache-Control: max-age=60", 2 * time.Second, "", false},
		{"upstream allows less", "Cache-Control: max-age=1", time.Second, "", false},
		{"upstream allows stale ones", "Cache-Control: max-age=1, stale-while-revalidate=60, stale-if-error=60", 2 * time.Second, "", false},
		{"the client accepts stale ones", "X-Silent: 1", 2 * time.Second, "Cache-Control: max-stale", false},
		{"upstream fails", "X-Silent: 1", 2 * time.Second, "", false},
	} {
		bubble(t, row.name, func(t *testing.T) {
			w := newWorld(t, cache.Config{StaleIfError: time.Hour})
			w.rule = cache.Rule{TTL: 2 * time.Second, Strict: true}
			w.upstream = func(n int, _ http.Header) (*cache.Answer, error) {
				if n > 1 {
					return nil, errDown
				}
				return ok("x", row.control), nil
			}
			w.get()
			time.Sleep(row.wait)
			if s := w.get(row.client); (s.err == nil) != row.served {
				t.Errorf("%s, %s later: served = %t, want %t (%s)", row.control, row.wait, s.err == nil, row.served, s.cacheStatus())
			}
		})
	}
}
