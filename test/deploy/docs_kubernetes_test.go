package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// typeKubernetes types what needs no cluster's answer: the objects are made and rendered, and then not sent.
func typeKubernetes(t *testing.T, section harness.Section) {
	folder := checkout(t)
	s := newShell(t, folder)
	kubectl := s.types(t, "command -v kubectl")
	s.program(t, "kubectl", `exec `+strings.TrimSpace(kubectl)+` "$@" --dry-run=client --output=yaml`)
	s.program(t, "helm", `[ "$1" = install ] && shift && exec `+goTool(t, "helm")+` template --kube-version `+kubernetesVersion+` "$@"`)
	write(t, filepath.Join(folder, "supabase-pat"), harness.UpstreamToken)
	if len(section.YAML) != 1 {
		t.Fatalf("%d blocks of YAML, want the least values.yaml", len(section.YAML))
	}
	write(t, filepath.Join(folder, "values.yaml"), section.YAML[0])

	seen := s.types(t, strings.ReplaceAll(section.Shell, "/path/to/your/supabase-pat", "supabase-pat"))
	for _, want := range []string{"kind: Namespace", "kind: Secret", "name: supabase-pat", "  token: ", "kind: StatefulSet", `image: "REGISTRY/gateway:VERSION"`, "secretName: \"supabase-pat\""} {
		if !strings.Contains(seen, want) {
			t.Errorf("what is typed makes no %q:\n%s", want, seen)
		}
	}
}

// typeCompose makes what the compose file mounts. What it then starts comes from a registry.
func typeCompose(t *testing.T, section harness.Section) {
	folder := checkout(t)
	write(t, filepath.Join(folder, "supabase-pat"), harness.UpstreamToken)
	newShell(t, folder).types(t, strings.ReplaceAll(section.Shell, "/path/to/your/supabase-pat", "supabase-pat"))
	for name, want := range map[string]string{"supabase-pat": "^" + harness.UpstreamToken + "$", "seal-key": "^[0-9a-f]{64}\n$"} {
		path := filepath.Join(folder, "deploy/compose/secrets", name)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 || !regexp.MustCompile(want).MatchString(read(t, path)) {
			t.Errorf("%s: %v, %v, want a file that the container's user may read, with %s", name, info, err, want)
		}
	}
}
