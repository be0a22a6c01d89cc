package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
)

// requests returns the request ids of what a filter finds, in order.
func requests(tb testing.TB, dir string, f audit.Filter) []string {
	tb.Helper()
	var ids []string
	for r, err := range audit.Search(tb.Context(), dir, f) {
		if err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, r.RequestID)
	}
	return ids
}

func TestSearchFindsByEveryField(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	add := func(id string, change func(r *audit.Record)) {
		r := read()
		r.RequestID = id
		change(&r)
		outcome(t, l, r)
	}
	add("plain", func(*audit.Record) {})
	add("eve", func(r *audit.Record) {
		r.Caller = audit.Caller{Kind: "person", Issuer: "corp", Subject: "eve-1", Email: "eve@corp.example"}
	})
	add("namesake", func(r *audit.Record) { r.Caller = audit.Caller{Kind: "person", Issuer: "github", Subject: "eve-1"} })
	add("token", func(r *audit.Record) { r.Caller.Token = "tok_other" })
	add("team", func(r *audit.Record) { r.Team = "search" })
	add("project", func(r *audit.Record) { r.Target.Project = "zyxwvutsrqponmlkjihg" })
	add("operation", func(r *audit.Record) { r.Operation = "v1-delete-a-project" })
	add("denied", func(r *audit.Record) { r.Decision.Allow, r.Status = false, 403 })
	add("quoting", func(r *audit.Record) { r.Caller.Email = "o\"brien\\\u202e@corp.example" })
	add("mention", func(r *audit.Record) { r.Decision.Reason = `eve@corp.example "team":"search"` })
	w := write()
	w.RequestID, w.ID = "write", "w1"
	if err := l.Intent(t.Context(), &w); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	for _, c := range []struct {
		name   string
		filter audit.Filter
		want   []string
	}{
		{"actor by e-mail", audit.Filter{Actor: "eve@corp.example"}, []string{"eve"}},
		{"actor by subject", audit.Filter{Actor: "eve-1"}, []string{"eve", "namesake"}},
		{"actor by token", audit.Filter{Actor: "tok_other"}, []string{"token"}},
		{"exactly this caller", audit.Filter{Issuer: "corp", Subject: "eve-1"}, []string{"eve"}},
		{"a caller without an issuer", audit.Filter{Subject: "eve-1"}, nil},
		{"team", audit.Filter{Team: "search"}, []string{"team"}},
		{"project", audit.Filter{Project: "zyxwvutsrqponmlkjihg"}, []string{"project"}},
		{"operation", audit.Filter{Operation: "v1-delete-a-project"}, []string{"operation"}},
		{"decision", audit.Filter{Decision: audit.DecisionDeny}, []string{"denied"}},
		{"status", audit.Filter{Status: 403}, []string{"denied"}},
		{"part of a status", audit.Filter{Status: 40}, nil},
		{"request", audit.Filter{Request: "plain"}, []string{"plain"}},
		{"id", audit.Filter{Request: "w1"}, []string{"write"}},
		{"phase", audit.Filter{Phase: audit.Intent}, []string{"write"}},
		{"quoted text", audit.Filter{Actor: "o\"brien\\\u202e@corp.example"}, []string{"quoting"}},
		{"two at once", audit.Filter{Team: "payments", Operation: "v1-delete-a-project"}, []string{"operation"}},
		{"nothing", audit.Filter{Team: "nobody"}, nil},
		{"a part of a name", audit.Filter{Team: "sear"}, nil},
		{"the last two", audit.Filter{Last: 2}, []string{"mention", "write"}},
		{"everything", audit.Filter{}, []string{"plain", "eve", "namesake", "token", "team", "project", "operation", "denied", "quoting", "mention", "write"}},
	} {
		if got := requests(t, dir, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

// day fills dir with a record an hour for four days, in files of a day, and returns when it began.
func day(t *testing.T, dir string) time.Time {
	t.Helper()
	began := time.Now()
	c := files(dir)
	c.Sinks[0].File.MaxAge = 24 * time.Hour
	l := open(t, c)
	for i := range 96 {
		r := read()
		r.RequestID = fmt.Sprint(i)
		outcome(t, l, r)
		time.Sleep(time.Hour)
	}
	closeLog(t, l)
	if n := len(logFiles(t, dir)); n < 4 {
		t.Fatalf("%d files, want one a day", n)
	}
	return began
}

func TestSearchByTimeReadsOnlyWhatOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		began := day(t, dir)
		for _, c := range []struct {
			since, until time.Duration
			first, last  string
			n            int
		}{
			{0, 24 * time.Hour, "0", "23", 24},
			{36 * time.Hour, 37 * time.Hour, "36", "36", 1},
			{95 * time.Hour, 1000 * time.Hour, "95", "95", 1},
			{23*time.Hour + 30*time.Minute, 50 * time.Hour, "24", "49", 26},
		} {
			got := requests(t, dir, audit.Filter{Since: began.Add(c.since), Until: began.Add(c.until)})
			if len(got) != c.n || got[0] != c.first || got[len(got)-1] != c.last {
				t.Errorf("%v to %v: found %q, want %d from %s to %s", c.since, c.until, got, c.n, c.first, c.last)
			}
		}
		// A file outside the range is not even opened: this one could not be read.
		joinFile(t, logFiles(t, dir)[0], [][]byte{[]byte("not gzip")})
		if got := requests(t, dir, audit.Filter{Since: began.Add(72 * time.Hour)}); len(got) != 24 {
			t.Errorf("found %q, want the last day", got)
		}
		if got := requests(t, dir, audit.Filter{Last: 3}); !slices.Equal(got, []string{"93", "94", "95"}) {
			t.Errorf("the last three are %q", got)
		}
	})
}

func TestSearchMergesReplicasByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var logs []*audit.Log
		for _, name := range []string{"gateway-0", "gateway-1", "gateway-2"} {
			c := files(dir)
			c.Name = name
			logs = append(logs, open(t, c))
		}
		var want []string
		for i := range 30 {
			r := read()
			r.RequestID = fmt.Sprint(i)
			want = append(want, r.RequestID)
			outcome(t, logs[i*7%3], r)
			time.Sleep(time.Millisecond)
		}
		for _, l := range logs {
			closeLog(t, l)
		}
		if got := requests(t, dir, audit.Filter{}); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		if got := requests(t, dir, audit.Filter{Last: 4}); !slices.Equal(got, want[26:]) {
			t.Errorf("the last four are %q", got)
		}
		if got := requests(t, dir, audit.Filter{Chain: "gateway-1"}); len(got) != 10 {
			t.Errorf("one chain holds %q, want 10", got)
		}
		reports, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
		if err != nil || len(reports) != 3 || reports[0].Fault != nil || reports[1].Fault != nil || reports[2].Fault != nil {
			t.Errorf("Verify = %+v, %v", reports, err)
		}
	})
}

func TestSearchShowsTheLineAsItStands(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	outcome(t, l, read())
	closeLog(t, l)
	for line, err := range audit.Lines(t.Context(), dir, audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := audit.ParseTail(line.Raw); !ok || onDisk(t, dir, string(line.Raw)) != 1 {
			t.Errorf("%s does not stand so in the file", line.Raw)
		}
	}
}

func TestSearchFaults(t *testing.T) {
	for name, f := range map[string]audit.Filter{
		"decision": {Decision: "maybe"}, "phase": {Phase: "checkpoint"}, "negative": {Last: -1},
		"backwards": {Since: noon.Add(time.Hour), Until: noon},
	} {
		err := error(nil)
		for _, err = range audit.Search(t.Context(), t.TempDir(), f) {
		}
		if err == nil {
			t.Errorf("%s: a faulty filter was accepted", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	fill(t, dir, 10)
	var err error
	for _, err = range audit.Search(ctx, dir, audit.Filter{}) {
	}
	if err != context.Canceled {
		t.Errorf("a cancelled search ends with %v", err)
	}
}

func TestSearchMemoryDoesNotGrowWithTheLog(t *testing.T) {
	dir := t.TempDir()
	size := fill(t, dir, 60_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := requests(t, dir, audit.Filter{Actor: "person-500@corp.example", Team: "search"}); len(got) == 0 {
		t.Error("found nothing")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(size)/8 {
		t.Errorf("searching %d bytes allocated %d", size, used)
	}
}

func TestFollowGoesOnOverRotationAndNewChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := files(dir)
		c.Sinks[0].File.MaxSize = 5000
		l := open(t, c)
		say := func(l *audit.Log, id string) {
			r := write()
			r.RequestID = id
			if err := l.Intent(t.Context(), &r); err != nil {
				t.Error(err)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			say(l, id)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		ended := make(chan error)
		go func() {
			for line, err := range audit.Follow(ctx, dir, audit.Filter{Last: 2}) {
				if err != nil {
					ended <- err
					return
				}
				seen = append(seen, line.Record.RequestID)
			}
			ended <- nil
		}()
		want := []string{"b", "c"}
		var second *audit.Log
		for i := range 20 {
			time.Sleep(100 * time.Millisecond)
			id := fmt.Sprint(i)
			if i == 10 {
				other := files(dir)
				other.Name = "second"
				second = open(t, other)
			}
			if i > 15 {
				say(second, id)
			} else {
				say(l, id)
			}
			want = append(want, id)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Follow: %v", err)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("followed %q, want %q", seen, want)
		}
		closeLog(t, l)
		closeLog(t, second)
	})
}

func TestSearchWorksOnAFileBeingWritten(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	intent(t, l)
	path := only(t, logFiles(t, dir))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	half := bytes.Join([][]byte{data, []byte(`{"v":1,"time":"2026-`)}, nil) // the reader comes in the middle of a write
	other := t.TempDir()
	joinFile(t, strings.Replace(path, dir, other, 1), [][]byte{half})
	if got := requests(t, other, audit.Filter{}); len(got) != 1 {
		t.Errorf("found %q, want the one whole record", got)
	}
}
