package audit_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/internal/audit"
)

// kills is how often TestKilledAtAnyMoment kills its process; a soak run takes more.
var kills = flag.Int("kills", 20, "how often to kill a process that writes the log")

// Some faults need a process of their own: one to kill, one whose mounts or user differ. The test binary starts itself
// again and children names what it then does.
const childEnv = "AUDIT_TEST_CHILD"

var children = map[string]func(dir string) error{
	"load":     childLoad,
	"full":     childFullDisk,
	"readonly": childReadOnly,
}

func TestMain(m *testing.M) {
	if name, dir, ok := strings.Cut(os.Getenv(childEnv), ":"); ok {
		if err := children[name](dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name+":"+dir)
	return cmd
}

// childLoad makes calls until it is killed. It tells its parent "sent ID" where a gateway would send a write upstream, and
// "told ID" where it would answer the client.
func childLoad(dir string) error {
	c := synced(dir)
	c.Sinks[0].File.MaxSize = 64 << 10 // rotation, compression and death shall meet
	c = audit.WithAhead(c, 32<<10, 1)
	l, err := audit.Open(c)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				r := write()
				if l.Intent(ctx, &r) != nil {
					return
				}
				os.Stdout.WriteString("sent " + r.ID + "\n") // one write each: no line is torn
				r.Status, r.Outcome = 200, "ok"
				if l.Outcome(ctx, &r) != nil {
					return
				}
				read := read()
				if l.Outcome(ctx, &read) != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.New("the log refused a record")
}

func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	sent := map[string]bool{}
	for i := range *kills {
		cmd := child(t, "load", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(rand.IntN(60)) * time.Millisecond
		death := time.AfterFunc(moment, func() { cmd.Process.Kill() }) // perhaps while it repairs what the last death left
		busy := false
		for in := bufio.NewScanner(out); in.Scan(); {
			if id, ok := strings.CutPrefix(in.Text(), "sent "); ok && len(id) == 32 {
				if sent[id] = true; !busy && i%4 > 0 {
					busy = true
					death.Reset(moment) // most die under load
				}
			}
		}
		death.Stop()
		cmd.Process.Kill() // already dead, unless it gave up
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the child ended by itself: %v", err)
		}
	}
	closeLog(t, open(t, files(dir)))
	intact(t, dir)
	intents, outcomes := map[string]bool{}, map[string]bool{}
	for r, err := range audit.Search(t.Context(), dir, audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch r.Phase {
		case audit.Intent:
			intents[r.ID] = true
		case audit.Outcome:
			outcomes[r.ID] = true
		}
	}
	for id := range sent {
		if !intents[id] {
			t.Errorf("%s was sent upstream without an intent", id)
		}
	}
	for id := range intents {
		if !outcomes[id] {
			t.Errorf("intent %s was never closed", id)
		}
	}
	t.Logf("%d kills, %d calls sent, %d intents", *kills, len(sent), len(intents))
}

func runChild(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestFullDisk fills a small file system. Where the process may not mount one, a limit on file sizes stands in for it.
func TestFullDisk(t *testing.T) {
	cmd := child(t, "full", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	if err == nil {
		if err = cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &out)
		}
		return
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	runChild(t, child(t, "full", t.TempDir()))
}

func childFullDisk(dir string) error {
	fill, drain, err := smallDisk(dir)
	if err != nil {
		return err
	}
	log := filepath.Join(dir, "log")
	l, err := audit.Open(audit.WithAhead(synced(log), 64<<10, 1))
	if err != nil {
		return err
	}
	if err := recordBoth(l); err != nil {
		return fmt.Errorf("on an empty disk: %w", err)
	}
	if err := fill(); err != nil {
		return err
	}
	if err := awaitRefusal(l); err != nil {
		return err
	}
	r := read()
	if err := errors.Join(l.Accepting(), l.Outcome(ctx, &r)); err != nil {
		return fmt.Errorf("a read with room in the buffer: %w", err)
	}
	if err := drain(); err != nil {
		return err
	}
	return recovers(l, log)
}

// smallDisk makes dir a file system of 1 MiB and returns how to fill it and how to make room again.
func smallDisk(dir string) (fill, drain func() error, err error) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
		ballast := filepath.Join(dir, "ballast")
		return func() error {
			if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("filling the disk = %w, want ENOSPC", err)
			}
			return nil
		}, func() error { return os.Remove(ballast) }, err
	}
	limit := func(n uint64) func() error {
		return func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: 1 << 40}) }
	}
	return limit(1 << 10), limit(1 << 40), nil
}

// TestReadOnlyDirectory takes the right to create files away and the current file with it.
func TestReadOnlyDirectory(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil { // the child may be somebody else
			t.Fatal(err)
		}
	}
	runChild(t, child(t, "readonly", dir))
}

func childReadOnly(dir string) error {
	if os.Getuid() == 0 { // whom no mode stops
		const nobody = 65534
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
	}
	log := filepath.Join(dir, "log")
	l, err := audit.Open(synced(log))
	if err != nil {
		return err
	}
	if err := recordBoth(l); err != nil {
		return err
	}
	current, err := filepath.Glob(filepath.Join(log, "*.jsonl"))
	if err != nil || len(current) != 1 {
		return fmt.Errorf("files %q, %w", current, err)
	}
	away := filepath.Join(dir, "away")
	if err := errors.Join(os.Rename(current[0], away), os.Chmod(log, 0o500)); err != nil {
		return err
	}
	if err := awaitRefusal(l); err != nil {
		return err
	}
	if err := os.Chmod(log, 0o700); err != nil {
		return err
	}
	if err := os.Rename(away, current[0]); err != nil {
		return err
	}
	return recovers(l, log)
}

// recordBoth records a write and its outcome.
func recordBoth(l *audit.Log) error {
	r := write()
	return errors.Join(l.Intent(ctx, &r), l.Outcome(ctx, &r))
}

// awaitRefusal wants writes to be refused, with some writes before a disk is full to the last block.
func awaitRefusal(l *audit.Log) error {
	for range 10_000 {
		r := write()
		if err := l.Intent(ctx, &r); err != nil {
			return errors.Join(isUnavailable(err), isUnavailable(l.Healthy()))
		}
	}
	return errors.New("writes were never refused")
}

// recovers wants writes to be served again soon, the chain whole, and a note of what happened.
func recovers(l *audit.Log, dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for l.Healthy() != nil {
		if time.Now().After(deadline) {
			return fmt.Errorf("not recovered: %w", l.Healthy())
		}
		time.Sleep(10 * time.Millisecond) // the sink tries again by itself
	}
	if err := errors.Join(recordBoth(l), l.Close()); err != nil {
		return err
	}
	reports, err := audit.Verify(ctx, dir, audit.VerifyOptions{})
	if err != nil {
		return err
	}
	if f := reports[0].Fault; f != nil {
		return f
	}
	if notes := strings.Join(reports[0].Notes, "\n"); !strings.Contains(notes, "recovered") {
		return fmt.Errorf("no note of the recovery in %q", notes)
	}
	return nil
}
