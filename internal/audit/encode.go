package audit

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxLine bounds a line, newline included, for writers and readers. A record stays far below: its fields' bounds add up to
// about 7 KiB, 42 KiB when every byte needs a six-byte escape. Only a checkpoint that lists open intents can come near.
const maxLine = 1 << 20

// Every line begins with the same bytes in the same places, so that readers find time, phase and id without parsing.
const (
	linePrefix  = `{"v":1,"time":"`
	timeLayout  = "2006-01-02T15:04:05.000000Z" // fixed width and UTC: byte order is time order
	timeOffset  = len(linePrefix)
	phaseOffset = timeOffset + len(timeLayout) + len(`","phase":"`)
)

// maxID bounds an id: long enough for any request id, short enough for a checkpoint to list thousands.
const maxID = 64

// newID returns 128 random bits in hex: clients see ids in the portal.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	var text [32]byte
	hex.Encode(text[:], b[:])
	return string(text[:])
}

// plainID reports whether id stands in a line as it is, so that the id in a file is the id in memory.
func plainID(id string) bool {
	plain := 0 < len(id) && len(id) <= maxID
	for i := 0; plain && i < len(id); i++ {
		plain = idChars[id[i]]
	}
	return plain
}

// idChars are those of an id. A table, since the processor cannot foresee the kinds of random characters.
var idChars = func() (chars [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") {
		chars[c] = true
	}
	return chars
}()

// encoder appends one JSON object. It is written by hand because every request pays for it: no reflection, no allocation
// once its buffer has grown.
type encoder struct {
	b   []byte
	cut []string // names of the fields that were cut
}

// appendRecord appends r as a JSON object without its closing tail, which the chain adds (see chain.go).
func appendRecord(dst []byte, r *Record) []byte {
	e := encoder{b: dst, cut: r.Cut}
	e.head(r, new(clock))
	e.call(r)
	e.answer(r)
	return e.b
}

// head is what tells a call from all others, and first in its line.
func (e *encoder) head(r *Record, clock *clock) {
	e.b = append(e.b, linePrefix...)
	e.b = append(clock.append(e.b, r.Time), '"')
	if r.Phase == Outcome { // nearly always, and then nothing to be looked through
		e.b = append(e.b, `,"phase":"outcome"`...)
	} else {
		e.text(`"phase":`, "phase", string(r.Phase), 16)
	}
	if r.RequestID == r.ID && 0 < len(r.ID) && len(r.ID) <= maxID { // as nearly always
		b := append(e.b, `,"id":`...)
		from := len(b)
		b = appendQuoted(b, r.ID)
		id := b[from:]
		b = append(b, `,"request_id":`...)
		e.b = append(b, id...)
	} else {
		e.text(`"id":`, "id", r.ID, maxID)
		e.text(`"request_id":`, "request_id", redact(r.RequestID), 128)
	}
	e.text(`"trace_id":`, "trace_id", r.TraceID, 64)
}

// call is who called what, and what policy said.
func (e *encoder) call(r *Record) {
	e.caller(&r.Caller)
	e.text(`"team":`, "team", r.Team, 128)
	e.client(&r.Client)
	e.text(`"operation":`, "operation", r.Operation, 128)
	e.text(`"method":`, "method", r.Method, 16)
	e.text(`"path":`, "path", redact(recordedPath(r.Path)), 1024)
	e.target(&r.Target)
	if r.Phase == Intent || r.Phase == Outcome {
		e.decision(&r.Decision)
	}
	e.text(`"credential":`, "credential", r.Credential, 128)
}

// answer is how it ended, and all the rest but the tail.
func (e *encoder) answer(r *Record) {
	e.text(`"cache":`, "cache", r.Cache, 64)
	e.millis(`"queue_ms":`, r.Queue)
	e.upstream(&r.Upstream)
	e.number(`"status":`, int64(r.Status))
	e.text(`"outcome":`, "outcome", r.Outcome, 64)
	e.number(`"bytes":`, r.Bytes)
	e.text(`"body_sha256":`, "body_sha256", r.BodySHA256, 64)
	e.text(`"sql":`, "sql", r.SQL, 2048)
	e.text(`"event":`, "event", r.Event, 64)
	e.text(`"detail":`, "detail", redact(r.Detail), 1024)
	e.cuts()
}

// recordedPath leaves out the query, which may carry SQL.
func recordedPath(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

func (e *encoder) caller(c *Caller) {
	if *c == (Caller{}) {
		return
	}
	e.open(`"caller":`)
	e.text(`"kind":`, "caller.kind", c.Kind, 32)
	e.text(`"issuer":`, "caller.issuer", c.Issuer, 128)
	e.text(`"subject":`, "caller.subject", c.Subject, 256)
	e.text(`"email":`, "caller.email", c.Email, 256) // RFC 5321 allows 254
	e.text(`"token":`, "caller.token", c.Token, 64)
	e.b = append(e.b, '}')
}

func (e *encoder) client(c *Client) {
	if !c.IP.IsValid() && c.UserAgent == "" {
		return
	}
	e.open(`"client":`)
	if c.IP.IsValid() {
		e.key(`"ip":`)
		e.b = append(e.b, '"')
		e.b = plainIP(c.IP).AppendTo(e.b)
		e.b = append(e.b, '"')
	}
	e.text(`"user_agent":`, "client.user_agent", redact(c.UserAgent), 256)
	e.b = append(e.b, '}')
}

// plainIP leaves out the zone, which is free text, and writes a mapped IPv4 address as the IPv4 address it is.
func plainIP(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (e *encoder) target(t *Target) {
	if *t == (Target{}) {
		return
	}
	e.open(`"target":`)
	e.text(`"kind":`, "target.kind", t.Kind, 32)
	e.text(`"project":`, "target.project", t.Project, 128)
	e.text(`"organization":`, "target.organization", t.Organization, 128)
	e.text(`"parent":`, "target.parent", t.Parent, 128)
	e.b = append(e.b, '}')
}

// decision is written even when it is empty: its absence must not read as consent.
func (e *encoder) decision(d *Decision) {
	e.open(`"decision":`)
	e.key(`"allow":`)
	e.b = strconv.AppendBool(e.b, d.Allow)
	e.text(`"rule":`, "decision.rule", d.Rule, 256)
	e.text(`"reason":`, "decision.reason", d.Reason, 512)
	e.text(`"shadow":`, "decision.shadow", d.Shadow, 256)
	e.b = append(e.b, '}')
}

func (e *encoder) upstream(u *Upstream) {
	if *u == (Upstream{}) {
		return
	}
	e.open(`"upstream":`)
	e.number(`"status":`, int64(u.Status))
	e.millis(`"ms":`, u.Duration)
	e.text(`"request_id":`, "upstream.request_id", redact(u.RequestID), 128)
	e.b = append(e.b, '}')
}

func (e *encoder) cuts() {
	if len(e.cut) == 0 {
		return
	}
	e.key(`"cut":`)
	e.b = append(e.b, '[')
	for i, name := range e.cut {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = appendQuoted(e.b, name)
	}
	e.b = append(e.b, ']')
}

// open begins a nested object.
func (e *encoder) open(key string) {
	e.key(key)
	e.b = append(e.b, '{')
}

func (e *encoder) key(key string) {
	b := e.b
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	e.b = append(b, key...)
}

func (e *encoder) number(key string, n int64) {
	if n == 0 {
		return
	}
	e.key(key)
	e.b = strconv.AppendInt(e.b, n, 10)
}

// millis writes a duration in milliseconds, to the microsecond.
func (e *encoder) millis(key string, d time.Duration) {
	us := d.Microseconds()
	if us <= 0 {
		return
	}
	e.key(key)
	e.b = strconv.AppendInt(e.b, us/1000, 10)
	if rest := us % 1000; rest != 0 {
		e.b = append(e.b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
}

// ellipsis ends a value that was cut. Anyone may send one; the proof of a cut is the field's name in "cut".
const ellipsis = "…"

// text writes a string of at most limit bytes, or nothing when it is empty.
func (e *encoder) text(key, name, value string, limit int) {
	if value == "" {
		return
	}
	e.key(key)
	if len(value) > limit {
		e.shortened(name, value, limit)
		return
	}
	e.b = appendQuoted(e.b, value)
}

// shortened writes the beginning of a value that is too long, and notes that it is not all.
func (e *encoder) shortened(name, value string, limit int) {
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(value[end]) && limit-end < utf8.UTFMax+len(ellipsis) {
		end--
	}
	e.cut = append(e.cut[:len(e.cut):len(e.cut)], name) // never into the caller's array
	e.b = appendQuoted(e.b, value[:end])
	e.b = append(e.b[:len(e.b)-1], ellipsis+`"`...)
}

// appendQuoted appends s as a JSON string that is safe to print: control characters, line separators and characters that
// turn the direction of text are escaped, invalid UTF-8 becomes U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		n := plainPrefix(s)
		b = append(b, s[:n]...)
		if n == len(s) {
			return append(b, '"')
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		if r < utf8.RuneSelf || r == utf8.RuneError && size == 1 || deceptive(r) {
			b = appendEscape(b, r)
		} else {
			b = append(b, s[n:n+size]...)
		}
		s = s[n+size:]
	}
}

// plainPrefix returns how many bytes s begins with that a JSON string holds as they are: printable ASCII other than quote
// and backslash. It looks at eight bytes at once, since nearly all of a log is such text.
func plainPrefix(s string) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if !plainWord(word(s[i:])) {
			break
		}
	}
	if i > 0 && i+8 > len(s) && plainWord(word(s[len(s)-8:])) { // the rest, and some once more
		return len(s)
	}
	for i < len(s) && ' ' <= s[i] && s[i] < 0x7f && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

// word is the first eight bytes of s, which the compiler loads at once.
func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// plainWord reports whether all eight bytes of w are plain. Taking n from each byte borrows into the high bit of the lowest
// byte that is below n: whether there is one is exact, and the bytes above it do not matter then.
func plainWord(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash, del := w^'"'*ones, w^'\\'*ones, w^0x7f*ones
	return (w|(w-' '*ones)&^w|(quote-ones)&^quote|(slash-ones)&^slash|(del-ones)&^del)&highs == 0
}

// deceptive reports runes beyond ASCII that make a printed line look like something else: C1 controls, line and paragraph
// separators, and the marks, embeddings and isolates of bidirectional text. All are below U+10000.
func deceptive(r rune) bool {
	switch {
	case 0x80 <= r && r <= 0x9f, r == 0x61c, r == 0x200e, r == 0x200f, 0x2028 <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069, r == 0xfeff:
		return true
	}
	return false
}

func appendEscape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// appendTime writes t in UTC to the microsecond. A time outside the years 0 to 9999 is written as the zero time: it would
// break the fixed width.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Time{}
	}
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), int(month), 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), hour, 2)
	b = appendDigits(append(b, ':'), minute, 2)
	b = appendDigits(append(b, ':'), second, 2)
	b = appendDigits(append(b, '.'), t.Nanosecond()/1000, 6)
	return append(b, 'Z')
}

// clock writes times as appendTime does. It remembers the last one, whose date and second are mostly those of the next.
type clock struct {
	second int64
	text   [len(timeLayout)]byte
}

func (c *clock) append(b []byte, t time.Time) []byte {
	if s := t.Unix(); s != c.second || c.text[0] == 0 {
		c.second = s
		appendTime(c.text[:0], t)
	} else {
		const micros = len("2006-01-02T15:04:05.")
		appendDigits(c.text[:micros], t.Nanosecond()/1000, 6)
	}
	return append(b, c.text[:]...)
}

func appendDigits(b []byte, n, width int) []byte {
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// MarshalJSON writes r as the log writes it.
func (r Record) MarshalJSON() ([]byte, error) {
	e := encoder{b: appendRecord(nil, &r)}
	e.number(`"seq":`, int64(r.Seq))
	e.text(`"prev":`, "prev", r.Prev, 64)
	return append(e.b, '}'), nil
}
