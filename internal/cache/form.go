package cache

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	minPacked = 1 << 10 // below this the header costs more than gzip saves
	gzipLevel = 5       // most of the size of 9 at a third of its time
)

// gzipPool keeps compressors, each of which is most of a MiB.
type gzipPool struct{ *sync.Pool }

func newGzipPool() gzipPool {
	return gzipPool{&sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzipLevel) // the level is a valid one
		return w
	}}}
}

// packable tells whether a stored answer may be sent in gzip form: upstream sent it without a coding, allows it to be
// transformed (RFC 9111 section 5.2.2.6), and it is long enough and text.
func packable(e *Entry, control control) bool {
	if e.status != http.StatusOK || len(e.plain.body) < minPacked || control.noTransform ||
		e.Header("Content-Encoding") != "" || e.Header("Content-Range") != "" || e.Header("Content-Md5") != "" {
		return false
	}
	kind, _, _ := strings.Cut(e.Header("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") ||
		slices.Contains([]string{"application/json", "application/javascript", "application/xml", "application/x-ndjson"}, kind)
}

// varies adds Accept-Encoding to the Vary of an entry that is sent in two codings, whichever is sent.
func (e *Entry) varies() {
	for i, f := range e.fields {
		if f.name != "Vary" {
			continue
		}
		for _, line := range f.values {
			if hasToken(line, "Accept-Encoding") || hasToken(line, "*") {
				return
			}
		}
		e.fields[i].values = append(slices.Clone(f.values), "Accept-Encoding")
		return
	}
	e.fields = append(e.fields, field{"Vary", []string{"Accept-Encoding"}})
}

// form is the coding that a client gets. The gzip form is made when the first client asks for it, once.
func (e *Entry) form(acceptEncoding []string) *form {
	if !e.kept.packable || !acceptsGzip(acceptEncoding) {
		return &e.plain
	}
	if packed := e.packed.Load(); packed != nil {
		return packed
	}
	e.packing.Lock()
	defer e.packing.Unlock()
	if packed := e.packed.Load(); packed != nil {
		return packed
	}
	packed := e.pack()
	e.packed.Store(packed)
	e.kept.in.memory.weigh(e.kept.slot)
	return packed
}

// pack makes the gzip form; the plain one where it saves less than an eighth.
func (e *Entry) pack() *form {
	pool := e.kept.in.gzips
	w := pool.Get().(*gzip.Writer)
	defer pool.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	w.Write(e.plain.body) // neither fails on a bytes.Buffer
	w.Close()
	if out.Len() > len(e.plain.body)-len(e.plain.body)/8 {
		return &e.plain
	}
	return &form{
		body:     fitted(out.Bytes()),
		etag:     packedETag(e.plain.etag),
		length:   []string{strconv.Itoa(out.Len())},
		encoding: []string{"gzip"},
	}
}

// packedETag is the gzip form's validator: a strong one may not name two different strings of bytes (RFC 9110 section
// 8.8.3.3). A weak one may.
func packedETag(plain []string) []string {
	if plain == nil || strings.HasPrefix(plain[0], "W/") || !strings.HasSuffix(plain[0], `"`) {
		return plain
	}
	return []string{strings.TrimSuffix(plain[0], `"`) + `+gzip"`}
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3). Without one the plain form is right for everybody.
func acceptsGzip(lines []string) bool {
	wild, named := false, false
	for _, line := range lines {
		for line != "" {
			var element string
			element, line, _ = strings.Cut(line, ",")
			coding, weight, _ := strings.Cut(element, ";")
			coding = strings.Trim(coding, " \t")
			switch {
			case strings.EqualFold(coding, "gzip"), strings.EqualFold(coding, "x-gzip"):
				if !refuses(weight) {
					return true
				}
				named = true
			case coding == "*":
				wild = !refuses(weight)
			}
		}
	}
	return wild && !named
}

// refuses tells whether a weight is zero: q=0, q=0.0 and so on.
func refuses(weight string) bool {
	name, value, found := strings.Cut(strings.Trim(weight, " \t"), "=")
	return found && strings.EqualFold(strings.TrimSpace(name), "q") && strings.Trim(strings.TrimSpace(value), "0.") == ""
}
