package audit

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"
)

// recent remembers parts of lines by what they were encoded from: who called what, and how that ended where nothing of it
// is of one call alone. Calls repeat, those most of all that the cache answers; to find and compare a part takes a
// third of encoding it, and all lines that end in it share its memory until they are written.
type recent struct {
	clock clock
	seed  maphash.Seed
	slots [recentSlots]slot
}

// slot holds the parts of one line.
type slot struct {
	record Record // what they say, but for time and ids
	shared []byte // nil: empty. Never changed, only replaced
	call   int    // how much of it tells of the call; the rest of the answer, once one came that repeats, as the record's is
	passed uint64 // hash of the last record that found another one here
}

const (
	// recentSlots times maxKept, and as much again for the records themselves, bounds what each processor holds to 512 KiB;
	// mostly it is half. Some hundred calls that are polled find room.
	recentSlots = 256
	maxKept     = 1 << 10
)

// appendRecord appends what the function of that name does, but for what the line shares with others.
func (c *recent) appendRecord(dst []byte, r *Record) body {
	e := encoder{b: dst, cut: r.Cut}
	e.head(r, &c.clock)
	path := recordedPath(r.Path)
	hash := maphash.String(c.seed, path) ^ maphash.String(c.seed, r.Caller.Subject)>>1 ^ maphash.String(c.seed, r.Caller.Token)>>2
	s := &c.slots[hash%recentSlots]
	if s.shared != nil && s.record.Path == path && s.record.sameCall(r) {
		return s.appendTo(e, r)
	}
	from := len(e.b)
	e.call(r)
	if s.passed == hash && len(e.cut) == 0 { // seen twice: what comes once takes nobody's place
		s.keep(r, path, e.b[from:])
	}
	s.passed = hash
	e.answer(r)
	return body{own: e.b}
}

// keep remembers what a line says of the call, unless that is long or a token was taken out: then it is not kept here either.
// The strings are copied, since those of a request are parts of its header.
func (s *slot) keep(r *Record, path string, call []byte) {
	if len(call) > maxKept || bytes.Contains(call, []byte(redacted)) {
		return
	}
	s.shared, s.call = slices.Clone(call), len(call)
	s.record = Record{
		Phase: r.Phase, Caller: r.Caller, Team: r.Team, Client: r.Client, Operation: r.Operation, Method: strings.Clone(r.Method),
		Path: strings.Clone(path), Target: r.Target, Decision: r.Decision, Credential: r.Credential,
	}
	s.record.Client.UserAgent = strings.Clone(r.Client.UserAgent)
	s.record.Target.Project = strings.Clone(r.Target.Project)
	s.record.Target.Organization = strings.Clone(r.Target.Organization)
}

// appendTo completes the line of r, whose call is this one.
func (s *slot) appendTo(e encoder, r *Record) body {
	if len(e.cut) > 0 || !r.repeats() {
		e.b = append(e.b, s.shared[:s.call]...)
		e.answer(r)
		return body{own: e.b}
	}
	if len(s.shared) == s.call || !s.record.sameAnswer(r) {
		answered := encoder{b: slices.Clone(s.shared[:s.call])}
		answered.answer(r)
		s.shared = answered.b
		s.record.Cache, s.record.Status, s.record.Outcome, s.record.Bytes = r.Cache, r.Status, r.Outcome, r.Bytes
	}
	return body{e.b, s.shared}
}

// sameCall reports whether the lines of two records say the same of the call, apart from its path.
func (r *Record) sameCall(o *Record) bool {
	return r.Phase == o.Phase && r.Caller == o.Caller && r.Team == o.Team && r.Client == o.Client && r.Operation == o.Operation &&
		r.Method == o.Method && r.Target == o.Target && r.Decision == o.Decision && r.Credential == o.Credential
}

// repeats reports whether nothing that the line says of the answer is of one call alone.
func (r *Record) repeats() bool {
	return r.Queue == 0 && r.Upstream == (Upstream{}) && r.BodySHA256 == "" && r.SQL == "" && r.Event == "" && r.Detail == ""
}

// sameAnswer reports whether the lines of two records that repeat say the same of the answer.
func (r *Record) sameAnswer(o *Record) bool {
	return r.Cache == o.Cache && r.Status == o.Status && r.Outcome == o.Outcome && r.Bytes == o.Bytes
}
