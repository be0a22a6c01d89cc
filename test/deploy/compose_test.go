package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

func TestComposeFileFitsTheFilesItMounts(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Volumes  []string
			Secrets  []string
			ReadOnly bool     `yaml:"read_only"`
			CapDrop  []string `yaml:"cap_drop"`
			Ports    []string
			Command  []string
		}
		Secrets, Volumes map[string]any
	}
	decodeFile(t, file("compose/compose.yaml"), &compose)
	for name, service := range compose.Services {
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if !strings.HasPrefix(source, ".") {
				if _, named := compose.Volumes[source]; !named {
					t.Errorf("%s: volume %s is not declared", name, source)
				}
			} else if info, err := os.Lstat(file(filepath.Join("compose", source))); err != nil || info.Mode()&os.ModeSymlink != 0 {
				t.Errorf("%s: %s: %v, want a file or folder and no link, which not every Docker follows", name, source, err)
			}
		}
		for _, secret := range service.Secrets {
			if _, declared := compose.Secrets[secret]; !declared {
				t.Errorf("%s: secret %s is not declared", name, secret)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond this machine", name, port)
			}
		}
		if len(service.CapDrop) != 1 || service.CapDrop[0] != "ALL" {
			t.Errorf("%s keeps capabilities", name)
		}
	}
	// What evicts by use would evict a token that is seldom used.
	if redis := compose.Services["redis"].Command; len(redis) == 0 || redis[len(redis)-1] != "volatile-ttl" {
		t.Errorf("Redis evicts as docs/operating.md says it must not: %q", redis)
	}
	if gateway := compose.Services["gateway"]; !gateway.ReadOnly {
		t.Error("the gateway's root can be written")
	}
	gatewayAccepts(t, []object{{"kind": "ConfigMap", "data": map[string]any{
		// Compose mounts files where the chart mounts folders.
		"gateway.yaml": strings.NewReplacer("/run/secrets/supabase-pat", "/run/secrets/upstream/token", "/run/secrets/seal-key", "/run/secrets/seal-key/seal-key").Replace(read(t, file("compose/gateway.yaml"))),
		"policy.yaml":  read(t, file("compose/policy/policy.yaml")),
	}}})
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	harness.Need(t, []string{"promtool"}, nil)
	dir := t.TempDir()
	config := strings.ReplaceAll(read(t, file("prometheus/prometheus.yml")), "/etc/prometheus/rules.yaml", file("prometheus/rules.yaml"))
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "promtool", "check", "config", path)
}
