package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is one answer in the form it is sent in: header block and body are built once and shared by every request that
// gets it. It never changes, but for what is worked out from it and kept: its gzip form and the fields that tell its age.
type Entry struct {
	status int
	fields []field // without Age, Content-Length, ETag and what belongs to one connection
	plain  form

	etag      string     // upstream's own; "" where it gave none
	selectors []selector // what selected it among the variants of its key

	fresh freshness
	kept  kept

	packing sync.Mutex // held while the gzip form is made
	packed  atomic.Pointer[form]
	moment  atomic.Pointer[moment]
}

// field is one header field as it is sent.
type field struct {
	name   string
	values []string
}

// form is one content coding of an answer, with the fields that differ by it. nil fields are not sent.
type form struct {
	body                   []byte
	etag, length, encoding []string
}

// kept is what an entry needs to be found and given up again. The zero value belongs to an answer that is not stored.
type kept struct {
	in       *Cache
	slot     slot
	marks    []mark
	id       uint64 // what its narrowed forms know it by
	base     uint64 // of a narrowed form: the id of what it was made from
	packable bool   // its gzip form may be made
}

// moment is the header values that tell an entry's age: they hold for one second, for all its readers.
type moment struct {
	second      int64
	age, status []string
}

// Status is the HTTP status.
func (e *Entry) Status() int { return e.status }

// Body is the body without content coding. It must not be changed.
func (e *Entry) Body() []byte { return e.plain.body }

// Header is the first value of a stored header field; "" where it has none. Age and Content-Length are not stored.
func (e *Entry) Header(name string) string {
	name = http.CanonicalHeaderKey(name)
	if name == "Etag" && e.plain.etag != nil {
		return e.plain.etag[0]
	}
	for i := range e.fields {
		if e.fields[i].name == name {
			return e.fields[i].values[0]
		}
	}
	return ""
}

// Age is how old the answer is at now (RFC 9111 section 4.2.3).
func (e *Entry) Age(now time.Time) time.Duration { return e.fresh.age(now) }

// ETag is a strong validator for a body.
func ETag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// newEntry builds what is sent from what upstream said. The body is taken over.
func newEntry(a *Answer, selectors []selector, received time.Time) *Entry {
	e := &Entry{status: a.Status, selectors: selectors, etag: a.Header.Get("Etag")}
	dropped := connectionFields(a.Header)
	e.fields = make([]field, 0, len(a.Header)+1)
	for name, values := range a.Header {
		if len(values) == 0 || ownField(name) || slices.Contains(dropped, name) {
			continue
		}
		e.fields = append(e.fields, field{name, slices.Clip(values)})
	}
	if a.Header.Get("Date") == "" {
		// RFC 9110 section 6.6.1: who stores an answer without a date gives it the time of its arrival.
		e.fields = append(e.fields, field{"Date", []string{received.UTC().Format(http.TimeFormat)}})
	}
	e.plain = form{body: fitted(a.Body), length: plainLength(a)}
	if e.etag != "" {
		e.plain.etag = []string{e.etag}
	}
	return e
}

// plainLength is the Content-Length of the body without coding. An empty body has one, too: clients that would have to
// read an empty chunked body fail to parse it.
func plainLength(a *Answer) []string {
	switch {
	case a.Status == http.StatusNoContent, a.Status == http.StatusNotModified, a.Status < 200:
		return nil
	case a.Rest == nil:
		return []string{strconv.Itoa(len(a.Body))}
	}
	if _, err := strconv.ParseUint(a.Header.Get("Content-Length"), 10, 63); err != nil {
		return nil
	}
	return []string{a.Header.Get("Content-Length")}
}

// fitted gives up a body's spare room where that is worth a copy.
func fitted(body []byte) []byte {
	if cap(body)-len(body) > len(body)/16 {
		return append(make([]byte, 0, len(body)), body...)
	}
	return body
}

// ownField tells the fields that are not stored as they came: the entry makes its own, or they belong to a connection
// (RFC 9111 section 3.1).
func ownField(name string) bool {
	switch name {
	case "Age", "Content-Length", "Etag",
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Connection":
		return true
	}
	return false
}

// connectionFields are the fields that Connection names: they belong to the connection as well.
func connectionFields(h http.Header) []string {
	var names []string
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
		}
	}
	return names
}

// freshened is the stored answer with what a 304 says anew (RFC 9111 sections 3.2 and 4.3.4). Fields about the stored
// body stay. So does the ETag: the 304 answers a request that named one validator, and can only be about that one.
func (e *Entry) freshened(notModified *Answer) *Answer {
	h := make(http.Header, len(e.fields)+2)
	for _, f := range e.fields {
		h[f.name] = f.values
	}
	if e.etag != "" {
		h["Etag"] = []string{e.etag}
	}
	dropped := connectionFields(notModified.Header)
	for name, values := range notModified.Header {
		switch name {
		case "Content-Encoding", "Content-Length", "Content-Md5", "Content-Range", "Etag":
			continue
		case "Age": // assess reads it
		default:
			if ownField(name) || slices.Contains(dropped, name) {
				continue
			}
		}
		h[name] = values
	}
	if notModified.Header.Get("Date") == "" {
		delete(h, "Date")
	}
	return &Answer{Status: e.status, Header: h, Body: e.plain.body, Cookies: notModified.Cookies}
}

// at is the header values that tell the entry's age at now.
func (e *Entry) at(now time.Time) *moment {
	second := e.fresh.seconds(now)
	if m := e.moment.Load(); m != nil && m.second == second {
		return m
	}
	m := &moment{
		second: second,
		age:    []string{strconv.FormatInt(second, 10)},
		status: []string{Result{Entry: e, Status: Hit}.CacheStatus(now)},
	}
	e.moment.Store(m)
	return m
}

// What an entry costs beside its strings and bodies: the Entry with its moment, otter's node and hash slot, the variants
// slice and the frequency sketch; a field's header and slices. Measured by TestMemoryStaysWithinItsBound.
const (
	entryCost = 800
	fieldCost = 72
)

// weight is what the entry takes in memory, in bytes.
func (e *Entry) weight() int {
	n := entryCost + len(e.kept.slot.Path) + len(e.kept.slot.Query) + len(e.kept.slot.narrowed)
	n += 16*len(e.kept.marks) + allocated(len(e.plain.body))
	for _, f := range e.fields {
		n += fieldCost
		for _, value := range f.values {
			n += len(value)
		}
	}
	for _, s := range e.selectors {
		n += fieldCost + len(s.plain) + len(s.normal)
	}
	if packed := e.packed.Load(); packed != nil && packed != &e.plain {
		n += allocated(len(packed.body)) + 3*fieldCost
	}
	return n
}

// allocated is what the runtime takes for a body of n bytes: whole pages above 32 KiB, below it one of a set of sizes
// that is a sixteenth larger on average.
func allocated(n int) int {
	const large, page = 32 << 10, 8 << 10
	if n > large {
		return (n + page - 1) / page * page
	}
	return n + n/16
}
