package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"corp.example/gateway/test/harness"
)

// docker is a shell in a checkout whose docker is Podman. It needs no service, keeps its images in a folder of the test, and
// builds the Dockerfile on a base image that was made here, since the real one comes from a registry: a shell of
// Busybox, and this machine's Go and module cache.
func docker(t *testing.T) *shell {
	t.Helper()
	goCommand(t, "mod", "download")
	place, err := os.MkdirTemp("", "podman-") // short: sockets' paths are
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t, checkout(t))
	t.Cleanup(func() {
		s.types(t, "docker rm --all --force --volumes && docker image umount --all >/dev/null; umount "+place+"/graph 2>/dev/null || true")
		if err := os.RemoveAll(place); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(place, "storage.conf"), fmt.Sprintf("[storage]\ndriver = \"vfs\"\nrunroot = %q\ngraphroot = %q\n", place+"/run", place+"/graph"))
	write(t, filepath.Join(place, "containers.conf"), fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host" # no bridge, no rules of a firewall
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = %q
`, place+"/libpod"))
	s.program(t, "docker", fmt.Sprintf(`
export CONTAINERS_STORAGE_CONF=%[1]s/storage.conf CONTAINERS_CONF=%[1]s/containers.conf TMPDIR=%[1]s
verb=$1; shift
case $verb in
build) exec podman build --quiet --format docker --layers=false --isolation chroot --pull=never --volume %[2]s:/usr/local/go:ro --volume %[3]s:/modules:ro --volume %[4]s:/cache "$@" ;;
run) exec podman run --no-healthcheck "$@" ;; # systemd would ask, and is not there
*) exec podman $verb "$@" ;;
esac`, place, goEnv(t, "GOROOT"), filepath.Join(goEnv(t, "GOMODCACHE"), "cache/download"), goEnv(t, "GOCACHE")))
	s.types(t, `
mkdir -p base/bin base/tmp base/usr/local/go base/etc/ssl/certs
cp "$(command -v busybox)" base/bin/busybox
ln -s busybox base/bin/sh
ln -s busybox base/bin/mkdir
cp /etc/ssl/certs/ca-certificates.crt base/etc/ssl/certs/
tar --directory base --create . | docker import --change 'ENV PATH=/usr/local/go/bin:/bin' --change 'ENV GOPATH=/go' \
	--change 'ENV GOPROXY=file:///modules' --change 'ENV GOCACHE=/cache' - "$(sed -n 's/^FROM .*\(golang:[^ ]*\) AS build$/docker.io\/library\/\1/p' Dockerfile)"
rm -r base`)
	return s
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, "env", name))
}

// typeDocker builds the image and runs it as the docs say, and looks at what was built.
func typeDocker(t *testing.T, section harness.Section) {
	if os.Getuid() != 0 {
		harness.Lacking(t, "making a file system of another user's takes root")
	}
	s := docker(t)
	operator := &root{path: t.TempDir()} // whose /etc and /run are mounted
	operator.configure(t)
	config := filepath.Join(operator.path, "etc/gateway")
	text := strings.ReplaceAll(read(t, filepath.Join(config, "gateway.yaml")), "/run/secrets/token", "/etc/gateway/token")
	if err := os.Chmod(filepath.Join(config, "gateway.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	operator.write(t, "etc/gateway/token", harness.UpstreamToken)
	operator.write(t, "etc/gateway/gateway.yaml", text)
	script := strings.NewReplacer("--volume /etc/gateway:", "--volume "+config+":",
		`"$(git describe --always)"`, "1.2.3", // the checkout has no history
		"docker exec gateway /gateway token", "until docker exec gateway /gateway health --url http://"+operator.admin+"/readyz; do docker container inspect gateway | grep -q running; sleep 0.1; done\ndocker exec gateway /gateway token",
	).Replace(section.Shell)
	seen := s.types(t, script)
	for _, want := range []string{"gateway 1.2.3 (go", `"audit":"ok"`} {
		if !strings.Contains(seen, want) {
			t.Errorf("what is typed does not show %q:\n%s", want, seen)
		}
	}

	hasTheLabelsAndNoMore(t, s)
	image := strings.TrimSpace(s.types(t, "docker image mount gateway:local"))
	holdsTheProgramAndNoMore(t, image)
	isConfined(t, s)
	s.types(t, "docker stop gateway")
	if log := s.types(t, "docker logs gateway"); !strings.Contains(log, `"msg":"draining"`) || strings.TrimSpace(s.types(t, "docker inspect --format '{{.State.ExitCode}}' gateway")) != "0" {
		t.Errorf("it does not end in order:\n%s", log)
	}
}

func hasTheLabelsAndNoMore(t *testing.T, s *shell) {
	t.Helper()
	var built []struct {
		User        string
		Labels      map[string]string
		HealthCheck struct{ Test []string } `json:"Healthcheck"`
		Config      struct {
			Entrypoint, Cmd       []string
			Volumes, ExposedPorts map[string]any
		}
	}
	if err := json.Unmarshal([]byte(s.types(t, "docker image inspect gateway:local")), &built); err != nil {
		t.Fatal(err)
	}
	image := built[0]
	if image.User != fmt.Sprintf("%d:%[1]d", imageUser) {
		t.Errorf("it runs as %s", image.User)
	}
	if image.Labels["org.opencontainers.image.version"] != "1.2.3" || image.Labels["org.opencontainers.image.title"] != "gateway" || image.Labels["org.opencontainers.image.description"] == "" {
		t.Errorf("labels %v", image.Labels)
	}
	if !slices.Equal(image.HealthCheck.Test, []string{"CMD", "/gateway", "health"}) || !slices.Equal(image.Config.Entrypoint, []string{"/gateway"}) || !slices.Equal(image.Config.Cmd, []string{"serve", "--config", "/etc/gateway/gateway.yaml"}) {
		t.Errorf("it is asked with %q and runs %q %q", image.HealthCheck.Test, image.Config.Entrypoint, image.Config.Cmd)
	}
	if image.Config.Volumes["/var/lib/gateway"] == nil || image.Config.ExposedPorts["8443/tcp"] == nil || image.Config.ExposedPorts["9090/tcp"] == nil {
		t.Errorf("volumes %v, ports %v", image.Config.Volumes, image.Config.ExposedPorts)
	}
}

// holdsTheProgramAndNoMore: no shell, no package manager, nothing that the image's user may write but two folders.
func holdsTheProgramAndNoMore(t *testing.T, image string) {
	t.Helper()
	want := map[string]string{
		".": "0 755", "etc": "0 755", "etc/ssl": "0 755", "etc/ssl/certs": "0 755", "etc/ssl/certs/ca-certificates.crt": "0 644", "gateway": "0 755",
		"tmp": "65532 700", "var": "65532 755", "var/lib": "65532 755", "var/lib/gateway": "65532 700",
	}
	if err := fs.WalkDir(os.DirFS(image), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		got := fmt.Sprintf("%d %o", info.Sys().(*syscall.Stat_t).Uid, info.Mode().Perm())
		if want[path] != got && path != "." { // the root's own mode is for the builder to choose
			t.Errorf("it holds %s of %s, want %q", path, got, want[path])
		}
		delete(want, path)
		return nil
	}); err != nil {
		t.Error(err)
	}
	for path := range want {
		t.Errorf("it has no %s", path)
	}
}

// isConfined asks the kernel how the running process is held.
func isConfined(t *testing.T, s *shell) {
	t.Helper()
	process := "/proc/" + strings.TrimSpace(s.types(t, "docker inspect --format '{{.State.Pid}}' gateway"))
	status := read(t, process+"/status")
	for _, want := range []string{"\nUid:\t65532\t65532\t65532\t65532\n", "\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n", "\nNoNewPrivs:\t1\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process has no %q:\n%s", want, status)
		}
	}
	if err := os.WriteFile(process+"/root/file", nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("its root can be written: %v", err)
	}
}
