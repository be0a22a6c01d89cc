package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gopkg.in/yaml.v3"
)

// The published definitions that the chart's objects are checked against: Kubernetes' own, and those of the operators
// that the chart can make objects for. They come from the projects' Go modules, so that no test asks the network for more
// than the module cache keeps.
const kubernetesDefinitions = "api/openapi-spec/swagger.json"

var customDefinitions = map[string][]string{
	"sigs.k8s.io/gateway-api": {"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
	"github.com/prometheus-operator/prometheus-operator": {
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
	},
	"github.com/external-secrets/external-secrets": {"config/crds/bases/external-secrets.io_externalsecrets.yaml"},
}

// kinds are Kubernetes' own kinds that the chart makes.
var kinds = []string{
	"v1/ConfigMap", "v1/Service", "v1/ServiceAccount", "v1/Pod", "apps/v1/StatefulSet", "policy/v1/PodDisruptionBudget",
	"autoscaling/v2/HorizontalPodAutoscaler", "networking.k8s.io/v1/NetworkPolicy", "networking.k8s.io/v1/Ingress",
}

// schemas writes one JSON Schema a kind for kubeconform, which say no to every key they do not know, and returns the
// pattern of their paths.
func schemas(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(version, kind string, schema any) {
		group, version, found := strings.Cut(version, "/")
		if !found {
			version = group
		}
		data, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, group+"_"+version+"_"+strings.ToLower(kind)+".json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var modules sync.WaitGroup // their download is most of the time
	modules.Go(func() { kubernetesSchemas(t, write) })
	for path, files := range customDefinitions {
		modules.Go(func() {
			folder := module(t, path)
			for _, name := range files {
				customSchemas(t, filepath.Join(folder, name), write)
			}
		})
	}
	modules.Wait()
	return filepath.Join(dir, "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json")
}

func kubernetesSchemas(t *testing.T, write func(version, kind string, schema any)) {
	t.Helper()
	var swagger struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(module(t, "k8s.io/kubernetes"), kubernetesDefinitions))), &swagger); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // by version and kind
	for name, definition := range swagger.Definitions {
		known, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, one := range known {
			of := one.(map[string]any)
			names[strings.TrimPrefix(of["group"].(string)+"/"+of["version"].(string)+"/"+of["kind"].(string), "/")] = name
		}
		if !strings.HasSuffix(name, ".JSONSchemaProps") { // extends itself, and is no part of these kinds
			close(definition)
		}
	}
	for _, kind := range kinds {
		name, version := names[kind], kind[:strings.LastIndex(kind, "/")]
		if name == "" {
			t.Fatalf("Kubernetes has no %s", kind)
		}
		write(version, kind[len(version)+1:], map[string]any{"$ref": "#/definitions/" + name, "definitions": reached(swagger.Definitions, name)})
	}
}

// reached are a definition and all that it refers to.
func reached(all map[string]map[string]any, name string) map[string]any {
	found := map[string]any{}
	var follow func(value any)
	visit := func(name string) {
		if _, seen := found[name]; !seen {
			found[name] = all[name]
			follow(map[string]any(all[name]))
		}
	}
	follow = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if to, is := value["$ref"].(string); is {
				visit(strings.TrimPrefix(to, "#/definitions/"))
			}
			for _, inner := range value {
				follow(inner)
			}
		case []any:
			for _, inner := range value {
				follow(inner)
			}
		}
	}
	visit(name)
	return found
}

func customSchemas(t *testing.T, path string, write func(version, kind string, schema any)) {
	t.Helper()
	var definition struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, path)), &definition); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, version := range definition.Spec.Versions {
		schema := version.Schema.OpenAPIV3Schema
		close(schema)
		if properties, _ := schema["properties"].(map[string]any); properties != nil {
			properties["metadata"] = map[string]any{"type": "object"} // of every object; Kubernetes' own kinds have it checked
		}
		write(definition.Spec.Group+"/"+version.Name, definition.Spec.Names.Kind, schema)
	}
}

// close makes a definition, and all inside it, refuse the keys that it does not name, as the API server's strict mode does;
// and gives Kubernetes' two types that OpenAPI has no word for theirs.
func close(value any) {
	switch value := value.(type) {
	case map[string]any:
		_, open := value["additionalProperties"]
		if properties, has := value["properties"].(map[string]any); has && !open && value["x-kubernetes-preserve-unknown-fields"] != true {
			if _, named := properties["properties"]; !named {
				value["additionalProperties"] = false
			}
		}
		if value["format"] == "int-or-string" || value["x-kubernetes-int-or-string"] == true {
			delete(value, "type")
			value["oneOf"] = []any{map[string]any{"type": "string"}, map[string]any{"type": "integer"}}
		}
		if value["type"] == "string" && value["description"] != nil && strings.HasPrefix(value["description"].(string), "Quantity is") {
			value["type"] = []any{"string", "number"}
		}
		for key, inner := range value {
			if key != "oneOf" && key != "enum" && key != "default" {
				close(inner)
			}
		}
	case []any:
		for _, inner := range value {
			close(inner)
		}
	}
}
