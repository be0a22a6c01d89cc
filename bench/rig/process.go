// Package rig is what the measurements stand on: processes pinned to a core each, whose processor time and memory the
// kernel tells; a gateway with everything on between neighbours that cost little; and load that is cheaper than what it
// measures. It judges nothing: the commands beside it do.
package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The cores: one for the load and the upstream, one for whatever is measured.
const (
	loadCore   = 0
	serverCore = 1
)

// Pin keeps this process to the load's core. Processes that it starts for measuring get the other one.
func Pin() error {
	if runtime.NumCPU() < 2 {
		return errors.New("one core for the load and one for the server are needed; this machine has a single one")
	}
	var core unix.CPUSet
	core.Set(loadCore)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, thread := range threads { // threads to come inherit it
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &core); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pinning the load to core %d: %w", loadCore, err)
		}
	}
	runtime.GOMAXPROCS(1)
	return nil
}

// Process is a server that is measured.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
	said    *tail
}

// Start runs a program on the servers' core. What it says on standard error is kept for the error that a failure ends in.
func Start(program string, args ...string) (*Process, error) {
	return start(serverCore, program, args...)
}

// StartBeside runs a neighbour that is not measured, on the load's core.
func StartBeside(program string, args ...string) (*Process, error) {
	return start(loadCore, program, args...)
}

func start(core int, program string, args ...string) (*Process, error) {
	p := &Process{ended: make(chan struct{}), said: &tail{}}
	p.command = exec.Command("taskset", append([]string{"--cpu-list", strconv.Itoa(core), program}, args...)...)
	p.command.Stderr = p.said
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	running := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig speaks of the thread that started it, which must therefore stay
		running <- p.command.Start()
		if p.command.Process != nil {
			_ = p.command.Wait()
		}
		close(p.ended)
	}()
	if err := <-running; err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return p, nil
}

// tail keeps the last that was written to it.
type tail struct {
	mu   sync.Mutex
	last []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	t.last = bytes.Clone(t.last[max(0, len(t.last)-4096):])
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

// AwaitAnswer waits until url answers 200.
func (p *Process) AwaitAnswer(url string) error {
	return p.await(func() bool {
		answer, err := http.Get(url)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// AwaitListening waits until somebody listens on address.
func (p *Process) AwaitListening(address string) error {
	return p.await(func() bool {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	})
}

func (p *Process) await(ready func() bool) error {
	for deadline := time.Now().Add(30 * time.Second); !ready(); {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.command, p.said)
		case <-time.After(time.Millisecond): // another process has no other way to tell that it listens
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after 30 s: %s", p.command, p.said)
		}
	}
	return nil
}

// PID is its process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Stop asks it to end and waits until it has.
func (p *Process) Stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// Kill ends it at once, as a crash does.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// Signal sends it a signal.
func (p *Process) Signal(signal os.Signal) error { return p.command.Process.Signal(signal) }

// CPU is the processor time, user and system, that the process and its children have used.
func (p *Process) CPU() (time.Duration, error) {
	pid := p.PID()
	total, err := used(pid)
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for child := range strings.FieldsSeq(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		one, err := used(id)
		if err != nil {
			return 0, err
		}
		total += one
	}
	return total, nil
}

// used reads the processor time of one process, in nanoseconds, from its clock (clock_getcpuclockid(3)): that of /proc moves in
// hundredths of a second.
func used(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// Resident is the memory that the process holds, in bytes.
func (p *Process) Resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(after)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("/proc/%d/status tells no VmRSS", p.PID())
	}
	kibibytes, err := strconv.ParseInt(fields[0], 10, 64)
	return kibibytes << 10, err
}

// Descriptors is how many files and sockets the process has open.
func (p *Process) Descriptors() (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	return len(open), err
}

// FreeAddress is an address of this machine that nobody listens on.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
