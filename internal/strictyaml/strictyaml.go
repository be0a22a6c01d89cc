// Package strictyaml decodes a YAML file into Go values and reports every fault of the file at once, each with its file,
// line and key.
//
// Unknown and repeated keys, values of the wrong type and further documents are faults: a typo in a security setting
// must never be read as "not set". A field tagged zero:"no" takes no zero, which its owner takes for a key left out. The package knows the form of a file; what the values mean is for its callers, who
// report their own faults through Source.Fault so that they carry a line too.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Fault is one thing wrong with one key of one file.
type Fault struct {
	File    string
	Line    int    // 1 is the first; 0 where the fault belongs to no line
	Key     string // as in teams[3].allow[0].scopes; "" for the whole file
	Message string // what is wrong and what to do
}

func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key)
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults are all the faults found together. As an error they read one a line, in the order of the file.
type Faults []Fault

func (f Faults) Error() string {
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	lines := make([]string, len(sorted))
	for i, fault := range sorted {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns f as an error, nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Source remembers where each key of a decoded file stands.
type Source struct {
	file string
	root *yaml.Node // the first document's value; nil for an empty file
}

// maxAliasedNodes bounds what aliases may expand a file to; a policy of 20,000 grants has about 300,000 nodes.
const maxAliasedNodes = 2_000_000

// Decode reads the one YAML document in data into the struct that into points to, and returns where its keys stand.
// file is the name faults are reported under. An error is always of type Faults and holds all of them; the Source is
// returned even then, so that a caller may add its own.
func Decode(file string, data []byte, into any) (*Source, error) {
	source := &Source{file: file}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return source, nil
	case err != nil:
		return source, Faults{syntaxFault(file, err)}
	}
	source.root = document.Content[0]
	d := decoding{source: source, fields: map[reflect.Type]map[string][]int{}}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.faults = Faults{{File: file, Message: "the file holds more than one document: keep the first and remove what follows the --- line"}}
	}
	d.document(source.root, into)
	return source, d.faults.Err()
}

// syntaxFault turns the YAML parser's own error, which begins with "yaml: line 3: ", into a fault.
func syntaxFault(file string, err error) Fault {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if _, scanErr := fmt.Sscanf(text, "line %d: ", &line); scanErr == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	return Fault{File: file, Line: line, Message: "this is not valid YAML: " + text}
}

// File returns the name the source was decoded under.
func (s *Source) File() string { return s.file }

// Line returns the line of the value at path, whose elements are string keys and int indexes. Where the path leaves the
// file, it is the line of the last element that exists; 0 for an empty file.
func (s *Source) Line(path ...any) int {
	line, _ := s.find(path)
	return line
}

// HasKeys reports whether the file was read as keys and values. Of one that was not, nothing is known to be missing.
func (s *Source) HasKeys() bool { return s.root != nil && resolve(s.root).Kind == yaml.MappingNode }

// Has reports whether the file has a value at path.
func (s *Source) Has(path ...any) bool {
	_, found := s.find(path)
	return found
}

// Fault returns a fault of the value at path.
func (s *Source) Fault(message string, path ...any) Fault {
	return Fault{File: s.file, Line: s.Line(path...), Key: keyText(path), Message: message}
}

func (s *Source) find(path []any) (line int, found bool) {
	node := s.root
	if node == nil {
		return 0, len(path) == 0
	}
	line = node.Line
	for _, element := range path {
		at, value := child(node, element)
		if value == nil {
			return line, false
		}
		line, node = at, value
	}
	return line, true
}

// child returns the value below node that element names, and the line it is written on: its key's for a mapping, so that
// a fault of a nested block points at the block's name.
func child(node *yaml.Node, element any) (int, *yaml.Node) {
	node = resolve(node)
	switch element := element.(type) {
	case string:
		if node.Kind != yaml.MappingNode {
			return 0, nil
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == element {
				return node.Content[i].Line, node.Content[i+1]
			}
		}
	case int:
		if node.Kind == yaml.SequenceNode && element < len(node.Content) {
			return node.Content[element].Line, node.Content[element]
		}
	}
	return 0, nil
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

func keyText(path []any) string {
	var b strings.Builder
	for _, element := range path {
		switch element := element.(type) {
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(element)
		case int:
			fmt.Fprintf(&b, "[%d]", element)
		}
	}
	return b.String()
}
