package audit_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
)

// read is the record of a cached read as the proxy fills it.
func read() audit.Record {
	return audit.Record{
		RequestID: "0197a2b4c6d8e0f1a2b3c4d5e6f70819", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		Caller: audit.Caller{Kind: "token", Issuer: "corp", Subject: "00u1a2b3c4d5", Email: "ada@corp.example", Token: "tok_7f3a9c"},
		Team:   "payments", Client: audit.Client{IP: netip.MustParseAddr("10.20.30.40"), UserAgent: "supabase-cli/3.1.0 (linux; x64)"},
		Operation: "v1-get-project", Method: "GET", Path: "/v1/projects/abcdefghijklmnopqrst",
		Target:     audit.Target{Kind: "project", Project: "abcdefghijklmnopqrst", Organization: "acme"},
		Decision:   audit.Decision{Allow: true, Rule: "policy.yaml:14 teams[0].allow[1]", Reason: "payments may projects:read here"},
		Credential: "shared", Cache: "hit", Status: 200, Outcome: "ok", Bytes: 2048,
	}
}

// write is the record of a write before it goes upstream.
func write() audit.Record {
	r := read()
	r.Operation, r.Method, r.Cache, r.Status, r.Outcome, r.Bytes = "v1-update-a-project", "PATCH", "", 0, "", 0
	r.BodySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	return r
}

// someRead differs from its neighbours as requests do.
func someRead(i int) audit.Record {
	r := read()
	r.RequestID = fmt.Sprintf("request-%08d", i)
	r.Caller.Subject = fmt.Sprintf("subject-%03d", i%997)
	r.Caller.Email = fmt.Sprintf("person-%03d@corp.example", i%997)
	r.Team = []string{"payments", "search", "platform"}[i%3]
	r.Queue = time.Duration(i%5000) * time.Microsecond
	return r
}

// synced is a log with one required file sink in dir.
func synced(dir string) audit.Config {
	return audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}}
}

// files is the same without waiting for the disk, which most tests have no need of.
func files(dir string) audit.Config {
	return audit.WithSync(synced(dir), func(*os.File) error { return nil })
}

// open opens a log that is closed with the test.
func open(tb testing.TB, c audit.Config) *audit.Log {
	tb.Helper()
	l, err := audit.Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() }) // those who care have closed it themselves
	return l
}

func closeLog(tb testing.TB, l *audit.Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

// logFiles are the files of all chains in dir, oldest first.
func logFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl*"))
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(paths, func(p string) bool { return filepath.Ext(p) == ".torn" })
}

// onDisk counts the lines in dir's plain files that contain text.
func onDisk(tb testing.TB, dir, text string) int {
	tb.Helper()
	n := 0
	for _, path := range logFiles(tb, dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			if bytes.Contains(line, []byte(text)) {
				n++
			}
		}
	}
	return n
}

// intact verifies dir and fails the test at a fault.
func intact(tb testing.TB, dir string) audit.Report {
	tb.Helper()
	reports, err := audit.Verify(tb.Context(), dir, audit.VerifyOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	if len(reports) != 1 {
		tb.Fatalf("Verify found %d chains, want 1", len(reports))
	}
	if f := reports[0].Fault; f != nil {
		tb.Fatalf("Verify: %v", f)
	}
	return reports[0]
}
