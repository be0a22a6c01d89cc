package audit_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/test/harness"
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
}

// A file system within a file that has no room to grow takes what is written, and cannot store it: only the sync can tell.
func TestSyncTellsThatTheDiskFails(t *testing.T) {
	f := onFailingDisk(t)
	sync, release := audit.NewSync()
	defer release()
	for range 20 {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := sync(f); err != nil {
			if !strings.Contains(err.Error(), f.Name()) {
				t.Errorf("sync = %v, want the file's name", err)
			}
			return
		}
	}
	t.Error("20 MiB were synced to a disk of 6")
}

// onFailingDisk creates a file on a disk of 64 MiB, of which there are 6.
func onFailingDisk(t *testing.T) *os.File {
	t.Helper()
	small, disk := t.TempDir(), t.TempDir()
	image := filepath.Join(small, "image")
	for _, command := range [][]string{
		{"mount", "-t", "tmpfs", "-o", "size=6m", "none", small},
		{"truncate", "--size=64M", image},
		{"mkfs.ext4", "-q", "-O", "^has_journal", image},
		{"mount", "-o", "loop", image, disk},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			harness.Lacking(t, fmt.Sprintf("a disk cannot be made of a file here: %q: %v: %s", command, err, out))
		}
		if command[0] == "mount" {
			mounted := command[len(command)-1]
			t.Cleanup(func() { // lazily: the kernel gives the image back a moment after its disk
				if out, err := exec.Command("umount", "--lazy", mounted).CombinedOutput(); err != nil {
					t.Errorf("unmounting %s: %v: %s", mounted, err, out)
				}
			})
		}
	}
	f, err := os.Create(filepath.Join(disk, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
