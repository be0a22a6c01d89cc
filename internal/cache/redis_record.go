package cache

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"
)

// A record is an entry as Redis keeps it: a version, then numbers as varints and strings with their lengths before them.
// What it holds belongs to one version of the gateway: a record of another is not read.
const recordVersion = 'a'

// maxRecord bounds one record. Redis does nothing else while it copies one; a list of a thousand projects takes 60 KB.
const maxRecord = 1 << 20

// The flags of a record.
const (
	flagRelayed = 1 << iota
	flagValidate
	flagStrict
	flagPackable
	flagPacked // the body is in gzip form
	flagLength // it is sent with a Content-Length
)

var errRecord = errors.New("the record is of another version or broken")

// record encodes an entry as it is now. It reports false where it is too large.
func (e *Entry) record(now time.Time) ([]byte, bool) {
	body, flags := e.plain.body, uint64(0)
	if packed := e.packed.Load(); packed != nil && packed != &e.plain {
		body, flags = packed.body, flagPacked
	}
	if len(body) > maxRecord {
		return nil, false
	}
	for _, one := range []struct {
		set  bool
		flag uint64
	}{{e.fresh.relayed, flagRelayed}, {e.fresh.validate, flagValidate}, {e.fresh.strict, flagStrict}, {e.kept.packable, flagPackable}, {e.plain.length != nil, flagLength}} {
		if one.set {
			flags |= one.flag
		}
	}
	w := recordWriter{buffer: make([]byte, 0, len(body)+1024)}
	w.buffer = append(w.buffer, recordVersion)
	w.number(flags)
	w.number(uint64(e.status))
	for _, d := range []time.Duration{e.fresh.age(now), e.fresh.lifetime, e.fresh.whileRevalidate, e.fresh.ifError} {
		w.number(uint64(max(0, d)))
	}
	w.text(e.etag)
	w.texts(e.plain.etag)
	w.number(uint64(len(e.fields)))
	for _, f := range e.fields {
		w.text(f.name)
		w.texts(f.values)
	}
	w.number(uint64(len(e.selectors)))
	for _, s := range e.selectors {
		present := ""
		if s.present {
			present = "1"
		}
		w.texts([]string{s.name, present, s.plain, s.normal})
	}
	w.buffer = append(w.buffer, body...)
	return w.buffer, len(w.buffer) <= maxRecord
}

// readRecord decodes an entry that was recorded age ago. Bodies in gzip form are unpacked up to maxBody.
func readRecord(record []byte, age time.Duration, now time.Time, maxBody int) (e *Entry, packable bool, err error) {
	if len(record) == 0 || record[0] != recordVersion {
		return nil, false, errRecord
	}
	r := recordReader{rest: record[1:]}
	flags := r.number()
	e = &Entry{status: int(r.number())}
	e.fresh = freshness{received: now, relayed: flags&flagRelayed != 0, validate: flags&flagValidate != 0, strict: flags&flagStrict != 0}
	for _, d := range []*time.Duration{&e.fresh.initial, &e.fresh.lifetime, &e.fresh.whileRevalidate, &e.fresh.ifError} {
		*d = time.Duration(r.number())
	}
	e.fresh.initial += max(0, age)
	e.etag, e.plain.etag = r.text(), r.texts()
	fields := r.count()
	e.fields = make([]field, 0, min(fields, 16)) // no more room than an entry that was fetched has
	for range fields {
		e.fields = append(e.fields, field{r.text(), r.texts()})
	}
	for range r.count() {
		if parts := r.texts(); len(parts) == 4 {
			e.selectors = append(e.selectors, selector{name: parts[0], present: parts[1] != "", plain: parts[2], normal: parts[3]})
		}
	}
	if r.broken || e.status < 200 || e.status > 999 {
		return nil, false, errRecord
	}
	if err := e.readBody(r.rest, flags, maxBody); err != nil {
		return nil, false, err
	}
	return e, flags&flagPackable != 0, nil
}

func (e *Entry) readBody(body []byte, flags uint64, maxBody int) error {
	e.plain.body = bytes.Clone(body) // the reply it is cut from holds more
	if flags&flagPacked != 0 {
		packed := e.plain.body
		reader, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return errRecord
		}
		if e.plain.body, err = io.ReadAll(io.LimitReader(reader, int64(maxBody)+1)); err != nil || len(e.plain.body) > maxBody {
			return errRecord
		}
		e.plain.body = fitted(e.plain.body)
		e.packed.Store(&form{body: packed, etag: packedETag(e.plain.etag), length: []string{strconv.Itoa(len(packed))}, encoding: []string{"gzip"}})
	}
	if flags&flagLength != 0 {
		e.plain.length = []string{strconv.Itoa(len(e.plain.body))}
	}
	return nil
}

type recordWriter struct{ buffer []byte }

func (w *recordWriter) number(n uint64) { w.buffer = binary.AppendUvarint(w.buffer, n) }

func (w *recordWriter) text(s string) {
	w.number(uint64(len(s)))
	w.buffer = append(w.buffer, s...)
}

func (w *recordWriter) texts(list []string) {
	w.number(uint64(len(list)))
	for _, s := range list {
		w.text(s)
	}
}

// recordReader reads what recordWriter wrote. Once broken it yields zeros.
type recordReader struct {
	rest   []byte
	broken bool
}

func (r *recordReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.rest, r.broken = nil, true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// count is a number of things that follow, each of at least one byte.
func (r *recordReader) count() int {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.broken = nil, true
		return 0
	}
	return int(n)
}

func (r *recordReader) text() string {
	n := r.count()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *recordReader) texts() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, min(n, 16)) // what a broken record says is not believed before it is read
	for range n {
		list = append(list, r.text())
	}
	return list
}
