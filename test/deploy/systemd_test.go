package deploy_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
)

func TestSystemdUnitIsHardened(t *testing.T) {
	harness.Need(t, []string{"systemd-analyze"}, nil)
	t.Parallel()
	must(t, "systemd-analyze", "security", "--offline=true", "--threshold=15", file("systemd/gateway.service")) // tenths: 1.5 of 10
}

// unit is the gateway as systemd runs it: with what systemd adds to the environment and hands over.
type unit struct {
	dir, listen, admin string
	process            *exec.Cmd
	log                strings.Builder
}

// newUnit is not started yet.
func newUnit(t *testing.T) *unit {
	t.Helper()
	u := &unit{dir: t.TempDir(), listen: harness.FreeAddress(t), admin: harness.FreeAddress(t)}
	u.write(t, "token", harness.UpstreamToken)
	u.write(t, "policy.yaml", "teams: []\n")
	u.write(t, "gateway.yaml", fmt.Sprintf(`server: {listen: %q, public_url: "http://127.0.0.1:8443", drain_delay: 0s}
admin: {listen: %q}
credentials: [{name: shared, token: {file: token}}]
`, u.listen, u.admin))
	return u
}

func (u *unit) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs it with a further environment. systemd names the process that a socket is for, hence the shell: it knows its own
// number before it becomes the gateway.
func (u *unit) start(t *testing.T, environment []string, socket *os.File) {
	t.Helper()
	u.process = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, harness.Binary(t), "serve", "--config", filepath.Join(u.dir, "gateway.yaml"))
	u.process.Env, u.process.Stderr = append(os.Environ(), environment...), &u.log
	if socket != nil {
		u.process.ExtraFiles = []*os.File{socket} // descriptor 3, where systemd puts the first one
	}
	if err := u.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.process.Process.Kill() }) // it may have ended
}

// stop ends it as systemd does.
func (u *unit) stop(t *testing.T) {
	t.Helper()
	if err := u.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := u.process.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &u.log)
	}
}

func TestSystemdIsToldHowTheServiceIs(t *testing.T) {
	t.Parallel()
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	u := newUnit(t)
	// next reads what is told until something else than a sign of life is.
	next := func(alive bool) string {
		t.Helper()
		if err := told.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for message := make([]byte, 4096); ; {
			n, err := told.Read(message)
			if err != nil {
				t.Fatalf("nothing is told: %v", err)
			}
			if text := string(message[:n]); (text == "WATCHDOG=1") == alive {
				return text
			}
		}
	}

	u.start(t, []string{"NOTIFY_SOCKET=" + told.LocalAddr().String(), "WATCHDOG_USEC=100000"}, nil)
	if got := next(false); got != "READY=1" {
		t.Fatalf("at the start it told %q", got)
	}
	connection, err := net.Dial("tcp", u.listen) // or what waits for the unit would come too early
	if err != nil {
		t.Fatalf("it said that it was ready, and does not listen: %v", err)
	}
	connection.Close()
	next(true)
	next(true)
	for _, reload := range []struct{ policy, want string }{
		{"teams: []\n", "READY=1\nSTATUS=the policy in its file is in force"},
		{"teams: [nonsense\n", "READY=1\nSTATUS=the policy in its file has faults; the one before stays in force"},
	} {
		u.write(t, "policy.yaml", reload.policy)
		_ = u.process.Process.Signal(syscall.SIGHUP)
		// The change of the file may be seen before the signal is, and is a reload of its own.
		for {
			if got := next(false); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
				t.Fatalf("when it began to reload it told %q", got)
			}
			if got := next(false); got == reload.want {
				break
			} else if !strings.HasPrefix(got, "READY=1\n") {
				t.Fatalf("when it had reloaded it told %q, want %q", got, reload.want)
			}
		}
	}
	_ = u.process.Process.Signal(syscall.SIGTERM)
	for next(false) != "STOPPING=1" { // the second reload of one change may come before
	}
	if err := u.process.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &u.log)
	}
}

// passed is a listening socket as systemd holds it: open in the test whether the gateway runs or not.
func passed(t *testing.T, address string) *os.File {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

func TestConnectionsWaitInSystemdsSocketWhileTheGatewayRestarts(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	socket := passed(t, u.listen)
	handed := []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=public"}
	ask := func() error {
		client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + u.listen + "/-/")
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	for range 2 {
		answered := make(chan error, 1)
		go func() { answered <- ask() }() // connects to the socket at once, before anybody can answer
		u.start(t, handed, socket)
		if err := <-answered; err != nil {
			t.Fatalf("%v\n%s", err, &u.log)
		}
		u.stop(t)
	}
}

func TestASocketThatDoesNotFitIsAFaultAtTheStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ names, address, want string }{
		"the socket unit's own name": {"gateway.socket", "", `FileDescriptorName has to be "public" for server.listen`},
		"http without ACME":          {"http", "", `FileDescriptorName has to be "public" for server.listen`},
		"another port":               {"public", "127.0.0.1:0", "give both the same port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnit(t)
			address := u.listen
			if test.address != "" {
				address = test.address
			}
			u.start(t, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=" + test.names}, passed(t, address))
			if err := u.process.Wait(); err == nil || !strings.Contains(u.log.String(), test.want) {
				t.Errorf("it ended with %v, want %q\n%s", err, test.want, &u.log)
			}
		})
	}
}
