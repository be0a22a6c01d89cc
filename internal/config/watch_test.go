package config_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/config"
)

func TestWatchFileSeesEveryChangeOnce(t *testing.T) {
	dir := t.TempDir()
	path, folder := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "..data")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string, modified time.Time) {
		t.Helper()
		must(os.WriteFile(path, []byte(text), 0o600))
		must(os.Chtimes(path, modified, modified))
	}
	written := time.Unix(1_700_000_000, 0)
	write(path, "one", written)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		now := make(chan os.Signal, 1)
		var changes atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			config.WatchFile(ctx, path, time.Second, now, func() { changes.Add(1) })
		}()
		synctest.Wait()
		for _, step := range []struct {
			name string
			do   func()
			want int64
		}{
			{"nothing", func() {}, 0},
			{"a write of another size", func() { write(path, "three", written) }, 1},
			{"a write of the same size, later", func() { write(path, "seven", written.Add(time.Second)) }, 1},
			{"a file that takes two looks to write", func() {
				write(path, "ha", written)
				time.Sleep(time.Second)
				write(path, "half and half", written)
			}, 1},
			{"a signal", func() { now <- os.Interrupt }, 1},
			{"a signal after a write, which it takes up", func() { write(path, "eleven", written); now <- os.Interrupt; synctest.Wait() }, 1},
			{"another file in its place, of the same size and time", func() {
				write(folder, "twelve", written)
				must(os.Rename(folder, path))
			}, 1},
			{"it is gone", func() { must(os.Remove(path)) }, 0},
			{"it is back", func() { write(path, "again", written) }, 1},
		} {
			before := changes.Load()
			step.do()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if got := changes.Load() - before; got != step.want {
				t.Errorf("%s: seen %d times, want %d", step.name, got, step.want)
			}
		}
		stop()
		<-ended
	})
}
