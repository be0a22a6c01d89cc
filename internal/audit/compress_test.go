package audit_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// keeping is a keeper in simulated time, of files numbered from one.
type keeping struct {
	*testing.T
	audit.Keeper
	dir string
	log *slog.Logger
}

const (
	parts    = 16 // of each file, with a pause after each
	longest  = 400 * time.Millisecond
	shortest = 50 * time.Millisecond
)

// keep runs a test with so many files.
func keep(t *testing.T, files int, test func(k *keeping)) {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, plain(i+1)), bytes.Repeat([]byte("a line\n"), parts*128<<10/7+1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var warnings bytes.Buffer
		log := slog.New(slog.NewTextHandler(&warnings, nil))
		k := &keeping{t, audit.NewKeeper(dir, "audit", log), dir, log}
		test(k)
		if k.Close(); warnings.Len() > 0 {
			t.Errorf("the keeper has something to say, and nothing is wrong:\n%s", &warnings)
		}
	})
}

func plain(number int) string { return fmt.Sprintf("audit-%06d-20261123T000000Z.jsonl", number) }

// tidy has the keeper remove files and compress those before the current one, and lets it work until it pauses.
func (k *keeping) tidy(current uint64, remove ...uint64) {
	k.Helper()
	if err := k.Tidy(current, remove...); err != nil {
		k.Fatal(err)
	}
	synctest.Wait()
}

// has tells whether the folder holds these files and no others.
func (k *keeping) has(names ...string) bool {
	k.Helper()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		k.Fatal(err)
	}
	return slices.EqualFunc(entries, names, func(e os.DirEntry, name string) bool { return e.Name() == name })
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Compression hurries no more than the files that wait ask for, and never so that requests would feel it.
func TestCompressionLeavesTheCoresToRequests(t *testing.T) {
	for waiting, pause := range map[int]time.Duration{1: longest, 2: longest / 2, 8: shortest, 20: shortest} {
		keep(t, waiting+1, func(k *keeping) {
			k.tidy(uint64(waiting) + 1)
			done := func() bool { _, err := os.Stat(filepath.Join(k.dir, plain(1)+".gz")); return err == nil }
			if wait(parts*pause - time.Millisecond); done() {
				t.Errorf("%d files wait: one of %d parts took less than %v a part", waiting, parts, pause)
			}
			if wait(2 * time.Millisecond); !done() {
				t.Errorf("%d files wait: one of %d parts took more than %v a part", waiting, parts, pause)
			}
		})
	}
}

func TestCompressionHurriesOnceMoreFilesWait(t *testing.T) {
	keep(t, 9, func(k *keeping) {
		k.tidy(2)
		k.tidy(9)
		wait(longest + parts*shortest)
		if _, err := os.Stat(filepath.Join(k.dir, plain(1)+".gz")); err != nil {
			t.Errorf("with seven more files behind it the first is still not compressed: %v", err)
		}
	})
}

// What is recorded faster than it could be compressed waits for a quieter time, which begins once the newest complete file is
// older than its compression takes at best.
func TestCompressionDoesNotHurryWhileItIsOutrun(t *testing.T) {
	keep(t, 9, func(k *keeping) {
		justNow := fmt.Sprintf("audit-%06d-%s.jsonl", 8, time.Now().UTC().Format("20060102T150405Z"))
		if err := os.Rename(filepath.Join(k.dir, plain(8)), filepath.Join(k.dir, justNow)); err != nil {
			k.Fatal(err)
		}
		k.tidy(9)
		done := func() bool { _, err := os.Stat(filepath.Join(k.dir, plain(1)+".gz")); return err == nil }
		const unhurried = parts * shortest / longest // pauses that have begun by then
		const took = unhurried*longest + (parts-unhurried)*shortest
		if wait(took - time.Millisecond); done() {
			t.Errorf("the first of eight files, outrun by the eighth, took less than %v", took)
		}
		if wait(2 * time.Millisecond); !done() {
			t.Errorf("the first of eight files took more than %v, though it was outrun no longer", took)
		}
	})
}

// The cap on all files must not wait for a compression, which takes minutes.
func TestARetiredFileGoesWhileAnotherIsCompressed(t *testing.T) {
	keep(t, 3, func(k *keeping) {
		k.tidy(3)
		if k.tidy(3, 2); !k.has("audit-000001-20261123T000000Z.gz.tmp", plain(1), plain(3)) {
			t.Error("the second file was not removed while the first is compressed")
		}
	})
}

func TestAFileRetiredWhileItIsCompressedIsGone(t *testing.T) {
	keep(t, 3, func(k *keeping) {
		k.tidy(3)
		if k.tidy(3, 1); !k.has("audit-000002-20261123T000000Z.gz.tmp", plain(2), plain(3)) {
			t.Error("the first file, or a part of it compressed, is still there")
		}
		if wait(time.Minute); !k.has(plain(2)+".gz", plain(3)) {
			t.Error("a minute later the folder has other files than the second, compressed, and the current one")
		}
	})
}

func TestCompressionEndsWithTheLog(t *testing.T) {
	keep(t, 3, func(k *keeping) {
		k.tidy(3)
		began := time.Now()
		k.Close()
		if took := time.Since(began); took > 0 || !k.has(plain(1), plain(2), plain(3)) {
			t.Errorf("closing took %v, and the files are not as they were", took)
		}
		k.Keeper = audit.NewKeeper(k.dir, "audit", k.log) // which the end of the test closes
	})
}
