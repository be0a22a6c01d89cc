package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// part is the stretch of a body that a client asked for (RFC 9110 section 14).
type part struct {
	first, last, size int64 // first and last byte of it, and of how many
}

// part reads the client's Range against the plain form, whose length does not depend on how well it was packed. It
// reports false where the whole is to be sent, as is always allowed (section 14.2): without a Range, with one that cannot
// be read, names several stretches or lies behind the end, and where If-Range names another body than this one.
func (e *Entry) part(request *http.Request) (part, bool) {
	lines := request.Header["Range"]
	if len(lines) != 1 || request.Method != http.MethodGet || e.status != http.StatusOK || !e.stillThis(request.Header["If-Range"]) {
		return part{}, false
	}
	return parseRange(lines[0], int64(len(e.plain.body)))
}

// stillThis evaluates If-Range (section 13.1.5). Only a strong validator proves that the part which the client has and
// this body fit together; a date is none.
func (e *Entry) stillThis(ifRange []string) bool {
	if len(ifRange) == 0 {
		return true
	}
	return len(ifRange) == 1 && e.plain.etag != nil && ifRange[0] == e.plain.etag[0] && strings.HasPrefix(ifRange[0], `"`)
}

// parseRange reads "bytes=FIRST-LAST", "bytes=FIRST-" or "bytes=-LENGTH" for a body of a size.
func parseRange(text string, size int64) (part, bool) {
	unit, stretch, _ := strings.Cut(text, "=")
	from, to, ranged := strings.Cut(stretch, "-")
	if !ranged || !strings.EqualFold(unit, "bytes") {
		return part{}, false
	}
	p := part{last: size - 1, size: size}
	if from == "" {
		length, err := strconv.ParseUint(to, 10, 63)
		p.first = max(0, size-int64(length))
		return p, err == nil && p.first < size
	}
	first, err := strconv.ParseUint(from, 10, 63)
	if err != nil || int64(first) >= size {
		return part{}, false
	}
	p.first = int64(first)
	if to == "" {
		return p, true
	}
	last, err := strconv.ParseUint(to, 10, 63)
	p.last = min(p.last, int64(last))
	return p, err == nil && last >= first
}

// writePart sets the header of a part: the whole's, but for the length.
func (e *Entry) writePart(h http.Header, p part) {
	e.write(h, &e.plain)
	h["Content-Length"] = []string{strconv.FormatInt(p.last-p.first+1, 10)}
	h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", p.first, p.last, p.size)}
}
