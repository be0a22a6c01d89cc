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
	nodes  int // visited so far, aliases counted each time they are used
}

func (d *decoding) document(node *yaml.Node, into any) {
	d.value(node, reflect.ValueOf(into).Elem(), nil)
}

func (d *decoding) fault(node *yaml.Node, path []any, format string, args ...any) {
	d.faults = append(d.faults, Fault{File: d.source.file, Line: node.Line, Key: keyText(path), Message: fmt.Sprintf(format, args...)})
}

func (d *decoding) value(node *yaml.Node, into reflect.Value, path []any) {
	if d.nodes++; d.nodes > maxAliasedNodes {
		if d.nodes == maxAliasedNodes+1 {
			d.fault(node, path, "the file expands to more than %d values: use fewer aliases", maxAliasedNodes)
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
			d.fault(node, path, "%s", ownMessage(err))
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.mapping(node, into, path)
	case reflect.Slice:
		d.sequence(node, into, path)
	case reflect.Map:
		d.dictionary(node, into, path)
	default:
		d.scalar(node, into, path)
	}
}

func (d *decoding) mapping(node *yaml.Node, into reflect.Value, path []any) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, path, "wants keys and values such as {%s: …}, has %s", strings.Join(fieldNames(into.Type()), ", "), kindText(node))
		return
	}
	fields := fieldsOf(into)
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := append(slices.Clip(path), key.Value)
		field, known := fields[key.Value]
		switch {
		case !known:
			d.fault(key, at, "unknown key%s", didYouMean(key.Value, fieldNames(into.Type())))
		case seen[key.Value]:
			d.fault(key, at, "this key stands twice: keep one")
		default:
			d.value(value, field, at)
		}
		seen[key.Value] = true
	}
}

func (d *decoding) sequence(node *yaml.Node, into reflect.Value, path []any) {
	if node.Kind != yaml.SequenceNode {
		d.fault(node, path, "wants a list such as [a, b], has %s", kindText(node))
		return
	}
	list := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		d.value(item, list.Index(i), append(slices.Clip(path), i))
	}
	into.Set(list)
}

func (d *decoding) dictionary(node *yaml.Node, into reflect.Value, path []any) {
	if node.Kind != yaml.MappingNode {
		d.fault(node, path, "wants names with values, has %s", kindText(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := reflect.ValueOf(node.Content[i].Value)
		at := append(slices.Clip(path), node.Content[i].Value)
		if into.MapIndex(key).IsValid() {
			d.fault(node.Content[i], at, "this key stands twice: keep one")
			continue
		}
		item := reflect.New(into.Type().Elem()).Elem()
		d.value(node.Content[i+1], item, at)
		into.SetMapIndex(key, item)
	}
}

func (d *decoding) scalar(node *yaml.Node, into reflect.Value, path []any) {
	if node.Kind != yaml.ScalarNode {
		d.fault(node, path, "wants %s, has %s", typeText(into.Kind()), kindText(node))
		return
	}
	// A number or a date where text is wanted passes: it is a forgotten pair of quotes around an id or a version, and
	// yaml.v3 keeps the writer's own characters.
	if err := node.Decode(into.Addr().Interface()); err != nil {
		d.fault(node, path, "wants %s, has %q", typeText(into.Kind()), node.Value)
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

// fieldsOf returns the fields of a struct by their YAML names; embedded structs tagged inline are part of it.
func fieldsOf(into reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		field := into.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			maps.Copy(fields, fieldsOf(into.Field(i)))
		case name != "" && name != "-":
			fields[name] = into.Field(i)
		}
	}
	return fields
}

func fieldNames(t reflect.Type) []string {
	return slices.Sorted(maps.Keys(fieldsOf(reflect.New(t).Elem())))
}
