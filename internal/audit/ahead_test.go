package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// syncs notes what is synced, and fails what a test wants to fail.
type syncs struct {
	mu   sync.Mutex
	size map[string]int64 // of each file when it was last synced
	n    map[string]int   // by extension
	fail func(path string) error
}

func (s *syncs) sync(f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(f.Name()); err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.size[f.Name()] = info.Size()
	s.n[filepath.Ext(f.Name())]++
	return nil
}

// failing sets what fails from now on.
func (s *syncs) failing(fail func(path string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *syncs) count(ext string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[ext]
}

// aheadLog is a log whose second urgent batch makes a write-ahead file.
func aheadLog(dir string) (audit.Config, *syncs) {
	s := &syncs{size: map[string]int64{}, n: map[string]int{}}
	return audit.WithSync(audit.WithAhead(files(dir), 64<<10, 1), s.sync), s
}

// withoutPower leaves in a new directory what a power failure leaves of dir at the worst: of each segment what was synced.
func (s *syncs) withoutPower(t *testing.T, dir string) string {
	t.Helper()
	after := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, size := range s.size {
		if filepath.Ext(path) == ".jsonl" {
			if err := os.Truncate(filepath.Join(after, filepath.Base(path)), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	return after
}

func TestWhatIsWaitedForIsSyncedAheadOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, s := aheadLog(dir)
		l := open(t, c)
		path := filepath.Join(dir, "audit.ahead")
		intent(t, l)
		if _, err := os.Stat(path); err == nil {
			t.Error("the first write has made the file")
		}
		intent(t, l) // makes it
		segments, ahead := s.count(".jsonl"), s.count(".ahead")
		for range 3 {
			intent(t, l)
		}
		if n := s.count(".ahead") - ahead; n != 3 || s.count(".jsonl") != segments {
			t.Errorf("3 intents synced the write-ahead file %d times and the segment %d times, want 3 and 0", n, s.count(".jsonl")-segments)
		}
		outcome(t, l, read())
		time.Sleep(time.Second) // nobody waits for it
		synctest.Wait()
		if s.count(".ahead") != ahead+3 || s.count(".jsonl") != segments+1 {
			t.Error("a read's outcome is to sync the segment alone")
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != 64<<10 {
			t.Errorf("the file is %v (%v), want 64 KiB with mode 0600", info, err)
		}
		closeLog(t, l)
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is there after Close")
		}
	})
}

func TestAnOperatorsCommandMakesNoWriteAheadFile(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	for range 20 {
		outcome(t, l, *intent(t, l))
	}
	if _, err := os.Stat(filepath.Join(dir, "audit.ahead")); err == nil {
		t.Error("20 writes have made a write-ahead file")
	}
}

func TestWhatAPowerFailureTookIsPutBack(t *testing.T) {
	for _, c := range []struct {
		what    string
		segment func(sound []byte, synced int64) []byte // what is left of it
		aside   bool                                    // something is kept beside it
	}{
		{"a short end", func(b []byte, n int64) []byte { return b[:n] }, false},
		{"zeros", func(b []byte, n int64) []byte { clear(b[n:]); return b }, false},
		{"other lines, which were refused", func(b []byte, n int64) []byte { copy(b[n:], "{\"v\":1}\n"); return b }, true},
		{"a hole", func(b []byte, n int64) []byte { clear(b[n : n+1000]); return b }, true},
		{"nothing: the process was killed", func(b []byte, _ int64) []byte { return b }, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			config, s := aheadLog(dir)
			l := open(t, config)
			for range 6 {
				intent(t, l)
			}
			path := only(t, logFiles(t, dir))
			after := s.withoutPower(t, dir)
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			left := c.segment(bytes.Clone(sound), s.size[path])
			file := only(t, logFiles(t, after))
			if err := os.WriteFile(file, left, 0o600); err != nil {
				t.Fatal(err)
			}
			closed := errors.Join(os.RemoveAll(after+".twice"), os.CopyFS(after+".twice", os.DirFS(after)))
			if closed != nil {
				t.Fatal(closed)
			}
			killed := bytes.Equal(left, sound)
			reports, err := audit.Verify(t.Context(), after, audit.VerifyOptions{})
			if err != nil || strings.Contains(strings.Join(reports[0].Warnings, "\n"), "start the gateway once") == killed {
				t.Errorf("Verify warns %q (%v), want it to explain what a power failure took", reports[0].Warnings, err)
			}
			notes := reopened(t, after)
			if now, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(now, sound) {
				t.Error("the segment does not begin with what was recorded")
			}
			if strings.Contains(notes, "replayed") == killed {
				t.Errorf("notes %q", notes)
			}
			if _, err := os.Stat(file + ".torn"); (err == nil) != c.aside {
				t.Errorf("what stood there was kept: %v, want %v", err == nil, c.aside)
			}
			if again := reopened(t, after); again != notes {
				t.Errorf("the next start notes %q", again)
			}
		})
	}
}

func TestADamagedWriteAheadFileIsReadAsFarAsItIsWhole(t *testing.T) {
	const block = 4096 // one record of one line
	for _, c := range []struct {
		what   string
		damage func(b []byte) []byte
		whole  int // records
	}{
		{"none", func(b []byte) []byte { return b }, 4},
		{"the last record torn", func(b []byte) []byte { clear(b[3*block+500 : 4*block]); return b }, 3},
		{"a bit of the third changed", func(b []byte) []byte { b[2*block+100] ^= 1; return b }, 2},
		{"an impossible length", func(b []byte) []byte { copy(b[2*block+24:], "\xff\xff\xff\xff"); return b }, 2},
		{"cut within a record", func(b []byte) []byte { return b[:block+200] }, 1},
		{"zeros", func(b []byte) []byte { clear(b); return b }, 0},
		{"empty", func([]byte) []byte { return nil }, 0},
		{"a text", func([]byte) []byte { return []byte(strings.Repeat("not a record\n", 1000)) }, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			config, s := aheadLog(dir)
			l := open(t, config)
			intent(t, l)
			var ahead []*audit.Record
			for range 4 {
				ahead = append(ahead, intent(t, l))
			}
			after := s.withoutPower(t, dir)
			path := filepath.Join(after, "audit.ahead")
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, c.damage(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			reopened(t, after)
			for i, r := range ahead {
				if n := onDisk(t, after, `"phase":"intent","id":"`+r.ID); (n == 1) != (i < c.whole) {
					t.Errorf("record %d stands there %d times, want the first %d", i, n, c.whole)
				}
			}
		})
	}
}

func TestLinesWithoutAPlaceAreSetAside(t *testing.T) {
	for what, tamper := range map[string]func(path string) error{
		"the file was removed":          os.Remove,
		"it was cut before their place": func(path string) error { return os.Truncate(path, 300) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			config, s := aheadLog(dir)
			l := open(t, config)
			for range 6 {
				intent(t, l)
			}
			after := s.withoutPower(t, dir)
			held, err := os.ReadFile(filepath.Join(after, "audit.ahead"))
			if err != nil {
				t.Fatal(err)
			}
			if err := tamper(only(t, logFiles(t, after))); err != nil {
				t.Fatal(err)
			}
			reports, err := audit.Verify(t.Context(), after, audit.VerifyOptions{})
			if err != nil || reports[0].Fault == nil && what == "the file was removed" {
				t.Errorf("Verify = %+v, %v", reports, err)
			}
			closeLog(t, open(t, files(after)))
			if onDisk(t, after, `"event":"unplaced"`) != 1 {
				t.Error("no note of it")
			}
			if aside, err := os.ReadFile(filepath.Join(after, "audit.ahead.torn")); err != nil || !bytes.Equal(aside, held) {
				t.Errorf("the write-ahead file was not kept: %v", err)
			}
		})
	}
}

func TestTroubleWithTheWriteAheadFileRefusesNothing(t *testing.T) {
	for _, c := range []struct {
		what    string
		early   bool // before the file is made
		trouble func(path string, s *syncs) error
	}{
		{"it cannot be made", true, func(path string, _ *syncs) error { return os.WriteFile(path, nil, 0o600) }},
		{"it cannot be synced when it is made", true, func(path string, s *syncs) error { s.failing(failsAt(".ahead")); return nil }},
		{"it cannot be synced", false, func(path string, s *syncs) error { s.failing(failsAt(".ahead")); return nil }},
		{"it was removed", false, func(path string, _ *syncs) error { return os.Remove(path) }},
		{"it was replaced", false, func(path string, _ *syncs) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			config, s := aheadLog(dir)
			l := open(t, config)
			intent(t, l)
			path := filepath.Join(dir, "audit.ahead")
			if !c.early {
				intent(t, l)
			}
			if err := c.trouble(path, s); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				r := intent(t, l)
				if n := onDisk(t, s.withoutPower(t, dir), r.ID); n != 1 {
					t.Errorf("%d lines of the intent after a power failure, want 1", n)
				}
			}
			if st := l.Stats()[0]; st.Failed != 0 {
				t.Errorf("Stats = %+v, want no failure", st)
			}
			closeLog(t, l)
			intact(t, dir)
		})
	}
}

func failsAt(ext string) func(path string) error {
	return func(path string) error {
		if filepath.Ext(path) == ext {
			return errors.New("input/output error")
		}
		return nil
	}
}

// A refused batch may stand whole in the write-ahead file. It must not come back over what was recorded in its place.
func TestARefusedRecordDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, s := aheadLog(dir)
		c.Checkpoint = time.Nanosecond // each batch ends with one, which says when
		l := open(t, c)
		intent(t, l)
		intent(t, l)
		path := filepath.Join(dir, "audit.ahead")
		time.Sleep(time.Second)
		s.failing(func(string) error { return errors.New("input/output error") })
		r := write()
		refused(t, "Intent", l.Intent(t.Context(), &r))
		left, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s.failing(func(p string) error {
			if p != path {
				return nil
			}
			os.WriteFile(path, left, 0o600) // nothing of a write that failed has reached the disk
			return errors.New("input/output error")
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if err := l.Healthy(); err != nil {
			t.Fatal(err)
		}
		intent(t, l)
		if notes := reopened(t, s.withoutPower(t, dir)); strings.Contains(notes, "replayed") {
			t.Errorf("notes %q", notes)
		}
	})
}

// The end of a refused batch that was cut off must not stand in a complete file after a power failure.
func TestACutIsSyncedBeforeTheNextFileBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		_, s := aheadLog(dir)
		c := audit.WithSync(audit.WithAhead(files(dir), 64<<10, 1<<30), s.sync)
		c.Sinks[0].File.MaxAge = time.Hour
		l := open(t, c)
		intent(t, l)
		first := only(t, logFiles(t, dir))
		s.failing(func(path string) error {
			if path == first {
				return errors.New("input/output error")
			}
			return nil
		})
		r := write()
		refused(t, "Intent", l.Intent(t.Context(), &r))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		only(t, logFiles(t, dir))
		s.failing(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		intent(t, l)
		if n := len(logFiles(t, dir)); n != 2 {
			t.Errorf("%d files, want the next once the first can be synced", n)
		}
	})
}

func TestAFileThatIsTakenUpIsSynced(t *testing.T) {
	dir := t.TempDir()
	crash(t, dir, func(l *audit.Log) { outcome(t, l, *intent(t, l)); intent(t, l) })
	path := only(t, logFiles(t, dir))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	c, s := aheadLog(dir)
	first := int64(0)
	s.failing(func(p string) error {
		if info, err := os.Stat(p); first == 0 && err == nil {
			first = info.Size()
		}
		return nil
	})
	open(t, c)
	if first != info.Size() {
		t.Errorf("the first sync is of %d bytes, want one of the %d that the last process left: it may have synced less", first, info.Size())
	}
}

// On some network file systems the sync of a file that was removed fails for ever: nothing can be saved, and nobody waits.
func TestAFileThatIsGoneNeedNotBeSynced(t *testing.T) {
	dir := t.TempDir()
	c, s := aheadLog(dir)
	l := open(t, c)
	for range 3 {
		intent(t, l)
	}
	gone := only(t, logFiles(t, dir))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	s.failing(func(path string) error {
		if path == gone {
			return errors.New("stale file handle")
		}
		return nil
	})
	r := intent(t, l)
	if n := onDisk(t, dir, r.ID); n != 1 {
		t.Errorf("%d lines of the intent, want 1", n)
	}
	closeLog(t, l)
}
