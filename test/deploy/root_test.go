package deploy_test

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

// root is a file system that holds what the image does, and all that the gateway's process sees.
type root struct {
	path  string
	admin string // address of the admin listener
}

// rootByHand is one without an image: a folder with the program and the state's folder.
func rootByHand(t *testing.T) *root {
	t.Helper()
	r := &root{path: t.TempDir()}
	data, err := os.ReadFile(buildForImage(t, goArchitecture(t)))
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "gateway", string(data))
	state := filepath.Join(r.path, "var/lib/gateway")
	if err := errors.Join(os.MkdirAll(filepath.Dir(state), 0o755), os.Mkdir(state, 0o700)); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(state, imageUser, imageUser); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// configure writes what an operator mounts.
func (r *root) configure(t *testing.T) {
	t.Helper()
	r.admin = harness.FreeAddress(t)
	r.write(t, "run/secrets/token", harness.UpstreamToken)
	r.write(t, "etc/gateway/policy.yaml", "teams: []\n")
	r.write(t, "etc/gateway/gateway.yaml", fmt.Sprintf(`server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1:8443", drain_delay: 0s}
admin: {listen: %q}
state: {dir: /var/lib/gateway}
credentials: [{name: shared, token: {file: /run/secrets/token}}]
`, r.admin))
}

func (r *root) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(r.path, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o555)); err != nil {
		t.Fatal(err)
	}
}

// command is the program inside, as the image's user: root may put it there, anybody else in a user namespace.
func (r *root) command(environment []string, args ...string) *exec.Cmd {
	command := exec.Command("/gateway", args...)
	attributes := &syscall.SysProcAttr{Chroot: r.path, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser, NoSetGroups: true}}
	if os.Getuid() != 0 {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getgid(), Size: 1}}
	}
	command.Dir, command.Env, command.SysProcAttr = "/", environment, attributes
	return command
}

// serves runs the service until it says that it is healthy, ends it, and returns its log.
func (r *root) serves(t *testing.T, environment ...string) string {
	t.Helper()
	r.configure(t)
	if err := os.Chmod(r.path, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(r.path, 0o755) // so that it can be removed
	var log strings.Builder
	service := r.command(environment, "serve", "--config", "/etc/gateway/gateway.yaml")
	service.Stderr = &log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	healthy, output := error(nil), []byte(nil)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // another process
		if output, healthy = r.command(nil, "health", "--url", "http://"+r.admin+"/readyz").CombinedOutput(); healthy == nil {
			break
		}
	}
	stopped := service.Process.Signal(syscall.SIGTERM)
	if err := errors.Join(healthy, stopped, service.Wait()); err != nil {
		t.Fatalf("%v\n%s\n%s", err, output, &log)
	}
	if _, err := os.Stat(filepath.Join(r.path, "var/lib/gateway/audit")); err != nil {
		t.Errorf("the audit log is not in the state's folder: %v", err)
	}
	return log.String()
}

// Where the program needed a shell, a library, or to write outside its state, it would fail here.
func TestImageRunsFromAnEmptyReadOnlyRoot(t *testing.T) {
	harness.Need(t, nil, nil)
	rootByHand(t).serves(t)
}

// What the kernel tells of a container is in files, and here they are ours.
func TestMemoryLimitFollowsTheContainer(t *testing.T) {
	harness.Need(t, nil, nil)
	const version2 = "30 29 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
	const version1 = "30 29 0:26 /pod/1 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n"
	r := rootByHand(t)
	for _, test := range []struct {
		name, mounts, group string
		files               map[string]string
		environment         []string
		want                string
	}{
		{"version 2", version2, "0::/\n", map[string]string{"memory.max": "1073741824\n"}, nil, `"bytes":966367641`},
		{"version 2, in a group inside", version2, "0::/system.slice/gateway.service\n",
			map[string]string{"memory.max": "max\n", "system.slice/memory.max": "500000000\n", "system.slice/gateway.service/memory.max": "1000000000\n"}, nil, `"bytes":450000000`},
		{"version 1", version1, "5:memory:/pod/1\n", map[string]string{"memory/memory.limit_in_bytes": "1000000000\n", "memory/memory.stat": "hierarchical_memory_limit 1000000000\n"}, nil, `"bytes":900000000`},
		{"no limit", version2, "0::/\n", map[string]string{"memory.max": "max\n"}, nil, `"no memory limit"`},
		{"GOMEMLIMIT wins", version2, "0::/\n", map[string]string{"memory.max": "1073741824\n"}, []string{"GOMEMLIMIT=300MiB"}, `"bytes":314572800`},
		{"nothing to be read", "", "", nil, nil, "set GOMEMLIMIT"},
	} {
		if err := errors.Join(os.RemoveAll(filepath.Join(r.path, "sys")), os.RemoveAll(filepath.Join(r.path, "proc"))); err != nil {
			t.Fatal(err)
		}
		r.write(t, "proc/self/mountinfo", test.mounts)
		r.write(t, "proc/self/cgroup", test.group)
		for name, content := range test.files {
			r.write(t, "sys/fs/cgroup/"+name, content)
		}
		if log := r.serves(t, test.environment...); !strings.Contains(log, test.want) {
			t.Errorf("%s: the log has no %s\n%s", test.name, test.want, log)
		}
	}
}

// The runtime does it by itself, unless go.mod names a version of Go from before it did.
func TestProcessorsFollowTheContainer(t *testing.T) {
	built, err := buildinfo.ReadFile(harness.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range built.Settings {
		if setting.Key == "DefaultGODEBUG" && strings.Contains(setting.Value, "maxprocs=0") {
			t.Errorf("the program is built with %s", setting.Value)
		}
	}
}
