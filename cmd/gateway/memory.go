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

// followMemory has the Go runtime keep below the memory limit of the container (the control group), also when that is
// changed under the running process, until ctx ends. GOMEMLIMIT in the environment wins. The processors need nothing of
// the kind: the runtime sets GOMAXPROCS by itself.
func followMemory(ctx context.Context, log *slog.Logger) {
	var before int64
	var floor []byte
	defer func() { runtime.KeepAlive(floor) }()
	failed := false
	repeat(ctx, time.Minute, func() {
		limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
		if err != nil && !failed { // no reason not to serve: the heap then grows as the collector's own measure says
			log.Warn("the container's memory limit cannot be read: set GOMEMLIMIT", "error", err)
		}
		if err == nil && limit != before {
			before = limit
			if limit == math.MaxInt64 {
				log.Info("no memory limit")
			} else {
				log.Info("memory limit", "bytes", limit)
			}
		}
		failed = err != nil
		if n := min(heapFloor, debug.SetMemoryLimit(-1)/16); n != int64(len(floor)) {
			floor = make([]byte, n)
		}
	})
}
