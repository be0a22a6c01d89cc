package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
)

// crash leaves dir as a killed process does: what was synced is there, the end is not signed, nothing is closed.
func crash(tb testing.TB, dir string, records func(l *audit.Log)) {
	tb.Helper()
	crashWith(tb, dir, 0, records)
}

// crashWith is crash with files of at most maxSize bytes.
func crashWith(tb testing.TB, dir string, maxSize int64, records func(l *audit.Log)) {
	tb.Helper()
	elsewhere := filepath.Join(tb.TempDir(), "log")
	c := files(elsewhere)
	c.Sinks[0].File.MaxSize = maxSize
	l := open(tb, c)
	records(l)
	attempt := filepath.Join(tb.TempDir(), "copy")
	err := os.CopyFS(attempt, os.DirFS(elsewhere))
	for errors.Is(err, fs.ErrNotExist) { // a file was compressed in this moment
		if err = os.RemoveAll(attempt); err == nil {
			err = os.CopyFS(attempt, os.DirFS(elsewhere))
		}
	}
	if err := errors.Join(err, os.CopyFS(dir, os.DirFS(attempt))); err != nil {
		tb.Fatal(err)
	}
}

// reopened opens and closes the log in dir, wants it whole, and returns its notes.
func reopened(tb testing.TB, dir string) string {
	tb.Helper()
	closeLog(tb, open(tb, files(dir)))
	return strings.Join(intact(tb, dir).Notes, "\n")
}

func only(tb testing.TB, paths []string) string {
	tb.Helper()
	if len(paths) != 1 {
		tb.Fatalf("files %q, want one", paths)
	}
	return paths[0]
}

func TestATornLastLineIsSetAside(t *testing.T) {
	for name, torn := range map[string]string{
		"half a line":              `{"v":1,"time":"2026-01-02T12:00:0`,
		"a line but its newline":   `{"v":1,"time":"2026-01-02T12:00:00.000000Z","phase":"outcome","seq":9,"prev":"00"}`,
		"zeros":                    strings.Repeat("\x00", 5000),
		"zeros and a newline":      "\x00\x00\n",
		"several lines of rubbish": "a\nb\nc",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			crash(t, dir, func(l *audit.Log) { intent(t, l) })
			path := only(t, logFiles(t, dir))
			sound := slices.Concat(splitFile(t, path)...)
			joinFile(t, path, [][]byte{sound, []byte(torn)})
			if notes := reopened(t, dir); !strings.Contains(notes, "torn_line") {
				t.Errorf("notes = %q, want the torn line", notes)
			}
			if aside, err := os.ReadFile(path + ".torn"); err != nil || string(aside) != torn {
				t.Errorf("set aside %q (%v), want %q", aside, err, torn)
			}
			if now := slices.Concat(splitFile(t, path)...); !bytes.HasPrefix(now, sound) {
				t.Error("sound lines were changed")
			}
		})
	}
}

func TestAFileWithoutALineIsRemoved(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "torn": `{"v":1,"ti`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			crash(t, dir, func(l *audit.Log) { intent(t, l) })
			next := filepath.Join(dir, "audit-000002-20991231T235959Z.jsonl")
			joinFile(t, next, [][]byte{[]byte(content)})
			notes := reopened(t, dir)
			if strings.Contains(notes, "torn_line") != (content != "") {
				t.Errorf("notes = %q", notes)
			}
			only(t, logFiles(t, dir))
		})
	}
}

func TestAnIntentWithoutOutcomeIsClosedAsUnknown(t *testing.T) {
	dir := t.TempDir()
	var lost audit.Record
	crash(t, dir, func(l *audit.Log) {
		done := intent(t, l)
		outcome(t, l, *done)
		lost = *intent(t, l)
	})
	if notes := reopened(t, dir); !strings.Contains(notes, "1 intents had no outcome") {
		t.Errorf("notes = %q", notes)
	}
	closed := unknowns(t, dir)
	if len(closed) != 1 || closed[0].ID != lost.ID || closed[0].Caller != lost.Caller || closed[0].Operation != lost.Operation {
		t.Errorf("closed %+v, want one like %+v", closed, lost)
	}
	if notes := reopened(t, dir); strings.Count(notes, "unclosed") != 1 {
		t.Errorf("the next start closed it again: %q", notes)
	}
}

func unknowns(tb testing.TB, dir string) []audit.Record {
	tb.Helper()
	var found []audit.Record
	for r, err := range audit.Search(tb.Context(), dir, audit.Filter{Phase: audit.Outcome}) {
		if err != nil {
			tb.Fatal(err)
		}
		if r.Outcome == audit.Unknown {
			found = append(found, r)
		}
	}
	return found
}

func TestAnIntentIsClosedThoughRotationCameBetween(t *testing.T) {
	dir := t.TempDir()
	var first, last *audit.Record
	crashWith(t, dir, 1, func(l *audit.Log) { // every batch begins a file
		first = intent(t, l)
		for range 3 {
			outcome(t, l, *intent(t, l))
		}
		last = intent(t, l) // with it all before is on disk
	})
	if n := len(logFiles(t, dir)); n < 4 {
		t.Fatalf("%d files, want the first intent several files back", n)
	}
	reopened(t, dir)
	closed := map[string]audit.Record{}
	for _, r := range unknowns(t, dir) {
		closed[r.ID] = r
	}
	if len(closed) != 2 || closed[first.ID].Caller != first.Caller || closed[last.ID].Caller != last.Caller {
		t.Errorf("closed %+v, want %s and %s in full", closed, first.ID, last.ID)
	}
}

func TestLinesCutOffBetweenStartsStayVisible(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	for range 5 {
		outcome(t, l, *intent(t, l))
	}
	closeLog(t, l)
	path := only(t, logFiles(t, dir))
	joinFile(t, path, splitFile(t, path)[:6])
	closeLog(t, open(t, files(dir)))
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
	if err != nil || reports[0].Fault == nil || reports[0].Fault.Kind != audit.Removed || reports[0].Fault.Line != 7 {
		t.Errorf("Verify after a restart = %v, %v, want line 7 removed", reports[0].Fault, err)
	}
	if onDisk(t, dir, `"event":"truncated"`) != 1 {
		t.Error("the start noted nothing")
	}
}

func TestAChainGoesOnOverStarts(t *testing.T) {
	dir := t.TempDir()
	for range 4 {
		l := open(t, files(dir))
		outcome(t, l, *intent(t, l))
		closeLog(t, l)
	}
	if report := intact(t, dir); report.Files != 1 || report.First != 1 || len(report.Notes) != 0 {
		t.Errorf("report = %+v, want one file from line 1 on and no notes", report)
	}
}

func TestANewKeyIsNotedAndBothVerify(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	intent(t, l)
	closeLog(t, l)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := files(dir)
	c.KeyFile = filepath.Join(t.TempDir(), "new.key")
	joinFile(t, c.KeyFile, [][]byte{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})})
	closeLog(t, open(t, c))
	if notes := strings.Join(intact(t, dir).Notes, "\n"); !strings.Contains(notes, "key_changed") {
		t.Errorf("notes = %q, want the change of key", notes)
	}
}

func TestADamagedLineInTheMiddleIsLeftForVerify(t *testing.T) {
	dir := t.TempDir()
	crash(t, dir, func(l *audit.Log) { intent(t, l); intent(t, l); intent(t, l) })
	path := only(t, logFiles(t, dir))
	l := splitFile(t, path)
	l[2] = []byte("rubbish\n")
	joinFile(t, path, l)
	closeLog(t, open(t, files(dir)))
	if now := splitFile(t, path); !bytes.Equal(now[2], []byte("rubbish\n")) || !bytes.Equal(now[3], l[3]) {
		t.Error("the start changed what lies before the end")
	}
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
	if err != nil || reports[0].Fault == nil || reports[0].Fault.Line != 3 {
		t.Errorf("Verify = %v, %v, want line 3", reports[0].Fault, err)
	}
}

// FuzzOpen: whatever lies at the end of a file, the log opens, records, and keeps every sound line.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("rubbish"), uint(0))
	f.Add([]byte("\x00\n{\"v\":1,\"time\":\""), uint(700))
	f.Add([]byte(`{"v":1,"time":"2026-01-02T12:00:00.000000Z","phase":"checkpoint","open":["a"],"file":7,"seq":9,"prev":"`+strings.Repeat("0", 64)+"\"}\n"), uint(3))
	sound := f.TempDir()
	crash(f, sound, func(l *audit.Log) { intent(f, l); intent(f, l) })
	f.Fuzz(func(t *testing.T, end []byte, cut uint) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
			t.Fatal(err)
		}
		path := only(t, logFiles(t, dir))
		data := slices.Concat(splitFile(t, path)...)
		data = data[:len(data)-int(cut%uint(len(data)))]
		joinFile(t, path, [][]byte{data, end})
		l := open(t, files(dir))
		intent(t, l)
		closeLog(t, l)
		now, err := os.ReadFile(path)
		if whole := data[:bytes.LastIndexByte(data, '\n')+1]; len(whole) > 0 && (err != nil || !bytes.HasPrefix(now, whole)) {
			t.Errorf("sound lines were lost (%v)", err)
		}
	})
}
