package http1

import (
	"bytes"
	"errors"
	"strconv"
)

// Request smuggling lives where two readers of one connection disagree about where a request ends: whatever a proxy in
// front took for a body, this server would take for a request of its own, with the next client's rights. net/http
// refuses most of what can be read in two ways, but not all: of Content-Length beside Transfer-Encoding it drops the
// former silently, before any handler could see it, and it takes bare LF, folded fields and Transfer-Encoding in
// HTTP/1.0. So the bytes of every HTTP/1 connection are followed on their way into net/http, which answers an error of
// the connection's Read inside a header with 400 and closes.
//
// Only headers are parsed, and only for where they end and what they say about length; a body of known length is
// skipped. Chunks are not followed at all: oneChunkedRequest ends the connection after the request that has them, so
// that nothing that follows chunks is ever read as a request. That costs a new connection per chunked upload, which
// clients make one at a time. The rest costs less than a microsecond and no allocation per request, see BenchmarkFraming.

var (
	errTwoLengths = errors.New("the request has both Content-Length and Transfer-Encoding, or one of them twice")
	errBadLength  = errors.New("the request's Content-Length is no number")
	errBareLF     = errors.New("a header line ends in LF without CR")
	errFolded     = errors.New("a header field is folded over several lines")
	errOldChunks  = errors.New("the request has Transfer-Encoding but is not HTTP/1.1")
)

// framing follows the requests of one HTTP/1 connection. The zero value stands before the first.
type framing struct {
	body    int64  // bytes left of the current body
	partial []byte // the beginning of a line whose end has not come
	begun   bool   // the current header's request line has passed
	current lengths
	chunks  bool // chunks follow: the rest of the connection belongs to this request
}

// lengths is what a header says about its body.
type lengths struct {
	http11, measured, chunked bool
	length                    int64
}

// keptLine is the room for partial lines that a connection may keep between requests. Lines are bounded by what net/http
// reads of a header, see maxHeaderBytes.
const keptLine = 4 << 10

// follow takes the next bytes of the connection and returns an error where they can be read in two ways, with how many of
// them stand before the line feed that shows it.
func (f *framing) follow(data []byte) (sound int, err error) {
	whole := len(data)
	for len(data) > 0 && !f.chunks {
		if f.body > 0 {
			n := min(f.body, int64(len(data)))
			f.body -= n
			data = data[n:]
			continue
		}
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			f.partial = append(f.partial, data...)
			break
		}
		line := data[:end]
		data = data[end:]
		if len(f.partial) > 0 {
			f.partial = append(f.partial, line...)
			line = f.partial
		}
		if err := f.line(line); err != nil {
			return whole - len(data) - 1, err
		}
		if f.partial = f.partial[:0]; cap(f.partial) > keptLine {
			f.partial = nil
		}
	}
	return whole, nil
}

// line takes one whole line of a header.
func (f *framing) line(line []byte) error {
	line, strict := bytes.CutSuffix(line, []byte("\r\n"))
	switch {
	case !strict:
		return errBareLF
	case !f.begun && len(line) == 0:
		return nil // an empty line before a request (RFC 9112 section 2.2), which net/http takes or refuses
	case !f.begun:
		f.begun = true
		f.current = lengths{http11: bytes.HasSuffix(line, []byte(" HTTP/1.1"))}
		return nil
	case len(line) == 0:
		f.begun = false
		f.body, f.chunks = f.current.length, f.current.chunked
		return f.current.check()
	default:
		return f.current.field(line)
	}
}

// field notes a header field where it speaks of the body's length. The switch on its first letter keeps the others cheap.
func (l *lengths) field(line []byte) (err error) {
	switch line[0] {
	case ' ', '\t':
		return errFolded
	case 'C', 'c':
		value, is := valueOf(line, "Content-Length")
		if !is {
			return nil
		}
		if l.measured {
			return errTwoLengths
		}
		l.measured = true
		if l.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || value[0] < '0' || value[0] > '9' {
			return errBadLength
		}
	case 'T', 't':
		if _, is := valueOf(line, "Transfer-Encoding"); !is {
			return nil
		}
		if l.chunked {
			return errTwoLengths
		}
		l.chunked = true // or a coding that net/http does not know and refuses
	}
	return nil
}

// check says what is wrong with a whole header.
func (l *lengths) check() error {
	switch {
	case l.chunked && l.measured:
		return errTwoLengths
	case l.chunked && !l.http11:
		return errOldChunks
	default:
		return nil
	}
}

// valueOf returns the value of a header line where it is the named field's.
func valueOf(line []byte, name string) (value []byte, is bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.Trim(line[len(name)+1:], " \t"), true
}
