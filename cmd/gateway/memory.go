package main

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is what the Go runtime may take of the container's memory. The rest is for what it does not count: the
// state's mapped file, the kernel's buffers, and a heap that grows faster than it is collected.
const memoryShare = 0.9

// heapFloor is memory that counts as live and is never touched, so it is never resident: the collector waits until as much
// garbage has come as seems to be live. Without it a gateway with a small cache is collected so often under load that it costs a
// forwarded read 5 % of its time; one with a large cache hardly notices it. Where memory is limited it is a sixteenth at most,
// since the limit counts it.
const heapFloor = 64 << 20

// memory is what the garbage collector goes by.
type memory struct {
	limit int64 // the container's, in bytes; math.MaxInt64: it has none; 0: it could not be read yet
	err   error // why it cannot be read now
	floor []byte
}

// adapt has the Go runtime keep below the memory limit of the container (the control group). GOMEMLIMIT in the environment
// wins. The processors need nothing of the kind: the runtime sets GOMAXPROCS by itself.
func (m *memory) adapt() {
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	if m.err = err; err == nil {
		m.limit = limit
	}
	if n := min(heapFloor, debug.SetMemoryLimit(-1)/16); n != int64(len(m.floor)) {
		m.floor = make([]byte, n)
	}
}

// follow adapts when the limit is changed under the running process, and logs what it is, until ctx ends.
func (m *memory) follow(ctx context.Context, log *slog.Logger) {
	var told int64
	failed := false
	repeat(ctx, time.Minute, func() {
		m.adapt()
		if m.err != nil && !failed { // no reason not to serve: the heap then grows as the collector's own measure says
			log.Warn("the container's memory limit cannot be read: set GOMEMLIMIT", "error", m.err)
		}
		if failed = m.err != nil; m.limit == told {
			return
		}
		if told = m.limit; told == math.MaxInt64 {
			log.Info("no memory limit")
		} else {
			log.Info("memory limit", "bytes", told)
		}
	})
	runtime.KeepAlive(m.floor)
}
