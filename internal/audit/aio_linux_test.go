package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"corp.example/gateway/internal/audit"
)

func TestFilesAreSyncedByTheKernelAndNothingIsLeft(t *testing.T) {
	before := eventfds(t)
	l := open(t, synced(t.TempDir()))
	if n := eventfds(t) - before; n != 1 {
		t.Errorf("an open log waits on %d eventfds for its syncs, want 1", n)
	}
	r := read()
	if err := l.Outcome(t.Context(), &r); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := eventfds(t) - before; n != 0 {
		t.Errorf("a closed log leaves %d eventfds", n)
	}
}

// eventfds counts those of this process, Go's own too.
func eventfds(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && strings.Contains(target, "eventfd") {
			n++
		}
	}
	return n
}

func TestSyncTellsWhatFails(t *testing.T) {
	sync, release := audit.NewSync()
	defer release()
	path := filepath.Join(t.TempDir(), "file")
	for range 3 { // one request is used again and again
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("a line\n")
		if err := sync(f); err != nil {
			t.Errorf("syncing a file: %v", err)
		}
		f.Close()
	}
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := sync(pipe); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), pipe.Name()) {
		t.Errorf("syncing a pipe: %v, want EINVAL and its name", err)
	}
	if err := audit.SyncResult(-int64(unix.EIO)); err != unix.EIO {
		t.Errorf("the kernel says that the disk failed, and that becomes %v", err)
	}
}
