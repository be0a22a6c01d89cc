package audit

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncData puts a file's data on stable storage, and of its metadata what is needed to read them: its length, but not the
// time of the last change, which would cost the journal one more write each time.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("fdatasync %s: %w", f.Name(), err)
		}
		return nil
	}
}
