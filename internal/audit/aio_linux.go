package audit

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelSync is syncData by a thread of the kernel, for files that are synced while requests are served. A goroutine that waits
// in a system call keeps its processor until Go's monitor notices, which may take 10 ms: a sync of a mebibyte is over by
// then, and requests have waited for it. Waiting for the kernel's answer as for that of a socket, it keeps none.
//
// It is Linux's asynchronous I/O, io_submit(2) with IOCB_CMD_FDSYNC, which there is since 4.18.
type kernelSync struct {
	context uintptr  // aio_context_t
	ended   *os.File // eventfd that counts syncs that have ended
	request iocb
	event   ioEvent
}

// iocb is struct iocb of linux/aio_abi.h. Key and flags of its beginning are zero, so their order, which depends on that
// of bytes, does not matter.
type iocb struct {
	_         [16]byte
	opcode    uint16
	_         int16
	file      uint32
	_         [32]byte
	flags     uint32
	signalled uint32
}

// ioEvent is struct io_event of linux/aio_abi.h.
type ioEvent struct {
	_      [16]byte
	result int64 // 0, or an errno below zero
	_      int64
}

// IOCB_CMD_FDSYNC and IOCB_FLAG_RESFD of linux/aio_abi.h.
const (
	commandFdsync = 3
	flagSignal    = 1
)

// newSync returns what syncs a file's data without keeping one of Go's processors, one file at a time, and what gives its
// resources back. Where the kernel cannot (an old one, a sandbox that forbids it), that is syncData.
func newSync() (sync func(*os.File) error, release func()) {
	k := &kernelSync{}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&k.context)), 0); errno != 0 {
		return syncData, func() {}
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		k.destroy()
		return syncData, func() {}
	}
	k.ended = os.NewFile(uintptr(fd), "eventfd")
	k.request = iocb{opcode: commandFdsync, flags: flagSignal, signalled: uint32(fd)}
	return k.sync, func() {
		k.destroy()
		k.ended.Close()
	}
}

func (k *kernelSync) destroy() { unix.Syscall(unix.SYS_IO_DESTROY, k.context, 0, 0) }

func (k *kernelSync) sync(f *os.File) error {
	k.request.file = uint32(f.Fd())
	request := &k.request
	_, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, k.context, 1, uintptr(unsafe.Pointer(&request)))
	if errno != 0 { // nothing has begun
		return syncData(f)
	}
	var count [8]byte
	k.ended.Read(count[:]) // should that fail, io_getevents waits
	for errno = unix.EINTR; errno == unix.EINTR; {
		_, _, errno = unix.Syscall6(unix.SYS_IO_GETEVENTS, k.context, 1, 1, uintptr(unsafe.Pointer(&k.event)), 0, 0)
	}
	runtime.KeepAlive(f)
	if errno == 0 {
		errno = unix.Errno(-k.event.result)
	}
	if errno != 0 {
		return fmt.Errorf("fdatasync %s: %w", f.Name(), errno)
	}
	return nil
}
