package audit

import (
	"bytes"
	"errors"
	"strconv"
	"time"
)

// Filter says which records are wanted. The zero value of a field asks for nothing; all that are set must hold.
type Filter struct {
	Since, Until time.Time // from Since on, before Until
	Actor        string    // a caller's subject, e-mail address or token's public id
	Issuer       string    // with Subject: exactly this caller
	Subject      string
	Team         string
	Project      string
	Operation    string
	Decision     string // DecisionAllow or DecisionDeny
	Status       int
	Request      string // a request id, or the id an intent shares with its outcome
	Phase        Phase  // Intent, Outcome or Note; empty: intents and outcomes
	Chain        string // one replica's chain; empty: all
	Last         int    // only the last so many; 0: all
}

// The values of Filter.Decision.
const (
	DecisionAllow = "allow"
	DecisionDeny  = "deny"
)

// check returns every fault of a filter at once.
func (f *Filter) check() error {
	var faults []error
	if f.Decision != "" && f.Decision != DecisionAllow && f.Decision != DecisionDeny {
		faults = append(faults, errors.New("decision "+strconv.Quote(f.Decision)+": want allow or deny"))
	}
	if f.Phase != "" && f.Phase != Intent && f.Phase != Outcome && f.Phase != Note {
		faults = append(faults, errors.New("phase "+strconv.Quote(string(f.Phase))+": want intent, outcome or note"))
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		faults = append(faults, errors.New("since must be before until"))
	}
	if f.Last < 0 {
		faults = append(faults, errors.New("the number of records must not be negative"))
	}
	return errors.Join(faults...)
}

// matches decides about a decoded record; the needles have only thinned out the lines.
func (f *Filter) matches(r *Record) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	c := &r.Caller
	switch {
	case f.Phase == "" && r.Phase != Intent && r.Phase != Outcome, f.Phase != "" && r.Phase != f.Phase:
		return false
	case f.Actor != "" && f.Actor != c.Subject && f.Actor != c.Email && f.Actor != c.Token:
		return false
	case f.Subject != "" && (f.Subject != c.Subject || f.Issuer != c.Issuer):
		return false
	case f.Request != "" && f.Request != r.RequestID && f.Request != r.ID:
		return false
	case f.Decision != "" && r.Decision.Allow != (f.Decision == DecisionAllow):
		return false
	case f.Status != 0 && f.Status != r.Status:
		return false
	}
	return is(f.Issuer, c.Issuer) && is(f.Team, r.Team) && is(f.Project, r.Target.Project) && is(f.Operation, r.Operation) &&
		(f.Since.IsZero() || !r.Time.Before(f.Since)) && (f.Until.IsZero() || r.Time.Before(f.Until))
}

// sieve is a filter made ready for raw lines: byte strings every wanted line contains, the rarest first, and times as they
// stand in lines.
type sieve struct {
	filter       Filter
	needles      [][]byte
	since, until []byte // nil: no bound
}

func newSieve(f Filter) *sieve {
	s := &sieve{filter: f}
	// A person or a request is rarer than an operation, an operation rarer than a team.
	s.need("", f.Request)
	s.need("", f.Actor)
	s.need(`"subject":`, f.Subject)
	s.need(`"project":`, f.Project)
	s.need(`"operation":`, f.Operation)
	s.need(`"team":`, f.Team)
	s.need(`"issuer":`, f.Issuer)
	if f.Decision != "" {
		s.needles = append(s.needles, strconv.AppendBool([]byte(`"allow":`), f.Decision == DecisionAllow))
	}
	if f.Status != 0 {
		s.needles = append(s.needles, strconv.AppendInt([]byte(`"status":`), int64(f.Status), 10))
	}
	if !f.Since.IsZero() {
		s.since = appendTime(nil, f.Since)
	}
	if !f.Until.IsZero() {
		s.until = appendTime(nil, f.Until)
	}
	return s
}

// need asks for a string as the encoder writes it.
func (s *sieve) need(key, value string) {
	if value == "" {
		return
	}
	s.needles = append(s.needles, appendQuoted([]byte(key), value))
}

// wants decides about one line.
func (s *sieve) wants(line []byte, r *Record) bool {
	switch p := linePhase(line); {
	case p != Intent && p != Outcome && p != Note, s.filter.Phase != "" && p != s.filter.Phase, s.filter.Phase == "" && p == Note:
		return false
	}
	if at := lineTime(line); s.since != nil && bytes.Compare(at, s.since) < 0 || s.until != nil && bytes.Compare(at, s.until) > 0 {
		return false
	}
	for _, needle := range s.needles {
		if !bytes.Contains(line, needle) {
			return false
		}
	}
	return r.UnmarshalJSON(line) == nil && s.filter.matches(r)
}

// pick calls yield with every wanted line of a block and reports whether yield wants more. With a needle it jumps from
// occurrence to occurrence.
func (s *sieve) pick(block []byte, yield func(line []byte, r Record) bool) bool {
	for len(block) > 0 {
		start := 0
		if len(s.needles) > 0 {
			found := bytes.Index(block, s.needles[0])
			if found < 0 {
				return true
			}
			start = bytes.LastIndexByte(block[:found], '\n') + 1
		}
		end := bytes.IndexByte(block[start:], '\n')
		if end < 0 {
			end = len(block) - start
		}
		var r Record
		if line := block[start : start+end]; s.wants(line, &r) && !yield(line, r) {
			return false
		}
		block = block[min(start+end+1, len(block)):]
	}
	return true
}

// slack is how far a line's time may lie from its place: a line gets its time before it waits in memory, clocks are set
// back, and file names count whole seconds.
const slack = 2 * time.Minute

// overlaps reports whether a file that began and ended at these times can hold wanted lines; zero end: still written.
func (s *sieve) overlaps(began, ended time.Time) bool {
	f := &s.filter
	if !f.Until.IsZero() && began.After(f.Until.Add(slack)) {
		return false
	}
	return f.Since.IsZero() || ended.IsZero() || !ended.Before(f.Since.Add(-slack))
}

// before reports whether a whole block lies before the wanted time, by its last line.
func (s *sieve) before(block []byte) bool {
	if s.since == nil {
		return false
	}
	last := block[bytes.LastIndexByte(block[:len(block)-1], '\n')+1:]
	return parseLineTime(last).Add(slack).Before(s.filter.Since)
}

// after reports whether a whole block, and so all that follows, lies after the wanted time, by its first line.
func (s *sieve) after(block []byte) bool {
	at := parseLineTime(block)
	return s.until != nil && !at.IsZero() && at.After(s.filter.Until.Add(slack))
}
