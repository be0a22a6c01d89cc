package deploy_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

// imageUser is the user of the image and of the chart.
const imageUser = 65532

// buildForImage runs the Dockerfile's own build for an architecture, without Docker.
func buildForImage(t *testing.T, architecture string) string {
	t.Helper()
	build := regexp.MustCompile(`CGO_ENABLED=0 GOOS=\$TARGETOS GOARCH=\$TARGETARCH go (build .+) -o /out/gateway \./cmd/gateway`).FindStringSubmatch(read(t, filepath.Join(harness.Root(), "Dockerfile")))
	if build == nil {
		t.Fatal("the Dockerfile does not build the program as this test expects")
	}
	path := filepath.Join(t.TempDir(), "gateway")
	command := exec.CommandContext(t.Context(), "sh", "-c", "go "+build[1]+" -o "+path+" ./cmd/gateway")
	command.Dir, command.Env = harness.Root(), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

func TestImageIsOneStaticBinaryForBothArchitectures(t *testing.T) {
	harness.Need(t, nil, nil)
	for architecture, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		program, err := elf.Open(buildForImage(t, architecture))
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		if program.Machine != machine {
			t.Errorf("%s: built for %s", architecture, program.Machine)
		}
		for _, segment := range program.Progs {
			if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: not static: it has a %s segment, and an image from scratch no loader", architecture, segment.Type)
			}
		}
	}
}

// The image's file system, made by hand, is all that the process sees, and it runs as the image's user: where it needed
// a shell, a library, or to write outside its state, it would fail here.
func TestImageRunsFromAnEmptyReadOnlyRoot(t *testing.T) {
	harness.Need(t, nil, nil)
	root := t.TempDir()
	data, err := os.ReadFile(buildForImage(t, goArchitecture(t)))
	if err != nil {
		t.Fatal(err)
	}
	admin := freeAddress(t)
	for name, content := range map[string]string{
		"gateway":                 string(data),
		"run/secrets/token":       harness.UpstreamToken,
		"etc/gateway/policy.yaml": "teams: []\n",
		"etc/gateway/gateway.yaml": fmt.Sprintf(`server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1:8443"}
admin: {listen: %q}
state: {dir: /var/lib/gateway}
credentials: [{name: shared, token: {file: /run/secrets/token}}]
`, admin),
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o555)); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(root, "var/lib/gateway")
	if err := errors.Join(os.MkdirAll(filepath.Dir(state), 0o755), os.Mkdir(state, 0o700), os.Chmod(root, 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(root, 0o755) }) // so that it can be removed
	if os.Getuid() == 0 {
		if err := os.Chown(state, imageUser, imageUser); err != nil {
			t.Fatal(err)
		}
	}
	inImage := func(args ...string) *exec.Cmd {
		command := exec.Command("/gateway", args...)
		command.Dir, command.Env, command.SysProcAttr = "/", []string{}, confined(root)
		return command
	}

	var log strings.Builder
	service := inImage("serve", "--config", "/etc/gateway/gateway.yaml")
	service.Stderr = &log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	healthy, output := error(nil), []byte(nil)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // another process
		if output, healthy = inImage("health", "--url", "http://"+admin+"/readyz").CombinedOutput(); healthy == nil {
			break
		}
	}
	stopped := service.Process.Signal(syscall.SIGTERM)
	if err := errors.Join(healthy, stopped, service.Wait()); err != nil {
		t.Fatalf("%v\n%s\n%s", err, output, &log)
	}
	if _, err := os.Stat(filepath.Join(state, "audit")); err != nil {
		t.Errorf("the audit log is not in the state's folder: %v", err)
	}
}

// confined puts a process into a root of its own as the image's user: root may, anybody else in a user namespace.
func confined(root string) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser, NoSetGroups: true}}
	if os.Getuid() != 0 {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}

func goArchitecture(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, "env", "GOARCH"))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestDockerfileKeepsItsPromises(t *testing.T) {
	text := read(t, filepath.Join(harness.Root(), "Dockerfile"))
	final := text[strings.LastIndex(text, "\nFROM "):]
	for _, want := range []string{"FROM scratch\n", "USER 65532:65532\n", `HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/gateway", "health"]`,
		`ENTRYPOINT ["/gateway"]`, "org.opencontainers.image.version", "/etc/ssl/certs/ca-certificates.crt"} {
		if !strings.Contains(final, want) {
			t.Errorf("the final stage lacks %q", want)
		}
	}
	if strings.Contains(final, "\nRUN ") {
		t.Error("the final stage runs a command: there is nothing in it that could")
	}
	// A folder that the program imports and the Dockerfile does not copy breaks the build only where there is a Docker.
	for folder := range strings.FieldsSeq(goCommand(t, "list", "-deps", "-f", "{{if and .Module .Module.Main}}{{.Dir}}{{end}}", "./cmd/gateway")) {
		relative, err := filepath.Rel(harness.Root(), folder)
		if err != nil {
			t.Fatal(err)
		}
		top, _, _ := strings.Cut(relative, "/")
		if !strings.Contains(text, "\nCOPY "+top+" ./"+top+"\n") || !strings.Contains(read(t, filepath.Join(harness.Root(), ".dockerignore")), "\n!"+top+"\n") {
			t.Errorf("%s is not copied into the image's build, or .dockerignore leaves it out", top)
		}
	}
}
