package cache

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Respond answers a GET or HEAD request with the result's entry, which must be there: header, Age, Cache-Status, the
// coding that the client accepts, the part that Range asks for, and 304 without a body where the client's validators say
// that it has it already. It returns the status and the body bytes written; an error means that the client left or the
// rest of a large body broke off.
//
// Header values are shared between requests: a handler around this one may add to a field but not change its values.
func (r Result) Respond(w http.ResponseWriter, request *http.Request, now time.Time) (status int, written int64, err error) {
	if r.Rest != nil {
		defer r.Rest.Close()
	}
	e := r.Entry
	form := e.form(request.Header["Accept-Encoding"])
	h := w.Header()
	if etag, ok := e.unchanged(request.Header, form); ok {
		e.writeUnchanged(h, etag)
		r.writeStatus(h, now)
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified, 0, nil
	}
	status, body := e.status, form.body
	if p, some := e.part(request); some && r.Rest == nil {
		e.writePart(h, p)
		status, body = http.StatusPartialContent, e.plain.body[p.first:p.last+1]
	} else {
		e.write(h, form)
	}
	r.writeStatus(h, now)
	w.WriteHeader(status)
	if request.Method == http.MethodHead {
		return status, 0, nil
	}
	n, err := w.Write(body)
	written = int64(n)
	if err == nil && r.Rest != nil {
		var more int64
		more, err = io.Copy(w, r.Rest)
		written += more
	}
	if err != nil {
		return status, written, fmt.Errorf("sending the answer: %w", err)
	}
	return status, written, nil
}

// write sets the header of one form. The value slices have no spare room, so that what is added to them by others goes
// to a copy.
func (e *Entry) write(h http.Header, form *form) {
	h["Content-Type"] = nil // net/http must not guess one; the entry's own, if any, comes next
	for i := range e.fields {
		h[e.fields[i].name] = e.fields[i].values
	}
	if form.etag != nil {
		h["Etag"] = form.etag
	}
	if form.length != nil {
		h["Content-Length"] = form.length
	}
	if form.encoding != nil {
		h["Content-Encoding"] = form.encoding
	}
}

// writeUnchanged sets what a 304 says again (RFC 9110 section 15.4.5).
func (e *Entry) writeUnchanged(h http.Header, etag []string) {
	for i := range e.fields {
		switch f := &e.fields[i]; f.name {
		case "Cache-Control", "Content-Location", "Date", "Expires", "Vary":
			h[f.name] = f.values
		case "Last-Modified":
			if etag == nil {
				h[f.name] = f.values
			}
		}
	}
	if etag != nil {
		h["Etag"] = etag
	}
}

// writeStatus sets Cache-Status, and Age where the answer comes from memory (RFC 9111 section 5.1).
func (r Result) writeStatus(h http.Header, now time.Time) {
	if r.Status == Hit {
		moment := r.Entry.at(now)
		h["Age"], h["Cache-Status"] = moment.age, moment.status
		return
	}
	h["Cache-Status"] = []string{r.CacheStatus(now)}
	if r.Status == Stale || r.Status == Revalidated || r.Entry.fresh.relayed {
		h["Age"] = r.Entry.at(now).age
	}
}

// unchanged evaluates the client's conditions (RFC 9110 section 13.2.2): If-None-Match, and only without it
// If-Modified-Since. It returns the validator that the 304 names.
//
// Both codings' validators count: whichever of them the client holds, it is still good.
func (e *Entry) unchanged(request http.Header, form *form) (etag []string, ok bool) {
	if e.status != http.StatusOK {
		return nil, false
	}
	if lines := request["If-None-Match"]; len(lines) > 0 {
		for _, candidate := range [...][]string{form.etag, e.plain.etag, e.packedTag()} {
			if candidate != nil && listsETag(lines, candidate[0]) {
				return candidate, true
			}
		}
		return form.etag, isStar(lines)
	}
	condition := request.Get("If-Modified-Since")
	if condition == "" || e.kept.base != 0 {
		return nil, false // what a narrowed form leaves out changes with policy, which has no date
	}
	since, err := http.ParseTime(condition)
	if err != nil {
		return nil, false
	}
	modified := e.Header("Last-Modified")
	if modified == "" {
		modified = e.Header("Date") // RFC 9111 section 4.3.2
	}
	at, err := http.ParseTime(modified)
	return form.etag, err == nil && !at.After(since)
}

func (e *Entry) packedTag() []string {
	if packed := e.packed.Load(); packed != nil {
		return packed.etag
	}
	return nil
}

func isStar(lines []string) bool { return len(lines) == 1 && strings.Trim(lines[0], " \t") == "*" }

// listsETag looks for a tag in If-None-Match by the weak comparison (RFC 9110 section 8.8.3.2). A tag may contain commas.
func listsETag(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		for line != "" {
			var one string
			one, line = nextETag(line)
			if one != "" && one == tag {
				return true
			}
		}
	}
	return false
}

// nextETag cuts the first tag off a list, without its W/.
func nextETag(list string) (tag, rest string) {
	list = strings.TrimPrefix(strings.TrimLeft(list, " \t,"), "W/")
	if strings.HasPrefix(list, `"`) {
		if end := strings.IndexByte(list[1:], '"'); end >= 0 {
			return list[:end+2], list[end+2:]
		}
	}
	tag, rest, _ = strings.Cut(list, ",")
	return strings.TrimRight(tag, " \t"), rest
}
