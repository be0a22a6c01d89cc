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

// followMemory has the Go runtime keep below the memory limit of the container (the control group), also when that is
// changed under the running process, until ctx ends. GOMEMLIMIT in the environment wins. The processors need nothing of
// the kind: the runtime sets GOMAXPROCS by itself. Meanwhile there is a floor under the heap.
func followMemory(ctx context.Context, log *slog.Logger) {
	var before int64
	var floor []byte
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
		floor = raise(floor, debug.SetMemoryLimit(-1)) // which only reads it
	})
	runtime.KeepAlive(floor)
}

// heapFloor is memory that the collector counts and nobody uses. It runs when the heap has doubled: without the floor, for a
// busy gateway with little in its cache, dozens of times a second. The pages are never touched, so what it costs is that as
// many bytes of garbage may lie around.
const heapFloor = 32 << 20

// roomy is the least memory limit under which there is a floor: where memory is scarce it is better spent.
const roomy = 512 << 20

// raise returns the floor that the heap is to have under a memory limit, given the one it has.
func raise(floor []byte, limit int64) []byte {
	switch {
	case limit < roomy:
		return nil
	case floor == nil:
		return make([]byte, heapFloor)
	}
	return floor
}
