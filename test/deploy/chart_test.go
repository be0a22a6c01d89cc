package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"corp.example/gateway/test/harness"
)

// kubernetesVersion is what the chart is rendered for; its schemas are those of the newest.
const kubernetesVersion = "1.34.0"

// valuesFiles are the chart's example values, which together turn everything on and off.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(file("helm/gateway/ci/*-values.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("example values: %v, %v", files, err)
	}
	return files
}

func render(t *testing.T, helm string, args ...string) (string, error) {
	t.Helper()
	stdout, stderr, err := harness.Command(helm, append([]string{"template", "prod", file("helm/gateway"), "--namespace", "apps", "--kube-version", kubernetesVersion}, args...)...)
	if err != nil {
		return "", errors.New(stderr)
	}
	return stdout, nil
}

// object is a rendered object.
type object map[string]any

// at walks down a path of keys with dots between; nil where there is nothing.
func (o object) at(path string) any {
	var value any = map[string]any(o)
	for key := range strings.SplitSeq(path, ".") {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

func objects(t *testing.T, rendered string) []object {
	t.Helper()
	var all []object
	for decoder := yaml.NewDecoder(strings.NewReader(rendered)); ; {
		var one map[string]any // yaml gives the maps inside the same type
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v\n%s", err, rendered)
		}
		if one != nil {
			all = append(all, object(one))
		}
	}
}

func TestChartRendersWhatKubernetesAndTheGatewayAccept(t *testing.T) {
	harness.Need(t, nil, nil)
	t.Parallel()
	helm, kubeconform, schemas := goTool(t, "helm"), goTool(t, "kubeconform"), schemas(t)
	seen := map[string]bool{}
	for _, values := range valuesFiles(t) {
		must(t, helm, "lint", "--strict", "--values", values, "--kube-version", kubernetesVersion, file("helm/gateway"))
		rendered, err := render(t, helm, "--values", values)
		if err != nil {
			t.Fatalf("%s: %v", values, err)
		}
		path := filepath.Join(t.TempDir(), "rendered.yaml")
		if err := os.WriteFile(path, []byte(rendered), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, kubeconform, "-strict", "-schema-location", schemas, path)
		for _, one := range objects(t, rendered) {
			kind := one.at("kind").(string)
			seen[kind] = true
			switch kind {
			case "StatefulSet":
				isRestricted(t, one, "spec.template.spec")
			case "Pod":
				isRestricted(t, one, "spec")
			case "PrometheusRule":
				carriesTheRules(t, one)
			}
		}
		gatewayAccepts(t, objects(t, rendered))
	}
	for _, kind := range []string{"StatefulSet", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy",
		"Ingress", "HTTPRoute", "ExternalSecret", "ServiceMonitor", "PrometheusRule", "Pod"} {
		if !seen[kind] {
			t.Errorf("none of the example values make a %s", kind)
		}
	}
}

// kubeconform must be seen to refuse: a schema that lets everything through would pass the test above too.
func TestSchemasRefuseWhatKubernetesDoesNotKnow(t *testing.T) {
	harness.Need(t, nil, nil)
	t.Parallel()
	kubeconform, schemas := goTool(t, "kubeconform"), schemas(t)
	for name, manifest := range map[string]string{
		"an unknown key deep in a pod":    "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {serviceName: a, selector: {}, template: {spec: {containers: [{name: a, securityContext: {readonly: true}}]}}}}",
		"a wrong type":                    "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: high}]}}",
		"an unknown key of an HTTPRoute":  "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {host: a}}",
		"an unknown key of a rule":        "{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule, metadata: {name: a}, spec: {groups: [{name: a, rules: [{alert: a, expr: b, level: c}]}]}}",
		"an ExternalSecret's wrong store": "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: a}, spec: {secretStoreRef: vault}}",
	} {
		path := filepath.Join(t.TempDir(), "manifest.yaml")
		if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, _, err := harness.Command(kubeconform, "-strict", "-schema-location", schemas, path)
		if err == nil || !strings.Contains(stdout, "is invalid") {
			t.Errorf("%s was let through: %v %s", name, err, stdout)
		}
	}
}

func TestChartRefusesValuesThatCannotWork(t *testing.T) {
	harness.Need(t, nil, nil)
	t.Parallel()
	helm := goTool(t, "helm")
	minimal, acme := file("helm/gateway/ci/minimal-values.yaml"), file("helm/gateway/ci/acme-values.yaml")
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "config.server.public_url has to be given"},
		{[]string{"--set", "config.server.public_url=https://a.example"}, "config.credentials has to be given"},
		{[]string{"--values", minimal, "--set", "replicas=2"}, "several replicas need redis.url"},
		{[]string{"--values", minimal, "--set", "autoscaling.enabled=true"}, "several replicas need redis.url"},
		{[]string{"--values", minimal, "--set", "httpRoute.enabled=true"}, "httpRoute.parentRefs has to name the Gateway"},
		{[]string{"--values", minimal, "--set", "replica=2"}, "replica"},
		{[]string{"--values", minimal, "--set", "config.admin.listen=:1"}, "admin"},
		{[]string{"--values", acme, "--set", "config.server.tls.acme.http_listen=:80"}, "http_listen"},
		{[]string{"--values", acme, "--set", "tls.secretName=gateway-tls"}, "are two certificates"},
	} {
		if out, err := render(t, helm, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("helm template %v: %v, want %q\n%s", test.args, err, test.want, out)
		}
	}
}

// The authority's questions reach the replicas where HTTP-01 is offered, before they have a certificate, and only there.
func TestChartLetsTheAuthorityIn(t *testing.T) {
	harness.Need(t, nil, nil)
	t.Parallel()
	helm := goTool(t, "helm")
	for _, test := range []struct {
		args                                      []string
		service, policy, container, listen, probe string
	}{
		{[]string{"--values", file("helm/gateway/ci/acme-values.yaml")}, "{name: acme, port: 80, targetPort: acme, ", "[{port: acme, ", "{name: acme, containerPort: 8080}", "http_listen: :8080", "/readyz?exclude=certificate"},
		{[]string{"--values", file("helm/gateway/ci/acme-values.yaml"), "--set", "service.acmePort=0"}, "", "", "", "", "/readyz?exclude=certificate"},
		{[]string{"--values", file("helm/gateway/ci/minimal-values.yaml")}, "", "", "", "", ""},
	} {
		rendered, err := render(t, helm, test.args...)
		if err != nil {
			t.Fatal(err)
		}
		for all, want := range map[string]string{"{name: acme, port:": test.service, "{port: acme,": test.policy, "{name: acme, containerPort:": test.container,
			"http_listen:": test.listen, "exclude=": test.probe} {
			if want == "" && strings.Contains(rendered, all) {
				t.Errorf("helm template %v has a %q", test.args, all)
			} else if !strings.Contains(rendered, want) {
				t.Errorf("helm template %v lacks %q", test.args, want)
			}
		}
	}
}

// isRestricted holds a pod to the Pod Security Standard "restricted", and to a root that cannot be written.
func isRestricted(t *testing.T, o object, path string) {
	t.Helper()
	for key, want := range map[string]any{
		".securityContext.runAsNonRoot": true, ".securityContext.runAsUser": 65532, ".securityContext.seccompProfile.type": "RuntimeDefault",
		".automountServiceAccountToken": false, ".hostNetwork": nil, ".hostPID": nil, ".hostIPC": nil,
	} {
		if got := o.at(path + key); got != want {
			t.Errorf("%v: %s%s is %v, want %v", o.at("metadata.name"), path, key, got, want)
		}
	}
	for _, one := range o.at(path + ".containers").([]any) {
		container := object(one.(map[string]any))
		dropped, _ := container.at("securityContext.capabilities.drop").([]any)
		if len(dropped) != 1 || dropped[0] != "ALL" || container.at("securityContext.capabilities.add") != nil {
			t.Errorf("%v keeps capabilities", o.at("metadata.name"))
		}
		if container.at("securityContext.allowPrivilegeEscalation") != false || container.at("securityContext.readOnlyRootFilesystem") != true || container.at("securityContext.privileged") != nil {
			t.Errorf("%v: security context %v", o.at("metadata.name"), container.at("securityContext"))
		}
	}
}

// carriesTheRules compares a PrometheusRule with the rules file, but for the runbooks' place.
func carriesTheRules(t *testing.T, o object) {
	t.Helper()
	var carried, kept map[string]any
	text := strings.ReplaceAll(read(t, file("prometheus/rules.yaml")), "docs/alerts.md", "https://wiki.corp.example/gateway/alerts")
	if err := yaml.Unmarshal([]byte(text), &kept); err != nil {
		t.Fatal(err)
	}
	carried, _ = o.at("spec").(map[string]any)
	got, gotErr := yaml.Marshal(carried)
	want, wantErr := yaml.Marshal(kept)
	if err := errors.Join(gotErr, wantErr); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the PrometheusRule is not the rules file:\n%s", got)
	}
}

// gatewayAccepts runs "gateway check" on the rendered gateway.yaml and policy.yaml, with the folders that the pod mounts moved
// into one of the test's.
func gatewayAccepts(t *testing.T, rendered []object) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/gateway/policy/policy.yaml", "teams: []\n")
	for _, one := range rendered {
		if config, is := one.at("data").(map[string]any); is && one.at("kind") == "ConfigMap" {
			if content, is := config["gateway.yaml"].(string); is {
				write("gateway.yaml", strings.NewReplacer("/run/secrets", dir+"/run/secrets", "/etc/gateway", dir+"/etc/gateway", "/var/lib/gateway", dir+"/state").Replace(content))
			}
			if content, is := config["policy.yaml"].(string); is {
				write("etc/gateway/policy/policy.yaml", content)
			}
		}
	}
	certificate, key := selfSigned(t)
	write("run/secrets/upstream/token", harness.UpstreamToken)
	write("run/secrets/oidc/secret", harness.ClientSecret)
	write("run/secrets/redis/password", "password")
	write("run/secrets/redis-ca/ca.crt", certificate)
	write("run/secrets/seal-key/seal-key", strings.Repeat("0123456789abcdef", 4)+"\n")
	write("run/secrets/tls/tls.crt", certificate)
	write("run/secrets/tls/tls.key", key)
	must(t, harness.Binary(t), "check", "--config", filepath.Join(dir, "gateway.yaml"))
}
