package audit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"corp.example/gateway/internal/audit"
)

// answered is a read's record as it is encoded.
func answered() audit.Record {
	r := read()
	audit.StampAt(&r, audit.Outcome, noon)
	return r
}

// checkSame compares the line of r with that of an encoder that remembers nothing.
func checkSame(t *testing.T, recent *audit.Recent, r audit.Record, what string) {
	t.Helper()
	want := string(audit.AppendRecord(nil, &r))
	if got := string(recent.AppendRecord(nil, &r)); got != want {
		t.Errorf("%s: encoded\n%s, want\n%s", what, got, want)
	}
}

// Whatever two records differ in, the line of the second is its own.
func TestALineIsNotTakenForAnothers(t *testing.T) {
	var vary func(t *testing.T, name string, field func(*audit.Record) reflect.Value)
	vary = func(t *testing.T, name string, field func(*audit.Record) reflect.Value) {
		base := answered()
		v := field(&base)
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() && v.Type() != reflect.TypeFor[netip.Addr]() {
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					vary(t, name+"."+v.Type().Field(i).Name, func(r *audit.Record) reflect.Value { return field(r).Field(i) })
				}
			}
			return
		}
		recent := audit.NewRecent()
		for range 3 {
			checkSame(t, recent, base, "the first record")
		}
		if records, _ := recent.Kept(); len(records) != 1 {
			t.Fatalf("%d calls are remembered where one came three times, want 1", len(records))
		}
		other := answered()
		set(t, field(&other), name)
		for range 3 {
			checkSame(t, recent, other, name+" changed")
		}
		checkSame(t, recent, base, name+" changed back")
	}
	vary(t, "record", func(r *audit.Record) reflect.Value { return reflect.ValueOf(r).Elem() })
}

// set gives v another value than a read's record has.
func set(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(noon.Add(time.Second)))
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
	case []string:
		v.Set(reflect.ValueOf([]string{"path"}))
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString("x" + v.String()[min(1, v.Len()):])
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + int64(time.Millisecond))
		case reflect.Uint64:
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("%s: the test knows no other value of a %s", name, v.Type())
		}
	}
}

// Many calls in no order, some with values that are cut, escaped or redacted, share the slots: each line is still its own.
func TestLinesOfManyCallsAreTheirOwn(t *testing.T) {
	recent, random := audit.NewRecent(), rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		r := answered()
		n := random.IntN(600)
		r.ID = fmt.Sprintf("id-%d", i)
		r.Path = fmt.Sprintf("/v1/projects/project-%d?%d", n, i%3)
		r.Caller.Subject = fmt.Sprintf("person-%d", n%15)
		switch random.IntN(5) {
		case 0:
			r.Upstream, r.Cache = audit.Upstream{Status: 200, Duration: time.Duration(i) * time.Microsecond}, "miss"
		case 1:
			r.Queue = time.Duration(i) * time.Microsecond
		case 2:
			r.Bytes = int64(n % 3)
		case 3:
			r.Cache, r.Status, r.Outcome, r.Bytes = "", 0, "", 0
		}
		switch n % 7 {
		case 0:
			r.Client.UserAgent = strings.Repeat("long ", 100)
		case 1:
			r.RequestID = strings.Repeat("long ", 100)
		case 2:
			r.Client.UserAgent = "a\"b sbp_0123456789abcdef0123456789abcdef01234567"
		}
		checkSame(t, recent, r, "one of many")
	}
}

// What stays in memory is bounded, is no token, and refers to nothing of a request.
func TestWhatIsRememberedOfLines(t *testing.T) {
	const token = "sbp_0123456789abcdef0123456789abcdef01234567"
	for what, tt := range map[string]struct {
		change func(*audit.Record)
		times  int
		want   int
	}{
		"a call that comes once":         {func(*audit.Record) {}, 1, 0},
		"a call that comes twice":        {func(*audit.Record) {}, 2, 1},
		"a query":                        {func(r *audit.Record) { r.Path += "?q=" + strings.Repeat("x", 5000) }, 3, 1},
		"a long path":                    {func(r *audit.Record) { r.Path = "/" + strings.Repeat("x", 1000) }, 3, 0},
		"a path that is cut":             {func(r *audit.Record) { r.Path = "/" + strings.Repeat("x", 5000) }, 3, 0},
		"a user agent that is cut":       {func(r *audit.Record) { r.Client.UserAgent = strings.Repeat("x", 5000) }, 3, 0},
		"a token in the path":            {func(r *audit.Record) { r.Path = "/" + token }, 3, 0},
		"a token in the user agent":      {func(r *audit.Record) { r.Client.UserAgent = token }, 3, 0},
		"an answer that upstream gave":   {func(r *audit.Record) { r.Upstream.RequestID = token }, 3, 1},
		"a statement":                    {func(r *audit.Record) { r.SQL = strings.Repeat("select 1;", 200) }, 3, 1},
		"a request id that is cut short": {func(r *audit.Record) { r.RequestID = strings.Repeat("x", 200) }, 3, 0},
	} {
		recent, r := audit.NewRecent(), answered()
		tt.change(&r)
		for range tt.times {
			checkSame(t, recent, r, what)
		}
		records, texts := recent.Kept()
		if len(records) != tt.want {
			t.Errorf("%s, %d times: %d are remembered, want %d", what, tt.times, len(records), tt.want)
		}
		for i := range records {
			if all := fmt.Sprintf("%+v", records[i]); len(all) > 2000 || len(texts[i]) > 1200 || strings.Contains(all+texts[i], token) {
				t.Errorf("%s: remembered %.3000s and %d bytes of text, want little of it and no token", what, all, len(texts[i]))
			}
		}
	}
}

// A line that waits to be written holds what it shares with others, whatever becomes of these.
func TestWhatLinesShareStaysAsItIs(t *testing.T) {
	recent, r := audit.NewRecent(), answered()
	recent.AppendRecord(nil, &r)
	recent.AppendRecord(nil, &r)
	before := recent.Shared(&r)
	if again := recent.Shared(&r); len(before) < 300 || &again[0] != &before[0] {
		t.Errorf("two lines of the same call share %d bytes, and hold them twice", len(before))
	}
	text := string(before)
	for _, change := range []func(*audit.Record){
		func(r *audit.Record) { r.Status, r.Bytes = 304, 0 },
		func(r *audit.Record) { r.Queue = time.Second },
		func(r *audit.Record) { r.Path += "/functions" },
	} {
		other := answered()
		change(&other)
		for range 3 {
			recent.AppendRecord(nil, &other)
		}
		if string(before) != text {
			t.Fatalf("a line that was encoded before has become\n%s, and was\n%s", before, text)
		}
	}
}

// A request's strings are parts of its header, which may be a mebibyte.
func TestWhatIsRememberedOfLinesIsNoPartOfARequest(t *testing.T) {
	recent, r := audit.NewRecent(), answered()
	header := []*string{&r.Method, &r.Path, &r.Client.UserAgent, &r.Target.Project, &r.Target.Organization}
	for range 2 {
		checkSame(t, recent, r, "a request")
	}
	records, _ := recent.Kept()
	if len(records) != 1 {
		t.Fatalf("%d calls are remembered, want 1", len(records))
	}
	kept := records[0]
	for i, s := range []*string{&kept.Method, &kept.Path, &kept.Client.UserAgent, &kept.Target.Project, &kept.Target.Organization} {
		if *s != *header[i] || unsafe.StringData(*s) == unsafe.StringData(*header[i]) {
			t.Errorf("of %q %q is remembered, want a copy", *header[i], *s)
		}
	}
}
