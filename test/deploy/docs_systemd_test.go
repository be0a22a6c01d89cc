package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// typeSystemd types the installation into a folder that stands for the machine's root. systemctl enables units there; what
// it would tell a running systemd, another test does, without systemd.
func typeSystemd(t *testing.T, section harness.Section) {
	machine := t.TempDir()
	folder := checkout(t)
	s := newShell(t, folder)
	s.program(t, "sudo", `exec "$@"`)
	s.program(t, "make", `ln -s "$(command -v gateway)" gateway`) // built already
	s.program(t, "systemctl", `
verb=$1; shift
case "$verb" in
daemon-reload)
	sed 's|/usr/local/bin/|`+machine+`/usr/local/bin/|' `+machine+`/etc/systemd/system/gateway.service > gateway.service
	cp `+machine+`/etc/systemd/system/gateway.socket . 2>/dev/null || true
	complaints=$(systemd-analyze verify $(ls ./gateway.service ./gateway.socket 2>/dev/null) 2>&1) && [ -z "$complaints" ] || { echo "$complaints"; exit 1; } ;;
enable) [ "$1" = --now ] && shift; exec /usr/bin/env -i PATH=/usr/bin:/bin systemctl --quiet --root=`+machine+` enable "$@" ;;
start | stop) exec test -e "`+machine+`/etc/systemd/system/$1.service" ;;
*) echo "systemctl $verb is not expected"; exit 1 ;;
esac`)
	write(t, filepath.Join(folder, "supabase-pat"), harness.UpstreamToken)
	write(t, filepath.Join(folder, "policy.yaml"), "teams: []\n")
	write(t, filepath.Join(folder, "gateway.yaml"), `server: {listen: ":443", public_url: https://supabase.corp.example}
state: {dir: /var/lib/gateway}
credentials: [{name: shared, owner: platform-bot, token: {file: /run/credentials/gateway.service/supabase-pat}}]
`)
	for _, place := range []string{"/usr/local/bin", "/etc/systemd/system", "/usr/lib/systemd/system"} {
		if err := os.MkdirAll(machine+place, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(machine, "usr/lib/systemd/system/multi-user.target"), "[Unit]\n")
	write(t, filepath.Join(machine, "usr/lib/systemd/system/sockets.target"), "[Unit]\n")

	s.types(t, strings.NewReplacer(" /usr/local/bin/", " "+machine+"/usr/local/bin/", " /etc/", " "+machine+"/etc/", "/path/to/your/supabase-pat", "supabase-pat").Replace(section.Shell))
	for path, mode := range map[string]os.FileMode{"usr/local/bin/gateway": 0o755, "etc/gateway/secrets": 0o700, "etc/gateway/secrets/supabase-pat": 0o600, "etc/gateway/gateway.yaml": 0o644, "etc/gateway/policy.yaml": 0o644,
		"etc/systemd/system/multi-user.target.wants/gateway.service": 0o777, "etc/systemd/system/sockets.target.wants/gateway.socket": 0o777} {
		if info, err := os.Lstat(filepath.Join(machine, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %o", path, info, err, mode)
		}
	}
}

// checkout is a clean one: the files that are kept, without what was made of them.
func checkout(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	newShell(t, harness.Root()).types(t, `git ls-files -co --exclude-standard -z | tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory '`+folder+`'`)
	return folder
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
