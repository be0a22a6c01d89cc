package audit_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
)

// threeFiles makes a chain of three files of some twenty lines each and returns their paths, none compressed.
func threeFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	c := files(dir)
	c.Sinks[0].File.MaxSize = 20 << 10
	l := open(tb, c)
	for range 55 {
		intent(tb, l) // each is a batch of its own
	}
	closeLog(tb, l)
	var plain []string
	for _, path := range logFiles(tb, dir) {
		plain = append(plain, unzip(tb, path))
	}
	if len(plain) != 3 {
		tb.Fatalf("%d files, want 3", len(plain))
	}
	return plain
}

// unzip undoes the keeper's compression, so that a test can tamper with lines.
func unzip(tb testing.TB, path string) string {
	tb.Helper()
	plain, zipped := strings.CutSuffix(path, ".gz")
	if !zipped {
		return path
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	in, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		tb.Fatal(err)
	}
	joinFile(tb, plain, [][]byte{data})
	if err := os.Remove(path); err != nil {
		tb.Fatal(err)
	}
	return plain
}

func splitFile(tb testing.TB, path string) [][]byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Collect(bytes.Lines(data))
}

func joinFile(tb testing.TB, path string, lines [][]byte) {
	tb.Helper()
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		tb.Fatal(err)
	}
}

var tailPattern = regexp.MustCompile(`"seq":\d+,"prev":"[0-9a-f]{64}"}\n$`)

// rechain gives every line from the i-th on the place it would have had: what an attacker does who knows the format.
func rechain(lines [][]byte, i int) [][]byte {
	for ; i < len(lines); i++ {
		seq, _ := audit.ParseTail(bytes.TrimSuffix(lines[i-1], []byte("\n")))
		prev := sha256.Sum256(bytes.TrimSuffix(lines[i-1], []byte("\n")))
		lines[i] = tailPattern.ReplaceAll(lines[i], fmt.Appendf(nil, `"seq":%d,"prev":"%s"}`+"\n", seq+1, hex.EncodeToString(prev[:])))
	}
	return lines
}

func TestVerifyNamesTheFirstTamperedLine(t *testing.T) {
	for _, c := range []struct {
		attack string
		file   int // which file is tampered with
		tamper func(l [][]byte) [][]byte
		kind   audit.FaultKind
		line   int // where Verify finds it: from 1, or, up to 0, from the line after the last backwards
	}{
		{"one word edited", 1, edit(7, "payments", "paymentz"), audit.Edited, 8},
		{"a decision edited", 1, edit(7, "true", "false"), audit.Edited, 8},
		{"a line edited to another length", 1, edit(7, `"team":"payments",`, ""), audit.Edited, 8},
		{"a newline in a line", 1, edit(7, "payments", "pay\nments"), audit.Edited, 8},
		{"blanks in a line", 1, edit(7, `,"seq":`, `, "seq":`), audit.Edited, 8},
		{"prev edited", 1, edit(7, `"prev":"`, `"prev":"0`), audit.Edited, 8},
		{"a digit of prev edited", 1, func(l [][]byte) [][]byte { l[7][len(l[7])-4] ^= 1; return l }, audit.Edited, 8},
		{"seq edited", 1, edit(7, `"seq":`, `"seq":1`), audit.Edited, 8},
		{"lines joined", 1, func(l [][]byte) [][]byte { l[7] = bytes.TrimSpace(l[7]); return l }, audit.Edited, 8},
		{"the opening line edited", 1, edit(0, `"file":2`, `"file":3`), audit.Forged, 1},
		{"the last line of a file edited", 0, func(l [][]byte) [][]byte { return edit(len(l)-1, "payments", "paymentz")(l) }, audit.Edited, -1},
		{"the rest rewritten and chained anew", 2, func(l [][]byte) [][]byte { return rechain(edit(7, "payments", "paymentz")(l), 8) }, audit.Forged, -1},
		{"one line removed", 1, func(l [][]byte) [][]byte { return slices.Delete(l, 7, 8) }, audit.Removed, 8},
		{"several lines removed", 1, func(l [][]byte) [][]byte { return slices.Delete(l, 3, 12) }, audit.Removed, 4},
		{"a copy of a line put in", 1, func(l [][]byte) [][]byte { return slices.Insert(l, 7, l[3]) }, audit.Inserted, 8},
		{"copies of lines put in", 1, func(l [][]byte) [][]byte { return slices.Insert(l, 7, l[3], l[4]) }, audit.Inserted, 8},
		{"free text put in", 1, func(l [][]byte) [][]byte { return slices.Insert(l, 7, []byte("nothing happened\n")) }, audit.Inserted, 8},
		{"an empty line put in", 1, func(l [][]byte) [][]byte { return slices.Insert(l, 7, []byte("\n")) }, audit.Inserted, 8},
		{"a well-chained line put in", 1, func(l [][]byte) [][]byte { return slices.Insert(l, 7, rechain([][]byte{l[6], l[3]}, 1)[1]) }, audit.Inserted, 8},
		{"a copy appended by hand", 2, func(l [][]byte) [][]byte { return append(l, l[3]) }, audit.Inserted, 0},
		{"neighbours swapped", 1, swap(7, 8), audit.Reordered, 8},
		{"distant lines swapped", 1, swap(7, 12), audit.Reordered, 8},
		{"a line moved up", 1, func(l [][]byte) [][]byte { return slices.Insert(slices.Delete(slices.Clone(l), 12, 13), 7, l[12]) }, audit.Reordered, 8},
		{"the end of a file cut off", 0, func(l [][]byte) [][]byte { return l[:15] }, audit.Truncated, 16},
		{"the end of the log cut off", 2, func(l [][]byte) [][]byte { return l[:len(l)-1] }, audit.Truncated, -1},
		{"the end of the log cut off and a little more", 2, func(l [][]byte) [][]byte { return l[:5] }, audit.Truncated, 6},
	} {
		t.Run(c.attack, func(t *testing.T) {
			dir := t.TempDir()
			paths := threeFiles(t, dir)
			intact(t, dir)
			lines := splitFile(t, paths[c.file])
			n := len(lines)
			joinFile(t, paths[c.file], c.tamper(lines))
			reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			fault := reports[0].Fault
			if fault == nil {
				t.Fatal("Verify found nothing")
			}
			line := c.line
			if line <= 0 {
				line += n + 1
			}
			if want := filepath.Base(paths[c.file]); fault.Kind != c.kind || fault.File != want || fault.Line != line {
				t.Errorf("Verify = %v, want %s:%d: %s", fault, want, line, c.kind)
			}
		})
	}
}

func edit(i int, old, new string) func([][]byte) [][]byte {
	return func(l [][]byte) [][]byte {
		if !bytes.Contains(l[i], []byte(old)) {
			panic(fmt.Sprintf("%s has no %s", l[i], old))
		}
		l[i] = bytes.Replace(l[i], []byte(old), []byte(new), 1)
		return l
	}
}

func swap(i, j int) func([][]byte) [][]byte {
	return func(l [][]byte) [][]byte { l[i], l[j] = l[j], l[i]; return l }
}

func TestVerifyMissesAFile(t *testing.T) {
	for remove, want := range []audit.FaultKind{audit.Removed, audit.Removed, audit.Truncated} {
		dir := t.TempDir()
		paths := threeFiles(t, dir)
		if err := os.Remove(paths[remove]); err != nil {
			t.Fatal(err)
		}
		reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil || reports[0].Fault == nil || reports[0].Fault.Kind != want {
			t.Errorf("without file %d: Verify = %v, %v, want %s", remove+1, reports[0].Fault, err, want)
		}
	}
}

func TestVerifyMissesAWholeChain(t *testing.T) {
	dir := t.TempDir()
	for _, path := range threeFiles(t, dir) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
	if err != nil || len(reports) != 1 || reports[0].Fault == nil || reports[0].Fault.Kind != audit.Removed {
		t.Errorf("Verify without any file = %+v, %v, want the chain removed", reports, err)
	}
}

func TestVerifyTrustsNoForeignKey(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	threeFiles(t, dir)
	threeFiles(t, other)
	keys, err := audit.ReadKeys(filepath.Join(other, "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Keys: keys})
	if err != nil || reports[0].Fault == nil || reports[0].Fault.Kind != audit.Forged || reports[0].Fault.Line != 1 {
		t.Errorf("Verify with another key = %v, %v, want the first line forged", reports[0].Fault, err)
	}
}

func TestVerifySaysWhatItCannotKnow(t *testing.T) {
	dir := t.TempDir()
	paths := threeFiles(t, dir)
	keys, err := audit.ReadKeys(filepath.Join(dir, "audit.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "audit.head")); err != nil {
		t.Fatal(err)
	}
	l := splitFile(t, paths[2])
	joinFile(t, paths[2], append(l[:8], l[8][:40])) // as after a crash
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Keys: keys})
	if err != nil || reports[0].Fault != nil {
		t.Fatalf("Verify = %v, %v, want no fault", reports[0].Fault, err)
	}
	warnings := strings.Join(reports[0].Warnings, "; ")
	for _, want := range []string{"audit.head", "last line is incomplete"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings = %s, want %s", warnings, want)
		}
	}
	if strings.Contains(warnings, "audit.pub") {
		t.Errorf("warnings = %s, though a key was named", warnings)
	}
}

func TestVerifyReadsCompressedFilesAndReportsProgress(t *testing.T) {
	dir := t.TempDir()
	paths := threeFiles(t, dir)
	for _, path := range paths[:2] {
		if err := audit.CompressAtOnce(path); err != nil {
			t.Fatal(err)
		}
	}
	var done, total int64
	reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Progress: func(d, n int64) {
		if d < done {
			t.Errorf("progress went back from %d to %d", done, d)
		}
		done, total = d, n
	}})
	if err != nil || reports[0].Fault != nil || reports[0].Files != 3 {
		t.Fatalf("Verify = %+v, %v", reports, err)
	}
	if done != total || total == 0 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	joinFile(t, paths[0]+".gz", [][]byte{[]byte("no gzip")})
	if _, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{}); err == nil {
		t.Error("a spoilt gzip file went unnoticed")
	}
}

// FuzzVerify: no change to a chain's bytes goes unnoticed, and none makes a reader panic.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	path := threeFiles(f, dir)[1]
	sound := bytes.Join(splitFile(f, path), nil)
	f.Add(uint(100), byte(1), uint(0), uint(0))
	f.Add(uint(3000), byte(0), uint(40), uint(0))
	f.Add(uint(3000), byte(0), uint(0), uint(900))
	f.Fuzz(func(t *testing.T, at uint, flip byte, cut, copied uint) {
		at %= uint(len(sound))
		data := bytes.Clone(sound)
		data[at] ^= flip
		data = slices.Delete(data, int(at), int(min(at+cut%4096, uint(len(data)))))
		data = slices.Insert(data, int(at), sound[:copied%uint(len(sound))]...)
		if bytes.Equal(data, sound) {
			return
		}
		joinFile(t, path, [][]byte{data})
		reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil || reports[0].Fault == nil {
			t.Errorf("a change at %d (flip %d, cut %d, copied %d) went unnoticed: %v", at, flip, cut%4096, copied, err)
		}
		for _, err := range audit.Search(t.Context(), dir, audit.Filter{Actor: "ada@corp.example"}) {
			if err != nil {
				t.Errorf("Search: %v", err)
			}
		}
	})
}
