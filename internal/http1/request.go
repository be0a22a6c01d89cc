package http1

import (
	"bytes"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// A plain request asks for something and has nothing in it that two readers could take apart differently:
//
//   - its method is GET, its version HTTP/1.1, its target a path;
//   - no field speaks of a body, an upgrade, or the end of the connection;
//   - there is one Host, and every field is on a line of its own, with a name of letters, digits, - and _.
//
// Whatever else begins a request, well-formed or not, is for net/http to read. FuzzPlain holds that net/http takes each
// plain request for the same.

// reading is what a look at the bytes of a connection finds.
type reading int

const (
	unfinished reading = iota // a plain request may be on its way
	notPlain
	plain
)

// What a plain request begins with, and its first line ends with.
const (
	linePrefix = "GET /"
	lineSuffix = " HTTP/1.1"
)

// next finds the first request in data: its target, that as a URL, and how many bytes it takes.
func (f *fields) next(data []byte) (target string, place *url.URL, size int, is reading) {
	line, rest, _ := bytes.Cut(data, []byte("\r\n"))
	end, same := f.end(rest)
	if end < 0 {
		return "", nil, 0, unfinishedOrNot(data)
	}
	if !bytes.HasPrefix(line, []byte(linePrefix)) || !bytes.HasSuffix(line, []byte(lineSuffix)) {
		return "", nil, 0, notPlain
	}
	target = string(line[len(linePrefix)-1 : len(line)-len(lineSuffix)])
	place = parseTarget(target)
	if place == nil || !same && !f.parse(rest[:end]) {
		return "", nil, 0, notPlain
	}
	return target, place, len(line) + 2 + end + 2, plain
}

// request is the one that next has found. It is not inlined, like connectionState: a copy would stay on the stack.
//
//go:noinline
func (f *fields) request(ctx context.Context, target string, place *url.URL) *http.Request {
	return (&http.Request{
		Method: http.MethodGet, RequestURI: target, URL: place, Host: f.host, Header: f.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(ctx)
}

// end returns where the fields at the front of data end, -1 where that has not come, and whether they are the last request's.
func (f *fields) end(data []byte) (end int, same bool) {
	if f.header != nil && bytes.HasPrefix(data, f.text) && bytes.HasPrefix(data[len(f.text):], []byte("\r\n")) {
		return len(f.text), true
	}
	if bytes.HasPrefix(data, []byte("\r\n")) {
		return 0, false
	}
	if end := bytes.Index(data, []byte("\r\n\r\n")); end >= 0 {
		return end + 2, false
	}
	return -1, false
}

// unfinishedOrNot tells what the beginning of a request may still become. net/http refuses a bare line feed as soon as it comes.
func unfinishedOrNot(data []byte) reading {
	if n := min(len(data), len(linePrefix)); string(data[:n]) != linePrefix[:n] {
		return notPlain
	}
	if bytes.Count(data, []byte{'\n'}) != bytes.Count(data, []byte("\r\n")) {
		return notPlain
	}
	return unfinished
}

// parseTarget returns the URL that net/http makes of a target that is a path, nil where it is none.
func parseTarget(target string) *url.URL {
	path, simple := len(target), true
	for i := range len(target) {
		switch c := target[i]; {
		case c <= ' ' || c >= 0x7f:
			return nil
		case c == '?':
			path = min(path, i)
		case i < path && !isNameByte(c) && c != '/' && c != '.' && c != '~':
			simple = false
		}
	}
	if simple && path != len(target)-1 { // a lone ? is kept in a field of its own
		return &url.URL{Path: target[:path], RawQuery: strings.TrimPrefix(target[path:], "?")}
	}
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	return parsed
}

// fields are a request's header fields. Who keeps a connection sends the same ones with every request: what was parsed for
// one serves the next, and no handler changes a request (net/http.Handler).
type fields struct {
	text   []byte // as it came
	header http.Header
	host   string
}

// mostFields bounds what a header's map takes. Browsers send twenty or so.
const mostFields = 64

// parse takes a header without its empty line. It reports false where the request is not plain.
func (f *fields) parse(text []byte) bool {
	header, host := make(http.Header, 8), ""
	lines, all := 0, make([]string, 0, bytes.Count(text, []byte{'\n'})) // the values' memory
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\r\n")), []byte("\r\n")) {
		name, value, isPlain := parseField(line)
		if lines++; !isPlain || lines > mostFields {
			return false
		}
		switch name {
		case "Host":
			if host != "" || !isHost(value) {
				return false
			}
			host = value
			continue // net/http keeps it apart, too
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return false
			}
		case "Content-Length", "Transfer-Encoding", "Trailer", "Expect", "Upgrade", // bodies and other protocols
			"Pragma": // which net/http may turn into Cache-Control
			return false
		}
		if before := header[name]; before != nil {
			header[name] = append(before, value)
			continue
		}
		all = append(all, value)
		header[name] = all[len(all)-1 : len(all) : len(all)]
	}
	if host == "" {
		return false
	}
	f.text, f.header, f.host = append(f.text[:0], text...), header, host
	return true
}

// parseField takes one line of a header apart.
func parseField(line []byte) (name, value string, isPlain bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return "", "", false
	}
	for _, c := range line[:colon] {
		if !isNameByte(c) {
			return "", "", false
		}
	}
	for _, c := range line[colon+1:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", "", false
		}
	}
	return textproto.CanonicalMIMEHeaderKey(string(line[:colon])), string(bytes.Trim(line[colon+1:], " \t")), true
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// isHost reports whether value is a name or an address, perhaps with a port.
func isHost(value string) bool {
	for i := range len(value) {
		if c := value[i]; !isNameByte(c) && c != '.' && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return value != ""
}
