package config

import (
	"context"
	"os"
	"time"
)

// WatchFile calls changed whenever the file at path is another one than before, or its size or time changed, and for
// every value from now, until ctx ends. It looks instead of waiting for events: a mounted ConfigMap changes by swapping
// symlinks, which event watchers miss.
func WatchFile(ctx context.Context, path string, every time.Duration, now <-chan os.Signal, changed func()) {
	before, _ := os.Stat(path)
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
			if err != nil || before != nil && os.SameFile(before, info) && before.Size() == info.Size() && before.ModTime().Equal(info.ModTime()) {
				continue
			}
			before = info
			changed()
		}
	}
}
