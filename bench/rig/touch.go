package rig

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// touched is about what a run of the benchmark needs of the kernel's cache for audit files.
const touched = 4 << 30

// TouchMemory uses memory once and gives it back to the kernel, so that no server has to be the first: on a virtual machine each
// page that its host has yet to provide costs whoever writes to it some microseconds, which for a gateway are those of
// its audit file.
func TouchMemory() error {
	fmt.Fprintf(os.Stderr, "touching %d GiB of memory\n", touched>>30)
	memory, err := unix.Mmap(-1, 0, touched, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("touching memory: %w", err)
	}
	return unix.Munmap(memory)
}
