package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"corp.example/gateway/internal/audit"
)

// auditLog makes a log with a read by ada, a denied call by eve with an ugly name, and a write.
func auditLog(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "audit")
	l, err := audit.Open(audit.Config{Sinks: []audit.Sink{{File: &audit.FileConfig{Dir: dir}, Required: true}}})
	if err != nil {
		t.Fatal(err)
	}
	ada := audit.Record{Caller: audit.Caller{Email: "ada@corp.example"}, Team: "payments", Operation: "v1-get-project", Status: 200, Decision: audit.Decision{Allow: true}}
	eve := audit.Record{Caller: audit.Caller{Subject: "eve\x1b[2J\u202e"}, Operation: "v1-delete-a-project", Status: 403, Decision: audit.Decision{Reason: "no grant"}}
	written := audit.Record{Caller: ada.Caller, Operation: "v1-create-a-project", Decision: audit.Decision{Allow: true}}
	if err := errors.Join(l.Outcome(t.Context(), &ada), l.Outcome(t.Context(), &eve), l.Intent(t.Context(), &written), l.Outcome(t.Context(), &written), l.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func auditRun(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	beside := func(path string) string { return filepath.Join(filepath.Dir(path), "audit") }
	command := auditCommand(auditPlaces{
		dir: func(path string) (string, error) { return beside(path), nil },
		source: func(path, _ string) (auditSource, func() error, error) {
			return audit.Dir(beside(path)), func() error { return nil }, nil
		},
	})
	command.SetArgs(args)
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceErrors, command.SilenceUsage = true, true
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

func TestAuditSearch(t *testing.T) {
	dir := auditLog(t)
	for _, c := range []struct {
		args []string
		want string // words of the rows, first to last; the header is not counted
	}{
		{nil, "v1-get-project v1-delete-a-project v1-create-a-project"},
		{[]string{"--decision", "deny"}, "v1-delete-a-project"},
		{[]string{"--actor", "ada@corp.example", "--phase", "all"}, "v1-get-project v1-create-a-project v1-create-a-project"},
		{[]string{"--since", "1h", "--last", "1"}, "v1-create-a-project"},
		{[]string{"--until", "1d"}, ""},
		{[]string{"--since", "2020-01-01T00:00:00Z", "--status", "403"}, "v1-delete-a-project"},
	} {
		out, err := auditRun(t, append([]string{"search", dir}, c.args...)...)
		if err != nil {
			t.Errorf("search %q: %v", c.args, err)
		}
		var got []string
		for word := range strings.FieldsSeq(out) {
			if strings.HasPrefix(word, "v1-") {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("search %q printed\n%swant %s", c.args, out, c.want)
		}
		if strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("search %q lets a caller's name reach the terminal: %q", c.args, out)
		}
	}
}

func TestAuditSearchSaysThatNothingMatches(t *testing.T) {
	out, err := auditRun(t, "search", auditLog(t), "--actor", "nobody")
	if err != nil || out != "no record matches\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestColumnsStayInLineBehindLongCells(t *testing.T) {
	var out bytes.Buffer
	rows := table{out: &out, widths: [5]int{23, 5, 4, 9, 6}}
	byToken := audit.Record{Caller: audit.Caller{Email: "ada@corp.example", Token: "89960bb8d8b704325c16"}, Team: "payments", Operation: "v1-get-project", Queue: 20 * time.Microsecond,
		Status: 200, Decision: audit.Decision{Allow: true}, Upstream: audit.Upstream{Status: 200, Duration: 279 * time.Microsecond}}
	bySession := audit.Record{Caller: audit.Caller{Email: "é@corp.example"}, Team: "web", Operation: "v1-get-project", Status: 200, Decision: audit.Decision{Allow: true}}
	for _, r := range []audit.Record{byToken, bySession} {
		if err := rows.print(&r); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(out.String(), "\n")
	column := func(line, word string) int { return utf8.RuneCountInString(line[:strings.Index(line, word)]) }
	want := column(lines[0], "RESULT")
	if got := []int{column(lines[1], "200, ok, upstream 200 in 300µs"), column(lines[2], "200, ok")}; got[0] != want || got[1] != want {
		t.Errorf("RESULT begins at %d, its cells at %d:\n%s", want, got, &out)
	}
}

func TestVerifyCountsInWords(t *testing.T) {
	for want, report := range map[string]audit.Report{
		"chain a: 1 line in 1 file, 1 checkpoint\n  whole: lines 1 to 1, ": {Chain: "a", Lines: 1, Files: 1, Checkpoints: 1, First: 1, Last: 1, Signed: 1},
		"signed to the end\n": {Last: 7, Signed: 7},
		"signed up to line 6; what follows, 1 line, is chained only\n": {Last: 7, Signed: 6},
		"3 lines in 2 files, 2 checkpoints\n":                          {Lines: 3, Files: 2, Checkpoints: 2},
	} {
		var out bytes.Buffer
		if printReport(&out, &report); !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%swant %q", &out, want)
		}
	}
}

func TestAuditSearchPrintsLinesAsTheyStand(t *testing.T) {
	dir := auditLog(t)
	out, err := auditRun(t, "search", "--config", filepath.Join(filepath.Dir(dir), "gateway.yaml"), "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(out) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Seq == 0 {
			t.Errorf("printed %s (%v)", line, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d lines, want 3", n)
	}
}

func TestAuditTailShowsTheLast(t *testing.T) {
	out, err := auditRun(t, "tail", auditLog(t), "-n", "1")
	if err != nil || strings.Count(out, "v1-") != 1 || !strings.Contains(out, "v1-create-a-project") {
		t.Errorf("tail -n 1 printed\n%s%v", out, err)
	}
}

func TestAuditVerify(t *testing.T) {
	dir := auditLog(t)
	out, err := auditRun(t, "verify", dir)
	if err != nil || !strings.Contains(out, "chain audit:") || !strings.Contains(out, "whole") || !strings.Contains(out, "warning: the key was taken from") {
		t.Errorf("verify printed\n%s%v", out, err)
	}
	if out, err := auditRun(t, "verify", dir, "--key", filepath.Join(dir, "audit.pub")); err != nil || strings.Contains(out, "warning") {
		t.Errorf("verify with a key printed\n%s%v", out, err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[0], bytes.Replace(data, []byte("payments"), []byte("paymentz"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = auditRun(t, "verify", dir)
	if err == nil || !strings.Contains(out, "FAULT "+filepath.Base(paths[0])+":2: edited") {
		t.Errorf("verify of an edited log printed\n%s%v", out, err)
	}
}

func TestAuditArgumentsAreChecked(t *testing.T) {
	dir := auditLog(t)
	for _, args := range [][]string{
		{"search"},
		{"search", dir, "--config", "gateway.yaml"},
		{"search", dir, "--since", "yesterday"},
		{"search", dir, "--decision", "maybe"},
		{"search", dir, "--phase", "checkpoint"},
		{"search", dir, "--format", "xml"},
		{"search", dir, "--source", "paper"},
		{"search", dir, "--source", "redis"},
		{"tail", filepath.Join(dir, "absent")},
		{"verify", filepath.Join(dir, "absent")},
		{"verify", dir, "--chain", "other"},
		{"verify", dir, "--key", filepath.Join(dir, "absent")},
	} {
		if out, err := auditRun(t, args...); err == nil {
			t.Errorf("audit %q printed %q, want an error", args, out)
		}
	}
}
