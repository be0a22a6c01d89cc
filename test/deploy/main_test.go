// Package deploy_test proves what stands in deploy/ with the tools of its trade: promtool and Prometheus, Helm and
// kubeconform, and the gateway itself.
package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"corp.example/gateway/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// file is a path in deploy/.
func file(name string) string { return filepath.Join(harness.Root(), "deploy", name) }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// decodeFile reads a YAML file, which JSON is too.
func decodeFile(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// goTool builds a tool of test/tools/kubernetes.mod, which the build cache keeps, and returns the path of its program.
func goTool(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, "tool", "-n", "-modfile=test/tools/kubernetes.mod", name))
}

// module is the folder of a module of test/tools/schemas.mod, which is downloaded where it is not there.
func module(t *testing.T, path string) string {
	t.Helper()
	var downloaded struct{ Dir string }
	if err := json.Unmarshal([]byte(goCommand(t, "mod", "download", "-modfile=test/tools/schemas.mod", "-json", path)), &downloaded); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return downloaded.Dir
}

func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	command.Dir, command.Stderr = harness.Root(), &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, output, &stderr)
	}
	return string(output)
}

// must runs a program that has to succeed, and returns what it printed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	stdout, stderr, err := harness.Command(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}
