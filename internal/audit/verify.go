package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VerifyOptions says what Verify is to trust and whom to tell.
type VerifyOptions struct {
	// Keys are the public keys checkpoints may be signed with. Empty: those in each chain's NAME.pub, which proves less, as
	// whoever can change the log can change that file.
	Keys []ed25519.PublicKey
	// Chain is the one chain to verify. Empty: all in the directory.
	Chain string
	// Progress, when not nil, hears now and then how many bytes of the files have been read, of how many.
	Progress func(done, total int64)
}

// Report is what Verify found of one chain.
type Report struct {
	Chain       string
	Files       int
	Lines       uint64
	First, Last uint64    // seq of the first and last line
	From, To    time.Time // when they were written
	Checkpoints uint64
	Signed      uint64   // seq of the last checkpoint: lines after it are chained but not signed
	Head        string   // hash of the last line
	Notes       []string // what the log itself said: "file:line: event: detail"
	Warnings    []string // what limits this report's worth
	Fault       *Fault   // the first; nil: the chain is whole
}

// FaultKind names what was done to a chain.
type FaultKind string

// The kinds of fault.
const (
	Edited    FaultKind = "edited"
	Removed   FaultKind = "removed"
	Inserted  FaultKind = "inserted"
	Reordered FaultKind = "reordered"
	Truncated FaultKind = "truncated"
	Forged    FaultKind = "forged" // lines that are chained well but contradict a signature, or a signature by no known key
	Torn      FaultKind = "torn"   // a part of a line, in a file that is not being written
)

// Fault is the first line at which a chain does not hold.
type Fault struct {
	Kind   FaultKind
	File   string // base name
	Line   int    // from 1
	Detail string // for people
}

func (f *Fault) Error() string { return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Kind, f.Detail) }

// Verify reads every chain in dir from end to end and reports on each, sorted by name. The error says that something
// could not be read; a chain that does not hold is no error but a Report with a Fault. It may run beside the log's writer.
func Verify(ctx context.Context, dir string, o VerifyOptions) ([]Report, error) {
	heads := map[string][]byte{} // read before the files: the writer goes on meanwhile
	chains, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	if err := addEmptied(dir, chains); err != nil {
		return nil, err
	}
	if o.Chain != "" {
		chains = map[string][]file{o.Chain: chains[o.Chain]}
	}
	names := slices.Sorted(maps.Keys(chains))
	total := int64(0)
	for _, name := range names {
		heads[name], _ = os.ReadFile(headPath(dir, name)) // its absence becomes a warning
		for _, f := range chains[name] {
			total += f.size
		}
	}
	if chains, err = listFiles(dir); err != nil { // again: the heads may name a line in a file that is newer than the first list
		return nil, err
	}
	if len(names) == 0 {
		return nil, noFiles(dir)
	}
	var reports []Report
	done := int64(0)
	for _, name := range names {
		v := &verifier{ctx: ctx, options: o, files: chains[name], report: Report{Chain: name}, done: &done, total: total}
		if len(v.files) == 0 && heads[name] != nil {
			v.fault(Removed, position{file: name + ".head", line: 1}, "the chain has had checkpoints, and all its files are gone; retention keeps the newest")
			reports = append(reports, v.report)
			continue
		}
		if len(v.files) == 0 {
			return reports, fmt.Errorf("no files of audit chain %s in %s", name, dir)
		}
		if err := v.trust(dir, heads[name]); err != nil {
			return reports, err
		}
		v.lookAhead(dir)
		if err := v.run(); err != nil {
			return reports, err
		}
		reports = append(reports, v.report)
	}
	return reports, nil
}

// addEmptied adds the chains of which nothing but the copy of the last checkpoint is left.
func addEmptied(dir string, chains map[string][]file) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing audit files: %w", err)
	}
	for _, entry := range entries {
		if name, found := strings.CutSuffix(entry.Name(), ".head"); found && chains[name] == nil {
			chains[name] = nil
		}
	}
	return nil
}

// verifier walks one chain.
type verifier struct {
	ctx     context.Context
	options VerifyOptions
	files   []file
	keys    map[string]ed25519.PublicKey // by keyID
	head    link                         // the last checkpoint's copy; zero: none
	report  Report
	done    *int64
	total   int64

	last   link
	seen   position // of the last line
	since  *since   // the latest statement of where the kept chain begins
	first  link     // the place before the first line there is
	signed position // of the last checkpoint
	final  []byte   // the last line
	number uint64   // of the file before
}

// position is a line's place on disk.
type position struct {
	file string
	line int
}

// trust finds the keys and the last checkpoint's copy.
func (v *verifier) trust(dir string, head []byte) error {
	keys := v.options.Keys
	if len(keys) == 0 {
		path := filepath.Join(dir, v.report.Chain+".pub")
		var err error
		if keys, err = ReadKeys(path); err != nil {
			return fmt.Errorf("no key to verify chain %s with: %w", v.report.Chain, err)
		}
		v.warn("the key was taken from %s, beside the log: whoever can change the log can change it too; name a key that is kept elsewhere", path)
	}
	v.keys = map[string]ed25519.PublicKey{}
	for _, k := range keys {
		v.keys[keyID(k)] = k
	}
	place, t, ok := parseHead(head)
	if ok {
		_, ok = v.signer(head[:len(head)-1], t)
	}
	if !ok {
		v.warn("there is no sound copy of the last checkpoint (%s.head): lines cut off the end cannot be noticed", v.report.Chain)
		return nil
	}
	v.head = place
	return nil
}

// lookAhead explains an end that is missing or torn though nobody has touched it.
func (v *verifier) lookAhead(dir string) {
	n, number, err := lacking(dir, v.report.Chain)
	switch {
	case err != nil:
		v.warn("what was written ahead of the log is not known: %v", err)
	case n > 0:
		v.warn("file %d lacks %d bytes that %s.ahead holds: they were lost in a power failure; start the gateway once, which puts them back, and verify again", number, n, v.report.Chain)
	}
}

func (v *verifier) warn(format string, args ...any) {
	v.report.Warnings = append(v.report.Warnings, fmt.Sprintf(format, args...))
}

// signer returns the checkpoint if one of the trusted keys signed it.
func (v *verifier) signer(line []byte, t tail) (checkpoint, bool) {
	c, err := parseCheckpoint(line)
	key := v.keys[c.Key]
	return c, err == nil && key != nil && t.signedBy(line, key) && c.Chain == v.report.Chain
}

func (v *verifier) run() error {
	for i, f := range v.files {
		if err := v.file(f, i == len(v.files)-1); err != nil {
			return err
		}
		if v.report.Fault != nil {
			return nil
		}
		v.number = f.number
	}
	v.finish()
	return nil
}

// file walks one file.
func (v *verifier) file(f file, newest bool) error {
	b, err := f.open()
	if err != nil {
		return err
	}
	defer b.close()
	v.report.Files++
	at := position{file: filepath.Base(f.path)}
	read := int64(0)
	for {
		block, err := b.next()
		*v.done += b.raw.n - read
		read = b.raw.n
		if v.options.Progress != nil {
			v.options.Progress(min(*v.done, v.total), v.total)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			at.line++
			v.fault(Edited, at, fmt.Sprintf("the file cannot be read further: %v", err))
			return nil
		}
		if err := v.ctx.Err(); err != nil {
			return context.Cause(v.ctx)
		}
		for _, line := range lines(block) {
			at.line++
			if !v.line(line, at) {
				return v.classify(f, at)
			}
			if v.report.Fault != nil {
				return nil
			}
		}
	}
	if len(b.rest()) > 0 {
		at.line++
		if !newest {
			v.fault(Torn, at, "a part of a line; starts of the gateway set such parts aside")
			return nil
		}
		v.warn("%s:%d: the last line is incomplete: it is being written, or the process died writing it and the next start sets it aside", at.file, at.line)
	}
	return nil
}

// line takes the next line on, or reports false: it does not follow from what came before.
func (v *verifier) line(line []byte, at position) bool {
	t, ok := parseTail(line)
	if v.report.Lines == 0 && ok {
		v.begin(t, line)
	}
	if !ok || !t.follows(v.last) {
		return false
	}
	v.last = link{seq: t.seq, hash: hashLine(line)}
	v.report.Lines++
	v.seen = at
	v.final = append(v.final[:0], line...)
	if v.head.seq == t.seq && v.head != v.last {
		v.fault(Forged, at, "the copy of the last checkpoint stands for another line here: what lies between "+v.sinceSigned()+" was rewritten")
		return true
	}
	switch linePhase(line) {
	case Checkpoint:
		v.checkpoint(line, t, at)
	case Note:
		v.note(line, at)
	default:
		if at.line == 1 {
			v.fault(Removed, at, "a file begins with a checkpoint, this one does not")
		}
	}
	return true
}

// begin takes the first line's word for its place; finish checks whether anybody vouches for it.
func (v *verifier) begin(t tail, line []byte) {
	v.last = link{seq: t.seq - 1, hash: t.prev}
	v.first = v.last
	v.report.First, v.report.From = t.seq, parseLineTime(line)
}

func (v *verifier) checkpoint(line []byte, t tail, at position) {
	c, ok := v.signer(line, t)
	if !ok {
		if _, known := v.keys[c.Key]; !known {
			v.fault(Forged, at, fmt.Sprintf("signed with key %q, which is none of the trusted keys", c.Key))
			return
		}
		v.fault(Forged, at, "the signature does not hold: this checkpoint, or a line between "+v.sinceSigned()+", was rewritten")
		return
	}
	v.report.Checkpoints++
	v.report.Signed, v.signed = t.seq, at
	if c.Since != nil {
		v.since = c.Since
	}
	if at.line == 1 && c.File == 0 {
		v.fault(Removed, at, "a file begins with the checkpoint that opens it, this one with another")
	}
}

func (v *verifier) sinceSigned() string {
	if v.signed.file == "" {
		return "the beginning and here"
	}
	return fmt.Sprintf("the last good checkpoint (%s:%d) and here", v.signed.file, v.signed.line)
}

// maxNotes bounds the notes a report repeats: more than an operator reads.
const maxNotes = 100

func (v *verifier) note(line []byte, at position) {
	var r Record
	if len(v.report.Notes) >= maxNotes || r.UnmarshalJSON(line) != nil {
		return
	}
	v.report.Notes = append(v.report.Notes, fmt.Sprintf("%s:%d: %s: %s", at.file, at.line, r.Event, r.Detail))
}

// finish checks both ends, which no neighbour vouches for.
func (v *verifier) finish() {
	r := &v.report
	r.Last, r.To, r.Head = v.last.seq, parseLineTime(v.final), hex.EncodeToString(v.last.hash[:])
	firstFile := position{file: filepath.Base(v.files[0].path), line: 1}
	if v.since != nil && v.first.seq+1 > v.since.Seq || v.since == nil && v.first.seq > 0 {
		v.fault(Removed, firstFile, fmt.Sprintf("the chain begins with line %d, but retention has removed nothing beyond line %d", v.first.seq+1, v.sinceSeq()-1))
		return
	}
	if v.first.seq+1 == v.sinceSeq() && v.sincePrev() != hex.EncodeToString(v.first.hash[:]) {
		v.fault(Edited, firstFile, "the first line does not follow from what retention has removed")
		return
	}
	if v.head.seq > v.last.seq {
		v.fault(Truncated, position{file: v.seen.file, line: v.seen.line + 1},
			fmt.Sprintf("the chain ends with line %d, its last checkpoint was line %d: at least %d lines were cut off", v.last.seq, v.head.seq, v.head.seq-v.last.seq))
	}
}

func (v *verifier) sinceSeq() uint64 {
	if v.since == nil {
		return 1
	}
	return v.since.Seq
}

func (v *verifier) sincePrev() string {
	if v.since == nil {
		return hex.EncodeToString(make([]byte, len(digest{})))
	}
	return v.since.Prev
}

func (v *verifier) fault(kind FaultKind, at position, detail string) {
	if v.report.Fault == nil {
		v.report.Fault = &Fault{Kind: kind, File: at.file, Line: at.line, Detail: detail}
	}
}

func parseLineTime(line []byte) time.Time {
	t, err := time.Parse(timeLayout, string(lineTime(line)))
	if err != nil {
		return time.Time{}
	}
	return t
}
