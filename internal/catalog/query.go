package catalog

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a query. The longest known are SQL texts for the log endpoints, of a few kilobytes; upstream's front refuses
// a request line over 32 KiB.
const (
	maxQuery       = 32 << 10
	maxQueryParams = 64
	maxQueryName   = 64
)

// Query is a parsed query string. It is read one way only: every parameter stands once, unless its operation's row says
// otherwise. The zero value is the empty query.
type Query struct {
	raw   string
	pairs []pair
	plain bool // raw is already canonical
}

type pair struct {
	name, value string // value is decoded
	bare        bool   // written without "="
}

// Get returns the first value of a parameter, decoded, and whether the parameter stands in the query.
func (q Query) Get(name string) (string, bool) {
	for i := range q.pairs {
		if q.pairs[i].name == name {
			return q.pairs[i].value, true
		}
	}
	return "", false
}

// All returns the values of a parameter in their order, decoded.
func (q Query) All(name string) []string {
	var values []string
	for i := range q.pairs {
		if q.pairs[i].name == name {
			values = append(values, q.pairs[i].value)
		}
	}
	return values
}

// Len returns how many parameters the query has, repetitions counted.
func (q Query) Len() int { return len(q.pairs) }

// Canonical returns the query with its parameters sorted by name and their values encoded in one way, for cache keys.
// Two queries have the same canonical form exactly when upstream is asked the same: repeated values keep their order,
// and "a" stays different from "a=".
func (q Query) Canonical() string {
	if q.plain {
		return q.raw
	}
	sorted := slices.Clone(q.pairs)
	slices.SortStableFunc(sorted, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.Grow(len(q.raw))
	for i, p := range sorted {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		if !p.bare {
			b.WriteByte('=')
			escape(&b, p.value)
		}
	}
	return b.String()
}

// escape writes a value so that a value which needs no escape stands for itself, and no two values are written alike.
func escape(b *strings.Builder, value string) {
	const hex = "0123456789ABCDEF"
	for i := range len(value) {
		c := value[i]
		if byteClass[c]&inValue != 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}

// parseQuery reads a raw query. The names in repeat may stand more than once. It refuses what two readers could read in
// two ways (threats: CVE-2022-2880): ";", bad escapes, a parameter that stands twice, and encoded or bracketed names,
// which some frameworks turn into other names ("reveal[]", "re%76eal").
func parseQuery(raw string, repeat []string) (Query, error) {
	if raw == "" {
		return Query{plain: true}, nil
	}
	if len(raw) > maxQuery {
		return Query{}, fmt.Errorf("the query is %d bytes long; at most %d are taken", len(raw), maxQuery)
	}
	count := strings.Count(raw, "&") + 1
	if count > maxQueryParams {
		return Query{}, fmt.Errorf("the query has %d parameters; at most %d are taken", count, maxQueryParams)
	}
	q := Query{raw: raw, pairs: make([]pair, 0, count), plain: true}
	for part := range strings.SplitSeq(raw, "&") {
		p, encoded, err := parsePair(part)
		if err != nil {
			return Query{}, err
		}
		if _, twice := q.Get(p.name); twice && !slices.Contains(repeat, p.name) {
			return Query{}, fmt.Errorf("the query parameter %q stands twice: send it once", p.name)
		}
		if encoded || len(q.pairs) > 0 && p.name < q.pairs[len(q.pairs)-1].name {
			q.plain = false
		}
		q.pairs = append(q.pairs, p)
	}
	return q, nil
}

func parsePair(part string) (p pair, encoded bool, err error) {
	name, value, valued := strings.Cut(part, "=")
	if name == "" {
		return pair{}, false, fmt.Errorf("the query has a parameter without a name: look for a stray & or =")
	}
	if len(name) > maxQueryName {
		return pair{}, false, fmt.Errorf("the query has a parameter name of %d bytes; at most %d are taken", len(name), maxQueryName)
	}
	for i := range len(name) {
		if byteClass[name[i]]&inName == 0 {
			return pair{}, false, fmt.Errorf("the query parameter name %q may hold only letters, digits, and . _ - (unencoded)", name)
		}
	}
	value, encoded, err = decodeValue(value)
	if err != nil {
		return pair{}, false, fmt.Errorf("the query parameter %q %w", name, err)
	}
	return pair{name: name, value: value, bare: !valued}, encoded, nil
}

// decodeValue decodes a value, "+" being a space. encoded reports whether it held anything to decode.
func decodeValue(raw string) (value string, encoded bool, err error) {
	special := 0
	for i := range len(raw) {
		switch c := raw[i]; {
		case c == '%' || c == '+':
			special++
		case byteClass[c]&inValue == 0:
			return "", false, fmt.Errorf("holds the byte %q, which must be percent-encoded", c)
		}
	}
	if special == 0 {
		return raw, false, nil
	}
	decoded := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '+':
			decoded = append(decoded, ' ')
		case '%':
			c, ok := unhex(raw, i)
			if !ok {
				return "", false, fmt.Errorf("has a %% that two hexadecimal digits do not follow")
			}
			if c == 0 {
				return "", false, fmt.Errorf("holds a NUL byte")
			}
			decoded = append(decoded, c)
			i += 2
		default:
			decoded = append(decoded, raw[i])
		}
	}
	if !utf8.Valid(decoded) {
		return "", false, fmt.Errorf("is not UTF-8 once decoded")
	}
	return string(decoded), true, nil
}
