package policy

import (
	"os"
	"reflect"
	"testing"

	"github.com/invopop/jsonschema"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/strictyaml"
	"corp.example/gateway/test/schema"
)

func TestTheSchemaOfPolicyYAMLAgreesWithItsReader(t *testing.T) {
	scalar := &jsonschema.Schema{Type: "string"}
	special := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[catalog.Effect](): {Type: "string", Enum: []any{"read", "write", "destructive"}},
		reflect.TypeFor[textList]():       {OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "boolean"}, {Type: "number"}, {Type: "array", Items: scalar}}},
	}
	generated := schema.Of(t, "policy", "policy.yaml of the gateway for the Supabase Management API", reflect.TypeFor[document](), special)
	schema.Golden(t, "../../configs/policy.schema.json", generated)
	for _, path := range []string{"../../configs/policy.yaml", "../../configs/demo/policy.yaml"} {
		example, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		schema.Agree(t, generated, example, func(text []byte) error {
			var d document
			_, err := strictyaml.Decode("policy.yaml", text, &d)
			return err
		})
	}
}
