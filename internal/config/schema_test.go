package config_test

import (
	"os"
	"reflect"
	"testing"

	"corp.example/gateway/internal/catalog"
	"corp.example/gateway/internal/config"
	"corp.example/gateway/internal/strictyaml"
	"corp.example/gateway/test/schema"

	"github.com/invopop/jsonschema"
)

func TestTheSchemaOfGatewayYAMLAgreesWithItsReader(t *testing.T) {
	text := &jsonschema.Schema{Type: "string"}
	special := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[catalog.Effect](): {Type: "string", Enum: []any{"read", "write", "destructive"}},
		reflect.TypeFor[catalog.Kind]():   text,
		reflect.TypeFor[catalog.List]():   text,
	}
	generated := schema.Of(t, "config", "gateway.yaml of the gateway for the Supabase Management API", reflect.TypeFor[config.File](), special, "catalog")
	schema.Golden(t, "../../configs/gateway.schema.json", generated)
	example, err := os.ReadFile("../../configs/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	schema.Agree(t, generated, example, func(text []byte) error {
		var file config.File
		_, err := strictyaml.Decode("gateway.yaml", text, &file)
		return err
	})
}
