package strictyaml

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// decoding walks one document beside the Go value it fills. yaml.v3's own strict mode stops at the first unknown key of
// each struct and names no path; the walk collects all of them.
type decoding struct {
	source *Source
	faults Faults
	nodes  int                               // visited so far, aliases counted each time they are used
	path   []any                             // of what is being decoded
	fields map[reflect.Type]map[string][]int // of each struct met so far, by YAML name
}

func (d *decoding) document(node *yaml.Node, into any) {
	d.value(node, reflect.ValueOf(into).Elem())
}

// fault notes what is wrong with the value or key at the present path.
func (d *decoding) fault(node *yaml.Node, format string, args ...any) {
	d.faults = append(d.faults, Fault{File: d.source.file, Line: node.Line, Key: keyText(d.path), Message: fmt.Sprintf(format, args...)})
}

// enter goes one step down the path; the caller leaves again.
func (d *decoding) enter(element any) { d.path = append(d.path, element) }

func (d *decoding) leave() { d.path = d.path[:len(d.path)-1] }

func (d *decoding) value(node *yaml.Node, into reflect.Value) {
	if d.nodes++; d.nodes > maxAliasedNodes {
		if d.nodes == maxAliasedNodes+1 {
			d.fault(node, "the file expands to more than %d values: use fewer aliases", maxAliasedNodes)
		}
		return
	}
	node = resolve(node)
	if isNull(node) {
		return // a key without a value is as if it were absent
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if decodesItself(into) {
		if err := node.Decode(into.Addr().Interface()); err != nil {
			d.fault(node, "%s", ownMessage(err))
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.mapping(node, into)
	case reflect.Slice:
		d.sequence(node, into)
	case reflect.Map:
		d.dictionary(node, into)
	default:
		d.scalar(node, into)
	}
}

func (d *decoding) mapping(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, "wants keys and values such as {%s: …}, has %s", strings.Join(fieldNames(into.Type()), ", "), kindOnly(node))
		return
	}
	fields, known := d.fields[into.Type()]
	if !known {
		fields = fieldsOf(into.Type())
		d.fields[into.Type()] = fields
	}
	seen := make([]string, 0, 8) // known keys alone, which are few
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		d.enter(key.Value)
		field, known := fields[key.Value]
		switch {
		case !known:
			d.fault(key, "unknown key%s", didYouMean(key.Value, fieldNames(into.Type())))
		case slices.Contains(seen, key.Value):
			d.fault(key, "this key stands twice: keep one")
		default:
			seen = append(seen, key.Value)
			before := len(d.faults)
			d.value(value, into.FieldByIndex(field))
			if len(d.faults) == before && into.FieldByIndex(field).IsZero() && !isNull(resolve(value)) && into.Type().FieldByIndex(field).Tag.Get("zero") == "no" {
				d.fault(value, "%s would count as left out: write more, or leave the key out for its default", kindText(resolve(value)))
			}
		}
		d.leave()
	}
}

func (d *decoding) sequence(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.fault(node, "wants a list such as [a, b], has %s", kindText(node))
		return
	}
	list := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		d.enter(i)
		d.value(item, list.Index(i))
		d.leave()
	}
	into.Set(list)
}

func (d *decoding) dictionary(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, "wants names with values, has %s", kindOnly(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := reflect.ValueOf(node.Content[i].Value)
		d.enter(node.Content[i].Value)
		if into.MapIndex(key).IsValid() {
			d.fault(node.Content[i], "this key stands twice: keep one")
		} else {
			item := reflect.New(into.Type().Elem()).Elem()
			d.value(node.Content[i+1], item)
			into.SetMapIndex(key, item)
		}
		d.leave()
	}
}

func (d *decoding) scalar(node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.ScalarNode {
		d.fault(node, "wants %s, has %s", typeText(into.Kind()), kindText(node))
		return
	}
	if into.Kind() == reflect.String && node.Tag == "!!str" { // what most values are; yaml.v3 does the same at ten times the cost
		into.SetString(node.Value)
		return
	}
	// A number or a date where text is wanted passes: it is a forgotten pair of quotes around an id or a version, and
	// yaml.v3 keeps the writer's own characters.
	// A part of a whole number does not pass: yaml.v3 would cut it off.
	if err := node.Decode(into.Addr().Interface()); err != nil || into.CanInt() && node.ShortTag() == "!!float" {
		d.fault(node, "wants %s, has %q", typeText(into.Kind()), node.Value)
	}
}

// decodesItself reports whether the value has its own way to be read.
func decodesItself(into reflect.Value) bool {
	if !into.CanAddr() {
		return false
	}
	switch into.Addr().Interface().(type) {
	case yaml.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return into.Type().String() == "time.Time"
}

// ownMessage takes yaml.v3's envelope off an error that a value's own decoder returned.
func ownMessage(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  ")
	if rest, found := strings.CutPrefix(text, "line "); found {
		_, text, _ = strings.Cut(rest, ": ")
	}
	return text
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func kindText(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", node.Value)
	}
}

// kindOnly is kindText without a single value's text: where keys belong, such as {file: PATH}, it may well be the secret itself.
func kindOnly(node *yaml.Node) string {
	if node.Kind == yaml.ScalarNode {
		return "a single value"
	}
	return kindText(node)
}

func typeText(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

// fieldsOf returns where the fields of a struct are, by their YAML names; embedded structs tagged inline are part of it.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for name, index := range fieldsOf(field.Type) {
				fields[name] = append([]int{i}, index...)
			}
		case name != "" && name != "-":
			fields[name] = []int{i}
		}
	}
	return fields
}

func fieldNames(t reflect.Type) []string { return slices.Sorted(maps.Keys(fieldsOf(t))) }
