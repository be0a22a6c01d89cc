package audit_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

func TestAFileTamperedWithWhileItIsWrittenIsNoticed(t *testing.T) {
	rename := func(path string) error { return os.Rename(path, path+".away") }
	for _, c := range []struct {
		what   string
		tamper func(path string) error
		note   string
		fault  audit.FaultKind // what verify then says; "": nothing was lost
	}{
		{"removed", os.Remove, "vanished", audit.Removed},
		{"renamed", rename, "vanished", audit.Removed},
		{"replaced", func(path string) error {
			return errors.Join(rename(path), os.WriteFile(path, nil, 0o600))
		}, "vanished", audit.Truncated},
		{"truncated", func(path string) error { return os.Truncate(path, 700) }, "altered", audit.Torn},
		{"appended to by hand", func(path string) error { return appendTo(path, "{\"v\":1}\n") }, "altered", audit.Edited},
		{"touched", func(path string) error { return os.Chtimes(path, time.Time{}, time.Now()) }, "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, files(dir))
			intent(t, l)
			if err := c.tamper(only(t, logFiles(t, dir))); err != nil {
				t.Fatal(err)
			}
			intent(t, l) // goes on in a new file at once
			closeLog(t, l)
			reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			fault := reports[0].Fault
			if (fault == nil) != (c.fault == "") {
				t.Errorf("Verify = %v, want %s", fault, c.fault)
			}
			if c.note != "" && onDisk(t, dir, `"event":"`+c.note+`"`) != 1 {
				t.Errorf("no note %q in the log", c.note)
			}
		})
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func TestADirectoryThatIsGoneStopsWritesUntilItIsBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := open(t, files(dir))
	intent(t, l)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	r := write()
	refused(t, "Intent", l.Intent(t.Context(), &r))
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := recovers(l, dir); err != nil {
		t.Error(err)
	}
}

func TestAFailedWriteLeavesNoLineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var fail atomic.Bool
		l := open(t, audit.WithSync(files(dir), func(*os.File) error {
			if fail.Load() {
				return errors.New("input/output error")
			}
			return nil
		}))
		intent(t, l)
		fail.Store(true)
		r := write()
		refused(t, "Intent", l.Intent(t.Context(), &r))
		if n := onDisk(t, dir, r.ID); n != 0 {
			t.Errorf("%d lines of the refused intent, want 0 until the disk can be trusted", n)
		}
		fail.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		closeLog(t, l)
		intact(t, dir)
		if n := onDisk(t, dir, r.ID); n != 1 {
			t.Errorf("%d lines of the intent after recovery, want 1", n)
		}
	})
}

func TestFilesChangeByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := files(dir)
		c.Sinks[0].File.MaxAge = time.Hour
		l := open(t, c)
		outcome(t, l, read())
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := len(logFiles(t, dir)); n != 1 {
			t.Errorf("%d files before the hour, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := logFiles(t, dir); len(got) != 2 || !strings.HasSuffix(got[0], ".jsonl.gz") {
			t.Errorf("files after the hour = %q, want a compressed and a new one", got)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(logFiles(t, dir)); n != 2 {
			t.Errorf("%d files after a day without a call, want 2", n)
		}
		closeLog(t, l)
		intact(t, dir)
	})
}

func TestFilesChangeBySize(t *testing.T) {
	dir := t.TempDir()
	c := files(dir)
	c.Sinks[0].File.MaxSize = 10_000
	l := open(t, c)
	for range 50 {
		outcome(t, l, *intent(t, l))
	}
	closeLog(t, l)
	for _, path := range logFiles(t, dir) {
		if info, err := os.Stat(unzip(t, path)); err != nil || info.Size() > 10_000 {
			t.Errorf("%s has %d bytes (%v), want at most 10000", path, info.Size(), err)
		}
	}
	intact(t, dir)
}

func TestRetentionRemovesOldFilesAndVerifyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := files(dir)
		c.Sinks[0].File.MaxAge, c.Sinks[0].File.Keep = 24*time.Hour, 7*24*time.Hour
		l := open(t, c)
		for range 30 {
			outcome(t, l, read())
			time.Sleep(24 * time.Hour)
		}
		synctest.Wait()
		if n := len(logFiles(t, dir)); n < 7 || n > 9 {
			t.Errorf("%d files of a day each, want about the 7 of the week", n)
		}
		time.Sleep(30 * 24 * time.Hour) // nobody calls
		synctest.Wait()
		if n := onDisk(t, dir, `"cache"`); n != 0 || len(logFiles(t, dir)) > 3 {
			t.Errorf("after a quiet month %d records in %d files, want none", n, len(logFiles(t, dir)))
		}
		closeLog(t, l)
		if report := intact(t, dir); report.First == 1 {
			t.Errorf("report = %+v, want a chain that begins later", report)
		}
		closeLog(t, open(t, c))
		intact(t, dir)
	})
}

func TestTheCapOnAllFilesSparesTheCurrent(t *testing.T) {
	dir := t.TempDir()
	c := files(dir)
	c.Sinks[0].File.MaxSize, c.Sinks[0].File.MaxTotal = 20_000, 60_000
	l := open(t, c)
	for range 300 {
		intent(t, l)
	}
	last := *intent(t, l)
	closeLog(t, l)
	total := int64(0)
	for _, path := range logFiles(t, dir) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 60_000+2*20_000 {
		t.Errorf("%d bytes in all, want about 60000", total)
	}
	if onDisk(t, dir, last.ID) == 0 {
		t.Error("the newest line was removed")
	}
	intact(t, dir)
}

func TestRetentionHidesNoFileThatSomebodyElseRemoved(t *testing.T) {
	dir := t.TempDir()
	c := files(dir)
	c.Sinks[0].File.MaxSize, c.Sinks[0].File.MaxTotal = 10_000, 1<<30
	l := open(t, c)
	for range 60 {
		intent(t, l)
	}
	closeLog(t, l)
	paths := logFiles(t, dir)
	if err := os.Remove(paths[1]); err != nil { // neither the oldest nor the newest
		t.Fatal(err)
	}
	c.Sinks[0].File.MaxTotal, c.Sinks[0].File.MaxSize = 1, 1<<20 // everything goes but the current file
	l = open(t, c)
	intent(t, l)
	closeLog(t, l)
	if report := intact(t, dir); !strings.Contains(strings.Join(report.Notes, "\n"), "files 2 to 2") {
		t.Errorf("notes = %q, want the gap", report.Notes)
	}
}

func TestOldestFilesRemovedByHandAreMissed(t *testing.T) {
	dir := t.TempDir()
	c := files(dir)
	c.Sinks[0].File.MaxSize, c.Sinks[0].File.MaxTotal = 10_000, 60_000
	l := open(t, c)
	for range 100 {
		intent(t, l)
	}
	closeLog(t, l)
	intact(t, dir)
	if err := os.Remove(logFiles(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
	if err != nil || reports[0].Fault == nil || reports[0].Fault.Kind != audit.Removed {
		t.Errorf("Verify = %v, %v, want the removal of what retention has kept", reports[0].Fault, err)
	}
}

// While a file that is about to begin may still be given up, the one before it looks complete.
func TestTheFileBeingWrittenIsNotCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		failed := false
		c := audit.WithSync(files(dir), func(f *os.File) error {
			if failed || !strings.Contains(f.Name(), "audit-000004-") {
				return nil
			}
			failed = true
			time.Sleep(time.Second) // the first file is compressed by now, and the next are looked for
			return errors.New("input/output error")
		})
		c.Sinks[0].File.MaxSize = 200_000 // compressed with a pause, in which the files after it begin
		l := open(t, c)
		for range 4 {
			for range 300 {
				outcome(t, l, read())
			}
			intent(t, l)
		}
		closeLog(t, l)
		if n := onDisk(t, dir, `"event":"vanished"`); n > 0 || !failed {
			t.Errorf("%d notes of a file that vanished", n)
		}
		intact(t, dir)
	})
}
