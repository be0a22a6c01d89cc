package rig

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// touched is more than all servers together write to files before memory is touched again.
const touched = 1 << 30

// TouchMemory uses memory once and gives it back to the kernel, so that no server has to be the first: on a virtual machine each
// page that its host has yet to provide costs whoever writes to it some microseconds, which for a gateway are those of
// its audit file. The host takes back within seconds what is free, so this is done again and again.
func TouchMemory() error {
	memory, err := unix.Mmap(-1, 0, touched, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("touching memory: %w", err)
	}
	return unix.Munmap(memory)
}
