package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Root is the folder of the module.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// built makes the program once for all tests of a test binary.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gateway-binary-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "gateway")
	args := []string{"build", "-o", path}
	if Race {
		args = append(args, "-race")
	}
	command := exec.Command("go", append(args, "./cmd/gateway")...)
	command.Dir, command.Stdout, command.Stderr = Root(), os.Stderr, os.Stderr
	return path, command.Run()
})

// Binary is the path of the program, built with the race detector where the tests are.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatalf("building the gateway: %v", err)
	}
	return path
}

// Main builds the program, runs the tests of a package and removes the program again. Call it from TestMain.
func Main(m *testing.M) {
	path, err := built()
	status := 1
	if err == nil {
		status = m.Run()
	}
	os.RemoveAll(filepath.Dir(path))
	os.Exit(status)
}
