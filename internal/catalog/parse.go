package catalog

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"corp.example/gateway/internal/problem"
)

// maxPath bounds a raw path: the longest template with every parameter at its longest stays well under it, and positions
// in it fit a span.
const maxPath = 2 << 10

// What a byte may be part of.
const (
	unreserved  = 1 << iota // RFC 3986 section 2.3: never needs encoding, so encoding it only makes a second spelling
	inPath                  // may stand raw in a path segment (pchar without ";" and "%")
	inName                  // may stand in the name of a query parameter
	inValue                 // may stand raw in the value of a query parameter and means itself (not "&", "+", ";", "%")
	controlByte             // below the space, or DEL
)

var byteClass = classifyBytes()

func classifyBytes() (class [256]uint8) {
	mark := func(set string, as uint8) {
		for i := range len(set) {
			class[set[i]] |= as
		}
	}
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	mark(alphanumeric, unreserved|inPath|inName|inValue)
	mark("-._~", unreserved|inPath|inValue)
	mark("-._", inName)
	mark("!$&'()*+,=:@", inPath)
	mark("!$'()*,=:@/?", inValue)
	for c := range 0x20 {
		class[c] |= controlByte
	}
	class[0x7f] |= controlByte
	return class
}

// Parse finds the operation of a request and reads its path and query in the one way that policy and upstream both will.
// requestURI is the request target as it stood on the wire. The error is a *problem.Error: 400 for what could be read in
// two ways, 404 for what the table lacks, 405 with Allow for a known path with another method.
//
// Nothing is normalised: what is not already in its one form is refused, so the path that policy judged is byte for byte
// the path that upstream gets. That includes encoded slashes in a branch's name, the one place where clients send them
// (the CLI's "branches get feature/x"): whether upstream, or a server before it, routes on the decoded path is unknown,
// and a rule with an exception is harder to trust than a branch that is named by its id.
func (c *Catalog) Parse(method, requestURI string) (Call, error) {
	path, rawQuery, _ := strings.Cut(requestURI, "?")
	if err := checkTarget(requestURI, path); err != nil {
		return Call{}, err
	}
	call := Call{Method: method, Path: path, RawQuery: rawQuery}
	call.Op = c.root.find(method, path, 1, 0, &call.params)
	if call.Op == nil && method == http.MethodHead {
		call.Op = c.root.find(http.MethodGet, path, 1, 0, &call.params)
	}
	if call.Op == nil {
		return Call{}, c.unknown(method, path)
	}
	query, err := parseQuery(rawQuery, call.Op.Repeat)
	if err != nil {
		return Call{}, problem.New(http.StatusBadRequest, problem.BadRequest, "%s.", capitalised(err.Error()))
	}
	call.query = query
	call.Target = Target{Kind: call.Op.Target}
	if call.Op.targetParam >= 0 {
		call.Target.ID = call.param(call.Op.targetParam)
	}
	return call, nil
}

// checkTarget refuses a request target that is not an absolute path in its one form (RFC 9112 section 3.2.1).
func checkTarget(requestURI, path string) error {
	switch {
	case path == "" || path[0] != '/':
		return bad("The request target must be a path that begins with a slash: send the request to the gateway itself, not through it as a proxy.")
	case strings.IndexByte(requestURI, '#') >= 0:
		return bad("The request target has a fragment (#…): clients must not send it.")
	case len(path) > maxPath:
		return bad("The path is %d bytes long; at most %d are taken.", len(path), maxPath)
	}
	empty := false // reported last: a worse fault in the same path is the better answer
	for at := 1; at <= len(path); {
		end, err := checkSegment(path, at)
		if err != nil {
			return err
		}
		empty = empty || end == at
		at = end + 1
	}
	if empty {
		return emptySegment(path)
	}
	return nil
}

// checkSegment checks the segment that begins at byte at and returns where it ends.
func checkSegment(path string, at int) (end int, err error) {
	end = at
	for ; end < len(path) && path[end] != '/'; end++ {
		c := path[end]
		if byteClass[c]&inPath != 0 {
			continue
		}
		if c != '%' {
			return 0, badByte(c)
		}
		if err := checkEscape(path, end); err != nil {
			return 0, err
		}
		end += 2
	}
	if segment := path[at:end]; segment == "." || segment == ".." {
		return 0, bad("The path has a dot segment (%q): send the path without it.", segment)
	}
	return end, nil
}

func badByte(c byte) error {
	switch {
	case c == '\\':
		return bad("The path has a backslash: write slashes.")
	case c == ';':
		return bad("The path has a semicolon: path parameters are not part of this API.")
	case byteClass[c]&controlByte != 0:
		return bad("The path has a control byte (0x%02x).", c)
	case c >= utf8.RuneSelf:
		return bad("The path has a byte outside ASCII (0x%02x).", c)
	default:
		return bad("The path has the byte %q, which does not belong there.", c)
	}
}

// checkEscape refuses percent-encodings that give a path a second spelling or a second meaning.
func checkEscape(path string, at int) error {
	c, ok := unhex(path, at)
	if !ok {
		return bad("The path has a %% that two hexadecimal digits do not follow.")
	}
	escape := path[at : at+3]
	switch {
	case c == '/':
		return bad("The path has an encoded slash (%s).%s", escape, byBranchID)
	case c == '.':
		return bad("The path has an encoded dot (%s): write the dot.", escape)
	case c == '%':
		return bad("The path is encoded twice (%s): encode it once.", escape)
	case byteClass[c]&controlByte != 0:
		return bad("The path has an encoded control byte (%s).", escape)
	case byteClass[c]&unreserved != 0:
		return bad("The path encodes a byte that needs no encoding (%s): write %q.", escape, c)
	case c >= utf8.RuneSelf, strings.IndexByte(`\;?#`, c) >= 0:
		return bad("The path has an encoded byte that no part of it may hold (%s).%s", escape, byBranchID)
	case escape != strings.ToUpper(escape):
		return bad("The path has a percent-encoding in lower case (%s): write its digits in upper case.", escape)
	}
	return nil
}

// byBranchID is the way round for the one thing whose name may hold such bytes.
const byBranchID = " A branch with such a name is reached by its id or project ref: /v1/branches/{branch_id_or_ref}."

func unhex(s string, at int) (byte, bool) {
	if at+2 >= len(s) {
		return 0, false
	}
	high, low := hexDigit(s[at+1]), hexDigit(s[at+2])
	return high<<4 | low, high < 16 && low < 16
}

// hexDigit returns the digit's value, 16 where it is none.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 16
	}
}

func bad(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, format, args...)
}

func capitalised(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
