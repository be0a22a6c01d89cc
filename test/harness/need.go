package harness

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Need leaves a test out of short runs, and where a command or file that it runs is missing. In continuous integration
// what is missing fails the test instead.
func Need(t testing.TB, commands, files []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a short run leaves out the real clients and the browser")
	}
	var missing []string
	for _, command := range commands {
		if _, err := exec.LookPath(command); err != nil {
			missing = append(missing, command)
		}
	}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, file)
		}
	}
	if len(missing) == 0 {
		return
	}
	message := "missing: " + strings.Join(missing, ", ") + ". Run: make test"
	Lacking(t, message)
}

// Lacking ends a test that cannot run here and says why. Where everything must run, with CI=true, that is a failure.
func Lacking(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
