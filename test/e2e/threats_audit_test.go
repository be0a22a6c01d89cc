package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"corp.example/gateway/test/harness"
)

// auditFiles are the log's files, the oldest first.
func auditFiles(t *testing.T, g *harness.Gateway) []string {
	t.Helper()
	files, err := filepath.Glob(g.Path("state/audit/*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no audit files: %v", err)
	}
	slices.Sort(files)
	return files
}

func auditText(t *testing.T, g *harness.Gateway) string {
	t.Helper()
	var text strings.Builder
	for _, file := range auditFiles(t, g) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	return text.String()
}

// TestAuditEvasionByTheHandOnTheFile: each change to what was recorded is found, though the one who made it can write the
// file.
func TestAuditEvasionByTheHandOnTheFile(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	for range 5 {
		g.Do(token, "POST", own+"/secrets", `[{"name":"A","value":"b"}]`)
	}
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	file := auditFiles(t, g)[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := g.Run("audit", "verify"); err != nil {
		t.Fatalf("an honest log: %v\n%s%s", err, stdout, stderr)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	middle := len(lines) / 2
	for name, forged := range map[string][]byte{
		"a line edited":    bytes.Replace(whole, []byte("payments-robot"), []byte("somebody-else1"), 1),
		"a line removed":   bytes.Join(slices.Delete(slices.Clone(lines), middle, middle+1), nil),
		"lines reordered":  bytes.Join(swapped(lines, middle), nil),
		"a line appended":  append(slices.Clone(whole), lines[middle]...),
		"a line put twice": bytes.Join(slices.Insert(slices.Clone(lines), middle, lines[middle]), nil),
		"the end cut off":  bytes.Join(lines[:middle], nil),
		"emptied":          {},
	} {
		if bytes.Equal(forged, whole) {
			t.Fatalf("%s: nothing was changed", name)
		}
		g.Write(filepath.Join("state/audit", filepath.Base(file)), string(forged))
		if stdout, stderr, err := g.Run("audit", "verify"); err == nil {
			t.Errorf("%s: not found: %s%s", name, stdout, stderr)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := g.Run("audit", "verify"); err == nil {
		t.Errorf("a file removed: not found: %s%s", stdout, stderr)
	}
	g.Write(filepath.Join("state/audit", filepath.Base(file)), string(whole)) // for the gateway's own end
}

func swapped(lines [][]byte, at int) [][]byte {
	out := slices.Clone(lines)
	out[at-1], out[at] = out[at], out[at-1]
	return out
}

// TestAuditEvasionByALogThatCannotRecord: what no required sink records does not happen.
func TestAuditEvasionByALogThatCannotRecord(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token, folder := g.Token("payments"), g.Path("state/audit")
	if a := g.Do(token, "POST", own+"/secrets", `[{"name":"A","value":"b"}]`); a.StatusCode/100 != 2 {
		t.Fatalf("a write was answered %d %s", a.StatusCode, a.Text)
	}
	if err := os.Rename(folder, folder+".gone"); err != nil { // deleted underneath, for all that the process can tell
		t.Fatal(err)
	}
	asked := len(g.Upstream.Requests())
	for range 3 {
		if a := g.Do(token, "POST", own+"/secrets", `[{"name":"B","value":"b"}]`); a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a write that nobody records was answered %d %s, want 503", a.StatusCode, a.Text)
		}
	}
	if n := len(g.Upstream.Requests()) - asked; n > 0 {
		t.Errorf("upstream was asked %d times for what nobody recorded", n)
	}
	if err := os.Rename(folder+".gone", folder); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log to record again", func() bool {
		return g.Do(token, "POST", own+"/secrets", `[{"name":"C","value":"b"}]`).StatusCode/100 == 2
	})
}

// TestAuditEvasionByInjection: text from outside stays inside the string that it is recorded as.
func TestAuditEvasionByInjection(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	token := g.Token("payments")
	before := len(g.AllAudit())
	forged := `"}` + "\t" + `{"time":"2020-01-01T00:00:00Z","caller":{"subject":"innocent"},"status":200,"x":"` + "\u2028\u202e\u0085\xff"
	a := send(t, g, "GET "+own+"/functions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+
		"\r\nUser-Agent: "+forged+"\r\nTraceparent: "+forged+"\r\nX-Client-Info: "+forged+"\r\n\r\n")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("answered %d %s", a.StatusCode, a.Text)
	}
	b := sendTarget(t, g, token, own+`/"},{"caller":{"subject":"innocent"}}`)
	g.Audit(a.Header.Get("X-Request-Id"))
	g.Audit(b.Header.Get("X-Request-Id"))
	for _, record := range g.AllAudit()[before:] {
		if record.Caller.Subject == "innocent" {
			t.Errorf("a record was forged: %+v", record)
		}
	}
	for line := range strings.Lines(auditText(t, g)) {
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\t\r\u2028\u202e\u0085") {
			t.Errorf("a control character is in the log as it came: %q", line)
		}
	}
	if err := g.Terminate(); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := g.Run("audit", "verify"); err != nil {
		t.Errorf("the log no longer verifies: %v\n%s%s", err, stdout, stderr)
	}
}
