package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"corp.example/gateway/test/harness"
)

// TestAuditOnAFullFileSystem fills the file system that the log lies on, and makes room again.
func TestAuditOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	permitted(t, unix.Mount("none", dir, "tmpfs", 0, "size=256k"))
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

// TestAuditInAFolderThatBecomesReadOnly takes the current file away and lets nobody make another.
func TestAuditInAFolderThatBecomesReadOnly(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	file := auditFile(t, g)
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	freeze := func(flags int) error { return unix.IoctlSetPointerInt(int(folder.Fd()), unix.FS_IOC_SETFLAGS, flags) }
	permitted(t, freeze(unix.STATX_ATTR_IMMUTABLE)) // has the value of FS_IMMUTABLE_FL
	t.Cleanup(func() { _ = freeze(0) })             // or nobody could remove it
	stopsWrites(t, g, func() {
		if err := errors.Join(freeze(0), os.Remove(file), freeze(unix.STATX_ATTR_IMMUTABLE)); err != nil {
			t.Fatal(err)
		}
	}, func() error { return freeze(0) })
}

// permitted leaves a test out where the system does not let it make its fault.
func permitted(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("making the fault is not permitted here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
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
