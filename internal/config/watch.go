package config

import (
	"context"
	"os"
	"time"
)

// WatchFile calls changed whenever the file at path is another one than before, or its size or time changed, and has stayed
// so from one look to the next: of one that is still being written, half would be read, and half a policy may be a valid one.
// It calls it at once for every value from now, until ctx ends. It looks instead of waiting for events: a mounted
// ConfigMap changes by swapping symlinks, which event watchers miss.
func WatchFile(ctx context.Context, path string, every time.Duration, now <-chan os.Signal, changed func()) {
	before, _ := os.Stat(path)
	seen := before
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-now:
			before, _ = os.Stat(path)
			changed()
		case <-tick.C:
			info, err := os.Stat(path)
			if err != nil || alike(before, info) {
				continue
			}
			settled := alike(seen, info)
			if seen = info; settled {
				before = info
				changed()
			}
		}
	}
}

// alike reports whether nothing tells one look at a file from the next; before is nil where there was none.
func alike(before, info os.FileInfo) bool {
	return before != nil && os.SameFile(before, info) && before.Size() == info.Size() && before.ModTime().Equal(info.ModTime())
}
