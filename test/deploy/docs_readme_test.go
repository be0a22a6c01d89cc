package deploy_test

import (
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// typeRunIt writes the two files of the README and runs its commands beside each other, as it says.
func typeRunIt(t *testing.T, section harness.Section) {
	folder := t.TempDir()
	for _, block := range section.YAML {
		name, content, named := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
		if !named || !strings.HasSuffix(name, ".yaml") {
			t.Fatalf("a block of YAML that does not begin with its file's name:\n%s", block)
		}
		write(t, filepath.Join(folder, name), content)
	}
	certificate, key := selfSigned(t)
	for name, content := range map[string]string{"tls.crt": certificate, "tls.key": key, "supabase-pat": harness.UpstreamToken, "client-secret": harness.ClientSecret} {
		write(t, filepath.Join(folder, name), content)
	}
	admin := harness.FreeAddress(t)
	config := strings.ReplaceAll(read(t, filepath.Join(folder, "gateway.yaml")), `":8443"`, `"`+harness.FreeAddress(t)+`"`)
	write(t, filepath.Join(folder, "gateway.yaml"), config+"admin: {listen: \""+admin+"\"}\n")

	// The service stays in the foreground, where another terminal is opened.
	serve := "gateway serve --config gateway.yaml\n"
	if !strings.Contains(section.Shell, serve) {
		t.Fatal("the README does not run the service")
	}
	script := strings.Replace(section.Shell, serve, strings.TrimSpace(serve)+" 2>gateway.log &\ntrap 'kill %1; wait' EXIT\nuntil gateway health --url http://"+admin+"/readyz >/dev/null 2>&1; do kill -0 %1; sleep 0.1; done\n", 1)
	script = strings.Replace(script, "gateway explain ", "! gateway explain ", 1) // exits with 1, since it denies
	seen := newShell(t, folder).types(t, "set -m\n"+script)
	for _, want := range []string{"gateway.yaml is good: 1 team,", "decision  deny", "secrets:read", "sbp_"} {
		if !strings.Contains(seen, want) {
			t.Errorf("what is typed does not show %q:\n%s", want, seen)
		}
	}
}
