package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"corp.example/gateway/internal/audit"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 123456000, time.UTC)

func decode(tb testing.TB, line []byte) audit.Record {
	tb.Helper()
	var r audit.Record
	if err := json.Unmarshal(line, &r); err != nil {
		tb.Fatalf("decoding %s: %v", line, err)
	}
	return r
}

func TestLineHoldsEveryFieldOfTheSchema(t *testing.T) {
	r := read()
	r.ID, r.Queue = "00112233445566778899aabbccddeeff", 1500*time.Microsecond
	r.Upstream = audit.Upstream{Status: 200, Duration: 42 * time.Millisecond, RequestID: "up-1"}
	r.BodySHA256, r.Decision.Shadow = "ab12", "policy.yaml:20 teams[0].deny[0]"
	audit.StampAt(&r, audit.Outcome, noon)
	const want = `{"v":1,"time":"2026-01-02T12:00:00.123456Z","phase":"outcome","id":"00112233445566778899aabbccddeeff",` +
		`"request_id":"0197a2b4c6d8e0f1a2b3c4d5e6f70819","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",` +
		`"caller":{"kind":"token","issuer":"corp","subject":"00u1a2b3c4d5","email":"ada@corp.example","token":"tok_7f3a9c"},` +
		`"team":"payments","client":{"ip":"10.20.30.40","user_agent":"supabase-cli/3.1.0 (linux; x64)"},` +
		`"operation":"v1-get-project","method":"GET","path":"/v1/projects/abcdefghijklmnopqrst",` +
		`"target":{"kind":"project","project":"abcdefghijklmnopqrst","organization":"acme"},` +
		`"decision":{"allow":true,"rule":"policy.yaml:14 teams[0].allow[1]","reason":"payments may projects:read here",` +
		`"shadow":"policy.yaml:20 teams[0].deny[0]"},"credential":"shared","cache":"hit","queue_ms":1.500,"upstream":{"status":200,"ms":42,"request_id":"up-1"},` +
		`"status":200,"outcome":"ok","bytes":2048,"body_sha256":"ab12",` +
		`"seq":2,"prev":"0000000000000000000000000000000000000000000000000000000000000000"}` + "\n"
	line := audit.EncodeLine(&r)
	if string(line) != want {
		t.Errorf("line =\n%swant\n%s", line, want)
	}
	got := decode(t, line)
	r.Seq, r.Prev = 2, strings.Repeat("0", 64)
	if !reflect.DeepEqual(got, r) {
		t.Errorf("decoded =\n%+v, want\n%+v", got, r)
	}
}

func TestEmptyFieldsAreLeftOutButNeverTheDecision(t *testing.T) {
	var r audit.Record
	audit.StampAt(&r, audit.Outcome, noon)
	const want = `{"v":1,"time":"2026-01-02T12:00:00.123456Z","phase":"outcome","decision":{"allow":false},"seq":2,`
	if line := audit.EncodeLine(&r); !strings.HasPrefix(string(line), want) {
		t.Errorf("line = %s, want it to begin with %s", line, want)
	}
}

func TestTextFromOutsideCannotForgeALine(t *testing.T) {
	for _, attack := range []string{
		"curl\n{\"v\":1,\"phase\":\"outcome\"}",
		"curl\r\n",
		`curl"},"decision":{"allow":true},"x":{"y":"`,
		`curl\`,
		`curl\",`,
		"curl\x00\x1b[2K\x1b[1A\x7f",
		"curl\u2028\u2029\u0085",
		"curl \u202egnp.exe \u2066x\u2069 \ufeff",
		"curl \xff\xfe\xc3",
		"curl\xe2\x80",
		`curl","seq":7,"prev":"0000000000000000000000000000000000000000000000000000000000000000"}`,
	} {
		r := read()
		r.Client.UserAgent = attack
		r.RequestID, r.Path, r.Method, r.Caller.Subject = attack, attack, "GET", attack
		audit.StampAt(&r, audit.Outcome, noon)
		line := audit.EncodeLine(&r)
		checkLine(t, line)
		if got := decode(t, line); got.Client.UserAgent != strings.ToValidUTF8(attack, "") && !strings.ContainsRune(got.Client.UserAgent, utf8.RuneError) {
			t.Errorf("user agent %q came back as %q", attack, got.Client.UserAgent)
		}
		if seq, ok := audit.ParseTail(bytes.TrimSuffix(line, []byte("\n"))); !ok || seq != 2 {
			t.Errorf("with %q the tail reads %d, %v", attack, seq, ok)
		}
	}
}

// Text is looked at in words of eight bytes: nothing may hide in one.
func TestEveryByteIsSafeAtEveryPlace(t *testing.T) {
	for _, length := range []int{1, 7, 8, 9, 15, 16, 17} {
		for place := range length {
			for c := range 256 {
				text := strings.Repeat("a", place) + string([]byte{byte(c)}) + strings.Repeat("z", length-place-1)
				r := audit.Record{Team: text}
				audit.StampAt(&r, audit.Outcome, noon)
				line := audit.EncodeLine(&r)
				if checkLine(t, line); t.Failed() {
					t.Fatalf("byte %#x at %d of %d", c, place, length)
				}
				if got := decode(t, line).Team; c < utf8.RuneSelf && got != text {
					t.Fatalf("%q came back as %q", text, got)
				}
			}
		}
	}
}

// checkLine holds what is true of every line: one newline at its end, printable, valid JSON in which no key repeats.
func checkLine(t *testing.T, line []byte) {
	t.Helper()
	if bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Errorf("more or less than one line: %q", line)
	}
	if !json.Valid(line) || !utf8.Valid(line) {
		t.Errorf("not valid JSON: %q", line)
	}
	for _, c := range string(line[:len(line)-1]) {
		if c < 0x20 || 0x7f <= c && c <= 0x9f || c == 0x2028 || c == 0x2029 || 0x202a <= c && c <= 0x202e || 0x2066 <= c && c <= 0x2069 {
			t.Errorf("%U stands unescaped in %q", c, line)
		}
	}
	if len(line) > audit.MaxLine {
		t.Errorf("a line of %d bytes", len(line))
	}
}

func TestLongValuesAreCutAndSaySo(t *testing.T) {
	r := read()
	r.Client.UserAgent = strings.Repeat("ä", 5000)
	r.Path = "/" + strings.Repeat("x", 1<<20)
	audit.StampAt(&r, audit.Outcome, noon)
	line := audit.EncodeLine(&r)
	checkLine(t, line)
	got := decode(t, line)
	if want := []string{"client.user_agent", "path"}; !slices.Equal(slices.Sorted(slices.Values(got.Cut)), want) {
		t.Errorf("cut = %q, want %q", got.Cut, want)
	}
	for name, value := range map[string]string{"user agent": got.Client.UserAgent, "path": got.Path} {
		if !strings.HasSuffix(value, "…") || len(value) > 1024 || !utf8.ValidString(value) {
			t.Errorf("%s is %d bytes and ends in %q", name, len(value), value[len(value)-8:])
		}
	}
	if r.Cut != nil {
		t.Errorf("the caller's record was changed: Cut = %q", r.Cut)
	}
}

func TestACutCannotBeFeigned(t *testing.T) {
	r := read()
	r.Client.UserAgent = "curl…"
	audit.StampAt(&r, audit.Outcome, noon)
	if got := decode(t, audit.EncodeLine(&r)); len(got.Cut) != 0 {
		t.Errorf("cut = %q for a value that was not cut", got.Cut)
	}
}

func TestNoTokenAndNoQueryEverAppears(t *testing.T) {
	const pat = "sbp_0123456789abcdef0123456789abcdef01234567"
	const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
	for _, text := range []string{pat, jwt, "x" + pat, pat + pat, "curl (" + pat + ") " + jwt, strings.Repeat("y", 250) + pat} {
		r := read()
		r.Path, r.Client.UserAgent, r.RequestID, r.Upstream.RequestID = "/v1/"+text, text, text, text
		audit.StampAt(&r, audit.Outcome, noon)
		line := string(audit.EncodeLine(&r))
		for _, secret := range []string{pat[:20], pat[20:], jwt[3:], "c2lnbmF0dXJl"} {
			if strings.Contains(line, secret) {
				t.Errorf("%q is in %s", secret, line)
			}
		}
	}
	r := read()
	r.Path = "/v1/projects/a/analytics/endpoints/logs?sql=select+password"
	audit.StampAt(&r, audit.Outcome, noon)
	if line := audit.EncodeLine(&r); bytes.Contains(line, []byte("select")) || !bytes.Contains(line, []byte(`endpoints/logs"`)) {
		t.Errorf("the query was not cut off: %s", line)
	}
}

func TestWordsThatLookLikeTokensStay(t *testing.T) {
	for _, text := range []string{"sbp_tool/1.0", "eyJ", "keyJar/2", "sbp_"} {
		r := read()
		r.Client.UserAgent = text
		audit.StampAt(&r, audit.Outcome, noon)
		if got := decode(t, audit.EncodeLine(&r)); got.Client.UserAgent != text {
			t.Errorf("user agent %q became %q", text, got.Client.UserAgent)
		}
	}
}

func TestAddressesAreWrittenInOneForm(t *testing.T) {
	for in, want := range map[string]string{"::ffff:10.0.0.1": "10.0.0.1", "fe80::1%eth0\"\n": "fe80::1", "2001:db8::1": "2001:db8::1"} {
		r := read()
		r.Client.IP = netip.MustParseAddr(in)
		audit.StampAt(&r, audit.Outcome, noon)
		if got := decode(t, audit.EncodeLine(&r)); got.Client.IP.String() != want {
			t.Errorf("address %q is written as %s, want %s", in, got.Client.IP, want)
		}
	}
}

func TestALaterSchemaIsRefused(t *testing.T) {
	var r audit.Record
	if err := json.Unmarshal([]byte(`{"v":2,"time":"2026-01-02T12:00:00Z"}`), &r); err == nil {
		t.Error("a line of version 2 was read as version 1")
	}
}

func TestRecordsMarshalAsTheirLines(t *testing.T) {
	r := read()
	audit.StampAt(&r, audit.Outcome, noon)
	line := audit.EncodeLine(&r)
	again, err := json.Marshal(decode(t, line))
	if err != nil || string(again)+"\n" != string(line) {
		t.Errorf("marshalled %s (%v), want %s", again, err, line)
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	r := read()
	audit.StampAt(&r, audit.Outcome, noon)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = audit.AppendRecord(buf[:0], &r) }); n != 0 {
		t.Errorf("encoding a record allocates %v times, want 0", n)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("curl", "/v1/projects", "ada", int64(1500), 200, int64(1767355200))
	f.Add("a\nb\"\\\x00\xff\u2028", "/v1/%00?x=\"", strings.Repeat("é", 300), int64(-1), -5, int64(-1))
	f.Add("sbp_0123456789abcdef0123456789abcdef01234567", "eyJeyJeyJeyJeyJeyJ", `","seq":1,"prev":"`, int64(1)<<40, 0, int64(1)<<40)
	f.Fuzz(func(t *testing.T, a, b, c string, micros int64, n int, unix int64) {
		r := audit.Record{
			ID: "x", RequestID: b, TraceID: c, Caller: audit.Caller{Kind: a, Issuer: b, Subject: c, Email: a, Token: b}, Team: c,
			Client: audit.Client{UserAgent: a}, Operation: c, Method: a, Path: b, Target: audit.Target{Kind: a, Project: b, Organization: c},
			Decision: audit.Decision{Allow: n > 0, Rule: a, Reason: c}, Credential: b, Cache: c, Queue: time.Duration(micros%1e12) * time.Microsecond,
			Upstream: audit.Upstream{Status: n, Duration: time.Duration(micros%1e9) * time.Microsecond, RequestID: a},
			Status:   n, Outcome: b, Bytes: micros, BodySHA256: c, Event: a, Detail: b,
		}
		audit.StampAt(&r, audit.Outcome, time.Unix(unix, 0))
		line := audit.EncodeLine(&r)
		checkLine(t, line)
		first := decode(t, line)
		if len(c) <= 64 && utf8.ValidString(c) && (first.Caller.Subject != c || first.Decision.Reason != c) {
			t.Errorf("%q came back as %q", c, first.Caller.Subject)
		}
		if first.Status != n || first.Bytes != micros || first.Decision.Allow != (n > 0) || first.Queue != max(0, r.Queue) {
			t.Errorf("numbers came back as %d, %d, %v, want %d, %d, %v", first.Status, first.Bytes, first.Queue, n, micros, r.Queue)
		}
		// What was read is written again as it was, unless U+FFFD made a value longer than its bound.
		if utf8.ValidString(a) && utf8.ValidString(b) && utf8.ValidString(c) {
			if again := decode(t, audit.EncodeLine(&first)); !reflect.DeepEqual(first, again) {
				t.Errorf("read %+v, written and read again %+v", first, again)
			}
		}
	})
}

// FuzzTail: what parses as a line's tail is exactly what the encoder writes, so no two texts mean the same place.
func FuzzTail(f *testing.F) {
	r := read()
	f.Add(bytes.TrimSuffix(audit.EncodeLine(&r), []byte("\n")))
	f.Add([]byte(`{"v":1,"time":"","seq":01,"prev":"00"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		seq, ok := audit.ParseTail(line)
		if ok && !bytes.Contains(line, fmt.Appendf(nil, `,"seq":%d,"prev":"`, seq)) {
			t.Errorf("%q was read as line %d", line, seq)
		}
	})
}
