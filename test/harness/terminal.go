package harness

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// terminalTime bounds a command in a terminal, which may wait for a person for ever.
const terminalTime = time.Minute

// Terminal is a command that believes a person sits before it.
type Terminal struct {
	t       testing.TB
	command *exec.Cmd
	input   io.Writer
	output  *bufio.Reader
	shown   strings.Builder
}

// StartTerminal runs a shell's command line in a folder, in a terminal of its own, which the program script makes.
func StartTerminal(t testing.TB, dir string, environment []string, line string) *Terminal {
	t.Helper()
	command := exec.CommandContext(t.Context(), "script", "--quiet", "--flush", "--return", "--command", line, os.DevNull)
	command.Dir, command.Env = dir, append([]string{"PATH=" + os.Getenv("PATH"), "SHELL=/bin/sh", "TERM=dumb"}, environment...)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(terminalTime, func() { _ = command.Process.Kill() }) // reading its output ends then too
	t.Cleanup(func() { stop.Stop() })
	return &Terminal{t: t, command: command, input: input, output: bufio.NewReader(output)}
}

// Await reads until the pattern is shown and returns what it matched.
func (c *Terminal) Await(pattern string) string {
	c.t.Helper()
	for find := regexp.MustCompile(pattern); ; {
		if found := find.FindString(c.shown.String()); found != "" {
			return found
		}
		b, err := c.output.ReadByte()
		if err != nil {
			c.t.Fatalf("the command ended without showing %s:\n%s", pattern, &c.shown)
		}
		c.shown.WriteByte(b)
	}
}

// Enter types a line.
func (c *Terminal) Enter(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.input, line+"\r"); err != nil {
		c.t.Fatal(err)
	}
}

// End waits until the command ends, which it must do well.
func (c *Terminal) End() {
	c.t.Helper()
	rest, _ := io.ReadAll(c.output)
	if err := c.command.Wait(); err != nil {
		c.t.Fatalf("%v\n%s%s", err, &c.shown, rest)
	}
}
