package deploy_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

func goArchitecture(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(goCommand(t, "env", "GOARCH"))
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
