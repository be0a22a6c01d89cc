// Package schema makes JSON Schemas from the Go types that configuration files are read into, and holds them to what the
// strict reader says.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"corp.example/gateway/internal/secret"
	"corp.example/gateway/internal/strictyaml"
)

const module = "corp.example/gateway/internal/"

// Of is the schema of a type. The test runs in the folder internal/NAME; comments are read there and in the folders named
// beside it. special gives types that are written otherwise than they look.
func Of(t testing.TB, name, title string, of reflect.Type, special map[reflect.Type]*jsonschema.Schema, beside ...string) []byte {
	t.Helper()
	reflector := jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if found := special[t]; found != nil {
				return found
			}
			return written(t)
		},
	}
	for _, folder := range append(beside, name) {
		path := "../" + folder
		if folder == name {
			path = "."
		}
		if err := reflector.AddGoComments(module+name, path); err != nil {
			t.Fatal(err)
		}
	}
	schema := reflector.ReflectFromType(of)
	schema.Title = title
	schema.Description = ""
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// written are the types that are scalars in YAML, whatever they are in Go.
func written(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[strictyaml.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^(\d+d|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)$`, Description: "A duration, such as 30s, 1h30m or 90d."}
	case reflect.TypeFor[strictyaml.Bytes]():
		return &jsonschema.Schema{Type: "string", Pattern: `^\d+(B|KiB|MiB|GiB)$`, Description: "A size, such as 64MiB."}
	case reflect.TypeFor[secret.Source]():
		place := func(key, text string) *jsonschema.Schema {
			properties := jsonschema.NewProperties()
			properties.Set(key, &jsonschema.Schema{Type: "string", Description: text})
			return &jsonschema.Schema{Type: "object", Properties: properties, Required: []string{key}, AdditionalProperties: jsonschema.FalseSchema}
		}
		return &jsonschema.Schema{Description: "Where a secret is kept.", OneOf: []*jsonschema.Schema{
			place("file", "Path of a file that holds the secret alone."), place("env", "Name of an environment variable that holds the secret."),
		}}
	}
	return nil
}

// Golden compares with the file at path, or writes it where UPDATE is set in the environment.
func Golden(t testing.TB, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the Go types say: write it again with UPDATE=1 go test ./internal/...", path)
	}
}

// Agree holds that schema and decode say the same of the example, and of each way to spoil one key of it: a name that is
// not known, a list where none belongs.
func Agree(t *testing.T, schema, example []byte, decode func([]byte) error) {
	t.Helper()
	compiled := compile(t, schema)
	check := func(what string, document *yaml.Node) {
		t.Helper()
		text, err := yaml.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := document.Decode(&value); err != nil {
			t.Fatal(err)
		}
		bySchema, byDecode := compiled.Validate(value), decode(text)
		if (bySchema == nil) != (byDecode == nil) {
			t.Errorf("%s: the schema says %v, the reader says %v", what, bySchema, byDecode)
		}
	}
	var document yaml.Node
	if err := yaml.Unmarshal(example, &document); err != nil {
		t.Fatal(err)
	}
	check("the example", &document)
	if err := decode(example); err != nil {
		t.Errorf("the example is not right: %v", err)
	}
	spoiled := 0
	walk(document.Content[0], "", func(path string, key, value *yaml.Node) {
		name, kept := key.Value, *value
		if !freeKeys(path) {
			key.Value = name + "x"
			check(path+"."+name+"x", &document)
			key.Value = name
		}
		*value = yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "not"}, {Kind: yaml.ScalarNode, Value: "known"}}}
		check(path+"."+name+": {not: known}", &document)
		*value = kept
		spoiled++
	})
	if spoiled < 20 {
		t.Errorf("only %d keys were spoiled: is this the example?", spoiled)
	}
}

// freeKeys are the places where keys are names of the author's own.
func freeKeys(path string) bool {
	for _, end := range []string{".sets", ".claims", ".headers", ".params", ".classes"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// walk visits each key of the document and what stands at it.
func walk(node *yaml.Node, path string, visit func(path string, key, value *yaml.Node)) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if !freeKeys(path) {
				visit(path, key, value)
			}
			walk(value, path+"."+key.Value, visit)
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			walk(item, path, visit)
		}
	}
}

func compile(t testing.TB, schema []byte) *validator.Schema {
	t.Helper()
	document, err := validator.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(fmt.Errorf("the schema is none: %w", err))
	}
	return compiled
}
