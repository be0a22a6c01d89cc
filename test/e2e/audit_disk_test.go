package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"corp.example/gateway/test/harness"
)

// TestAuditOnAFullFileSystem fills the file system that the log lies on, and makes room again.
func TestAuditOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := unix.Mount("none", dir, "tmpfs", 0, "size=256k")
	if errors.Is(err, unix.EPERM) && os.Getenv(mayMount) == "" {
		againAsMounter(t)
		return
	}
	if err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	g := harness.Start(t, harness.Options{Config: "audit: {flush: 10ms, sinks: [{file: {dir: \"" + dir + "\"}, required: true}]}\n"})
	filler := filepath.Join(dir, "filler")
	stopsWrites(t, g, func() {
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("filling the file system: %v, want that it is full", err)
		}
	}, func() error { return os.Remove(filler) })
	if stdout, stderr, err := g.Run("audit", "verify"); err != nil {
		t.Errorf("verify: %s%s%v", stdout, stderr, err)
	}
}

// mayMount is in the environment of a test that againAsMounter runs.
const mayMount = "TEST_MAY_MOUNT"

// againAsMounter runs the test once more in name spaces of its own, where anybody may mount a tmpfs.
func againAsMounter(t *testing.T) {
	t.Helper()
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), mayMount+"=yes")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := again.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		harness.Lacking(t, "neither mounting nor name spaces are permitted here")
	}
	if err != nil {
		t.Errorf("in name spaces of its own: %v\n%s", err, out)
	}
}

// TestAuditInAFolderThatBecomesReadOnly takes the current file away and lets nobody make another.
func TestAuditInAFolderThatBecomesReadOnly(t *testing.T) {
	t.Parallel()
	heedPermissions(t)
	g := harness.Start(t, harness.Options{})
	file := auditFile(t, g)
	folder := filepath.Dir(file)
	t.Cleanup(func() { _ = os.Chmod(folder, 0o700) }) // or nobody could remove it
	stopsWrites(t, g, func() {
		if err := errors.Join(os.Remove(file), os.Chmod(folder, 0o500)); err != nil {
			t.Fatal(err)
		}
	}, func() error { return os.Chmod(folder, 0o700) })
}

// heedPermissions takes from programs that this test starts root's right to write where the mode of a folder forbids it.
// The thread keeps to the test and ends with it, since its other children lose the right as well.
func heedPermissions(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_DAC_OVERRIDE, 0, 0, 0); err != nil {
		t.Fatalf("giving up CAP_DAC_OVERRIDE: %v", err)
	}
}

// stopsWrites wants a fault of the disk to stop writes before they reach upstream, and its end to let them pass.
func stopsWrites(t *testing.T, g *harness.Gateway, begin func(), end func() error) {
	t.Helper()
	ada := g.JWT("ada")
	one := func() harness.Answer { return g.Do(ada, "POST", secretsOf, `[{"name":"KEY","value":"v"}]`) }
	if a := one(); a.StatusCode != http.StatusCreated {
		t.Fatalf("answered %d %s", a.StatusCode, a.Text)
	}
	begin()
	waitFor(t, "a write to be refused", func() bool { return one().StatusCode != http.StatusCreated }) // a block may have had room
	before := len(g.Upstream.Requests())
	if a := one(); a.StatusCode != http.StatusServiceUnavailable || a.Problem(t).Code != "audit_unavailable" {
		t.Errorf("a write that cannot be recorded is answered %d %s", a.StatusCode, a.Text)
	}
	if len(g.Upstream.Requests()) != before {
		t.Error("it reached upstream")
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "writes to be served again", func() bool { return one().StatusCode == http.StatusCreated })
}
