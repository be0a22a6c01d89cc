package state_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"corp.example/gateway/internal/state"
)

func TestStateSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "t", "k", []byte("v"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir).Get(t.Context(), "t", "k"); string(got) != "v" {
		t.Errorf("Get after a restart = %q, %v, want v", got, err)
	}
}

func TestNobodyElseMayReadTheFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	open(t, dir)
	for name, want := range map[string]os.FileMode{"": 0o700, state.FileName: 0o600, state.SocketName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q is %o, want %o", name, got, want)
		}
	}
}

func TestExpiryAndJanitor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := state.OpenFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.StartJanitor()
		defer func() { _ = s.Close() }()
		put := func(key string, expires time.Time) {
			if err := s.Put(t.Context(), "t", key, []byte("v"), expires); err != nil {
				t.Fatal(err)
			}
		}
		short := time.Now().Add(30 * time.Second)
		put("short", short)
		put("long", time.Now().Add(time.Hour))
		put("forever", time.Time{})

		time.Sleep(time.Until(short) - time.Nanosecond) // the writes took their time
		if _, err := s.Get(t.Context(), "t", "short"); err != nil {
			t.Errorf("just before its expiry: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := s.Get(t.Context(), "t", "short"); err == nil {
			t.Error("at its expiry the value is still there")
		}
		if n := s.Size("t"); n != 3 {
			t.Errorf("%d values in the file before the janitor came, want 3", n)
		}
		time.Sleep(state.SweepEvery)
		synctest.Wait()
		if n := s.Size("t"); n != 2 {
			t.Errorf("%d values in the file after the janitor came, want 2", n)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := s.Size("t"); n != 1 {
			t.Errorf("%d values in the file after two hours, want the one without expiry", n)
		}
	})
}

func TestSweepGoesOnPastOneChunk(t *testing.T) {
	s := open(t, t.TempDir())
	n := state.SweepChunk + 10
	results := make(chan error, n)
	for i := range n {
		go func() { results <- s.Put(t.Context(), "t", fmt.Sprint(i), nil, time.Now().Add(time.Hour)) }()
	}
	for range n {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left := s.Size("t"); left != 0 {
		t.Errorf("%d values left, want none", left)
	}
}

func TestConnectWithoutAService(t *testing.T) {
	dir := t.TempDir()
	c := connect(t, dir)
	if err := c.Put(t.Context(), "t", "k", []byte("v"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*state.Embedded); !ok {
		t.Errorf("Connect without a service gave %T, want the file itself", c)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir).Get(t.Context(), "t", "k"); string(got) != "v" {
		t.Errorf("the service sees %q, %v, want v", got, err)
	}
}

// The running service hears of what a command does before the command ends.
func TestAServiceHearsOfWritesOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	service := open(t, dir)
	heard := make(chan string, 2)
	service.Watch("tokens", func(key string) { heard <- key })
	command := connect(t, dir)
	if err := command.Delete(t.Context(), "tokens", "abc"); err != nil {
		t.Fatal(err)
	}
	select {
	case key := <-heard:
		if key != "abc" {
			t.Errorf("heard of %q, want abc", key)
		}
	default:
		t.Error("the write returned before the service heard of it")
	}
}

func TestASecondServiceIsRefused(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // the wait for the file passes in no time
		first, err := state.OpenFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = first.Close() }()
		_, err = state.Open(dir)
		wantError(t, err, "in use by another gateway")
	})
}

func TestConnectFaults(t *testing.T) {
	t.Run("no directory", func(t *testing.T) {
		_, err := state.Connect(filepath.Join(t.TempDir(), "missing"))
		wantError(t, err, "does not exist")
	})
	t.Run("a file instead of a directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := state.Connect(path)
		wantError(t, err, "not a directory")
	})
	t.Run("a file that is no state", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, state.FileName), []byte(strings.Repeat("x", 8192)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := state.Connect(dir)
		wantError(t, err, "opening")
	})
	t.Run("a holder that does not answer", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			s, err := state.OpenFile(dir) // holds the lock, serves no socket
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			_, err = state.Connect(dir)
			wantError(t, err, "does not answer on its control socket")
		})
	})
	t.Run("no permission", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Log("root may read everything: checked with the error alone elsewhere")
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, state.FileName), nil, 0); err != nil {
			t.Fatal(err)
		}
		_, err := state.Connect(dir)
		wantError(t, err, "run as the user that runs the gateway")
	})
}

// wantError wants one line with the words in it.
func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line with %q", err, words)
	}
}

func TestASocketLeftByAKilledServiceIsReplaced(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, state.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil { // as after kill -9: the name is there, nobody listens
		t.Fatal(err)
	}
	if _, ok := connect(t, dir).(*state.Embedded); !ok {
		t.Error("Connect went for the dead socket")
	} else if err := connectAndClose(dir); err == nil {
		t.Error("a second command got the file while the first holds it")
	}
}

func connectAndClose(dir string) error {
	s, err := state.OpenFile(dir)
	if err != nil {
		return err
	}
	return s.Close()
}

func TestAStaleSocketDoesNotKeepAServiceFromStarting(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, state.SocketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, ok := connect(t, dir).(*state.Remote); !ok {
		t.Error("the command does not reach the service")
	}
}

// The kernel takes socket names of some hundred bytes; directories may be longer.
func TestALongStateDirectory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40), strings.Repeat("deep", 30))
	if len(dir) <= state.MaxSocketPath {
		t.Fatal("the directory is not long")
	}
	service := open(t, dir)
	command := connect(t, dir)
	if err := command.Put(t.Context(), "t", "k", []byte("v"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got, err := service.Get(t.Context(), "t", "k"); string(got) != "v" {
		t.Errorf("the service sees %q, %v, want v", got, err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind in the temporary directory: %v, %v", left, err)
	}
}

func TestClosingTakesTheSocketAway(t *testing.T) {
	dir := t.TempDir()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, state.SocketName)); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
