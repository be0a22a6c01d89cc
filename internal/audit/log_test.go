package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/audit"
	"corp.example/gateway/internal/problem"
)

func intent(tb testing.TB, l *audit.Log) *audit.Record {
	tb.Helper()
	r := write()
	if err := l.Intent(context.Background(), &r); err != nil {
		tb.Fatalf("Intent: %v", err)
	}
	return &r
}

func outcome(tb testing.TB, l *audit.Log, r audit.Record) {
	tb.Helper()
	if err := l.Outcome(context.Background(), &r); err != nil {
		tb.Fatalf("Outcome: %v", err)
	}
}

var ctx = context.Background() // where no test's context is at hand

// isUnavailable wants err to be what clients are told while the log cannot record.
func isUnavailable(err error) error {
	var p *problem.Error
	if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.Code != problem.AuditUnavailable {
		return fmt.Errorf("got %v, want 503 audit_unavailable", err)
	}
	return nil
}

// refused checks that err is what clients are told while the log cannot record.
func refused(tb testing.TB, what string, err error) {
	tb.Helper()
	if err := isUnavailable(err); err != nil {
		tb.Errorf("%s: %v", what, err)
	}
}

func TestIntentIsOnDiskWhenItReturns(t *testing.T) {
	dir := t.TempDir()
	var syncs atomic.Int64
	l := open(t, audit.WithSync(files(dir), func(f *os.File) error { syncs.Add(1); return f.Sync() }))
	before := syncs.Load()
	r := intent(t, l)
	if n := onDisk(t, dir, r.ID); n != 1 {
		t.Errorf("%d lines on disk when Intent returned, want 1", n)
	}
	if syncs.Load() == before {
		t.Error("Intent returned without a sync")
	}
}

func TestIntentAndOutcomeShareAnID(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	r := intent(t, l)
	r.Status, r.Outcome = 200, "ok"
	outcome(t, l, *r)
	closeLog(t, l)
	if n := onDisk(t, dir, `"id":"`+r.ID+`"`); n != 2 {
		t.Errorf("%d lines with the id, want 2", n)
	}
}

func TestAnIDThatCouldNotStandInALineIsReplaced(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	for _, id := range []string{"", "a\"b", "ä", strings.Repeat("x", 65), "a b"} {
		r := write()
		r.ID = id
		if err := l.Intent(t.Context(), &r); err != nil || r.ID == id || len(r.ID) != 32 {
			t.Errorf("id %q became %q (%v), want a new one", id, r.ID, err)
		}
	}
}

func TestOutcomeOfAReadIsOnDiskWithinTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, files(dir))
		outcome(t, l, read())
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if n := onDisk(t, dir, `"phase":"outcome"`); n != 0 {
			t.Errorf("%d lines before the flush, want 0: reads are to be written together", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := onDisk(t, dir, `"phase":"outcome"`); n != 1 {
			t.Errorf("%d lines after the flush, want 1", n)
		}
		closeLog(t, l)
	})
}

func TestOutcomeOfAWriteIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, files(dir))
		r := intent(t, l)
		outcome(t, l, *r)
		synctest.Wait() // no time passes
		if n := onDisk(t, dir, `"phase":"outcome"`); n != 1 {
			t.Errorf("%d lines on disk, want 1", n)
		}
		closeLog(t, l)
	})
}

func TestAHangingDiskIsAFailedDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var hang atomic.Pointer[chan struct{}]
		l := open(t, audit.WithSync(files(dir), func(*os.File) error {
			if c := hang.Load(); c != nil {
				<-*c
			}
			return nil
		}))
		release := make(chan struct{})
		hang.Store(&release)
		start := time.Now()
		var all sync.WaitGroup
		for range 3 { // the first is in the hanging batch, the others wait behind it
			all.Go(func() {
				r := write()
				refused(t, "Intent on a hanging disk", l.Intent(context.Background(), &r))
			})
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("callers waited %v, want the time-out of 5s", took)
		}
		refused(t, "Healthy", l.Healthy())
		r := write()
		refused(t, "the next Intent", l.Intent(context.Background(), &r))
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("an Intent after the failure waited %v, want none", took-5*time.Second)
		}
		outcome(t, l, read())
		if err := l.Accepting(); err != nil {
			t.Errorf("Accepting with room in the buffer = %v", err)
		}

		hang.Store(nil)
		close(release)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := l.Healthy(); err != nil {
			t.Errorf("Healthy after the disk came back = %v", err)
		}
		intent(t, l)
		closeLog(t, l)
		report := intact(t, dir)
		if len(report.Notes) == 0 || !strings.Contains(report.Notes[0], "recovered") {
			t.Errorf("notes = %q, want the recovery", report.Notes)
		}
		if n := onDisk(t, dir, `"cache":"hit"`); n != 1 {
			t.Errorf("%d lines of the read, want 1", n)
		}
	})
}

func TestAHangingDiskDoesNotHoldUpACallerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hang atomic.Bool
		l := open(t, audit.WithSync(files(t.TempDir()), func(*os.File) error {
			if hang.Load() {
				<-release
			}
			return nil
		}))
		hang.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := write()
		if err := l.Intent(ctx, &r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Intent = %v, want the context's error", err)
		}
		close(release)
		closeLog(t, l)
	})
}

// breakable is a log's configuration whose disk fails while broken is set.
func breakable(dir string) (c audit.Config, broken *atomic.Bool) {
	broken = new(atomic.Bool)
	return audit.WithSync(files(dir), func(*os.File) error {
		if broken.Load() {
			return errors.New("input/output error")
		}
		return nil
	}), broken
}

func TestReadsAreRefusedOnceTheBufferFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, broken := breakable(dir)
		c.BufferRecords = 8
		l := open(t, c)
		broken.Store(true)
		r := write()
		refused(t, "Intent", l.Intent(t.Context(), &r)) // its line stays in the buffer
		for n := 1; n < 8; n++ {
			if err := l.Accepting(); (err != nil) != (n >= 6) {
				t.Errorf("Accepting with %d of 8 lines = %v, want an error from 6 on", n, err)
			}
			outcome(t, l, read())
		}
		r = read()
		refused(t, "Outcome with a full buffer", l.Outcome(t.Context(), &r))
		if s := l.Stats()[0]; s.Dropped != 1 || s.Waiting != 8 || s.Err == nil || s.Failed == 0 {
			t.Errorf("Stats = %+v, want 1 dropped, 8 waiting, failures and an error", s)
		}

		broken.Store(false)
		time.Sleep(audit.RetryEvery)
		synctest.Wait()
		if err := errors.Join(l.Healthy(), l.Accepting()); err != nil {
			t.Errorf("after the disk came back: %v", err)
		}
		closeLog(t, l)
		report := intact(t, dir)
		if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "1 lines were refused or lost") {
			t.Errorf("notes = %q, want one that counts the lost line", report.Notes)
		}
		if n := onDisk(t, dir, `"phase":"outcome"`); n != 7 {
			t.Errorf("%d outcomes on disk, want the 7 that were taken on", n)
		}
	})
}

func TestAReadIsTimedByWhoKnowsWhenItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, files(dir))
		known, unknown, change := read(), read(), write()
		known.Time = noon
		outcome(t, l, known)
		time.Sleep(time.Second)
		outcome(t, l, unknown)
		change.Time = noon
		if err := l.Intent(t.Context(), &change); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		outcome(t, l, change)
		closeLog(t, l)
		for want, n := range map[string]int{
			`"time":"` + noon.UTC().Format("2006-01-02T15:04:05.000000Z") + `","phase":"outcome"`: 1, // what was known
			`"time":"2000-01-01T00:00:01.000000Z","phase":"outcome"`:                              1, // what was not
			`"time":"2000-01-01T00:00:01.000000Z","phase":"intent"`:                               1,
			`"time":"2000-01-01T00:00:02.000000Z","phase":"outcome"`:                              1, // of the intent
		} {
			if got := onDisk(t, dir, want); got != n {
				t.Errorf("%d lines have %s, want %d", got, want, n)
			}
		}
	})
}

// Lines of the same call share memory, and count in full all the same: the next ones may share nothing.
func TestTheBufferIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, broken := breakable(t.TempDir())
		c.BufferBytes, c.BufferRecords = 2*audit.MaxLine, 1<<20
		l := open(t, c)
		r := read()
		outcome(t, l, r)
		audit.StampAt(&r, audit.Outcome, noon)
		r.ID = strings.Repeat("0", 32) // as the log makes one
		want := c.BufferBytes / len(audit.AppendRecord(nil, &r))
		for range 2 {
			time.Sleep(time.Minute) // what came before is written
			broken.Store(true)
			n := 0
			for ; l.Outcome(t.Context(), new(read())) == nil; n++ {
			}
			if n != want {
				t.Errorf("%d lines have room in %d bytes, want %d", n, c.BufferBytes, want)
			}
			broken.Store(false)
		}
		time.Sleep(time.Minute)
		closeLog(t, l)
	})
}

func TestASlowDiskSlowsCallersInsteadOfFailingThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := audit.WithSync(files(t.TempDir()), func(*os.File) error { time.Sleep(time.Second); return nil })
		c.BufferRecords = 4
		l := open(t, c)
		for range 20 {
			outcome(t, l, read())
		}
		if s := l.Stats()[0]; s.Dropped != 0 || s.Err != nil {
			t.Errorf("Stats = %+v, want nothing dropped", s)
		}
		closeLog(t, l)
	})
}

// brokenPipe is a stream whose reader is gone.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestASinkThatIsNotRequiredMayFail(t *testing.T) {
	dir := t.TempDir()
	c := files(dir)
	c.Sinks = append(c.Sinks, audit.Sink{Shipper: audit.Stdout(brokenPipe{})})
	l := open(t, c)
	r := intent(t, l)
	outcome(t, l, *r)
	if err := errors.Join(l.Healthy(), l.Accepting()); err != nil {
		t.Errorf("the log is unhealthy: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v, want the loss of a sink that is not required to be no error", err)
	}
	s := l.Stats()
	if s[0].Failed != 0 || s[0].Recorded < 2 || s[1].Failed == 0 || s[1].Err == nil {
		t.Errorf("Stats = %+v, want a sound first and a failed second sink", s)
	}
	intact(t, dir)
}

func TestEveryRequiredSinkMustRecord(t *testing.T) {
	c := files(t.TempDir())
	c.Sinks = append(c.Sinks, audit.Sink{Shipper: audit.Stdout(brokenPipe{}), Required: true})
	l := open(t, c)
	r := write()
	refused(t, "Intent", l.Intent(t.Context(), &r))
	refused(t, "Healthy", l.Healthy())
}

func TestAStreamCarriesTheSameLines(t *testing.T) {
	var out bytes.Buffer
	l := open(t, audit.Config{Sinks: []audit.Sink{{Shipper: audit.Stdout(&out), Required: true}}})
	r := intent(t, l)
	outcome(t, l, *r)
	closeLog(t, l)
	n := uint64(0)
	for line := range bytes.Lines(out.Bytes()) {
		n++
		if seq, ok := audit.ParseTail(bytes.TrimSuffix(line, []byte("\n"))); !ok || seq != n {
			t.Errorf("line %d has seq %d, %v", n, seq, ok)
		}
	}
	if n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}

func TestTwoProcessesCannotWriteOneChain(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	if second, err := audit.Open(files(dir)); err == nil {
		second.Close()
		t.Error("a second log was opened on the same chain")
	} else if !strings.Contains(err.Error(), "being written by another process") {
		t.Errorf("Open = %v", err)
	}
	other := files(dir)
	other.Name = "replica-2"
	closeLog(t, open(t, other))
	closeLog(t, l)
	closeLog(t, open(t, files(dir))) // the lock goes with its holder
}

func TestAClosedLogRefuses(t *testing.T) {
	dir := t.TempDir()
	l := open(t, files(dir))
	outcome(t, l, read())
	closeLog(t, l)
	if n := onDisk(t, dir, `"cache":"hit"`); n != 1 {
		t.Errorf("Close left %d lines on disk, want 1", n)
	}
	r := write()
	refused(t, "Intent", l.Intent(t.Context(), &r))
	refused(t, "Outcome", l.Outcome(t.Context(), &r))
	closeLog(t, l) // again: harmless
	if report := intact(t, dir); report.Signed != report.Last {
		t.Errorf("last checkpoint is line %d of %d: Close is to sign the end", report.Signed, report.Last)
	}
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	_, err := audit.Open(audit.Config{Name: "No Name", Flush: -1, BufferBytes: 10, Sinks: []audit.Sink{{}, {File: &audit.FileConfig{}}}})
	for _, want := range []string{`name "No Name"`, "flush -1ns", "buffer of 10 bytes", "sinks[0]", "sinks[1].file.dir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want it to name %s", err, want)
		}
	}
	if _, err := audit.Open(audit.Config{}); err == nil {
		t.Error("a log without a sink was opened")
	}
}

func TestASigningKeyThatIsNamedMustExist(t *testing.T) {
	c := files(t.TempDir())
	c.KeyFile = filepath.Join(t.TempDir(), "absent.key")
	if _, err := audit.Open(c); err == nil || !strings.Contains(err.Error(), "openssl genpkey") {
		t.Errorf("Open = %v, want it to say how to make a key", err)
	}
	if err := os.WriteFile(c.KeyFile, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(c); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("Open with a bad key = %v, want an error without the key", err)
	}
}
