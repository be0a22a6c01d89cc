package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// search compares the search for one actor with zgrep and with zcat and grep, over the same files.
func search(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("search", flag.ContinueOnError)
	records := flags.Int("records", 10_000_000, "how many records to search")
	gateway := flags.String("gateway", "./gateway", "the built program")
	rounds := flags.Int("rounds", 1, "how often each is run, in turn")
	parent := flags.String("dir", "", "where the log is made; default: the system's folder for temporary files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return withFolder(*parent, func(dir string) error {
		if err := describe(out, dir, *records, true); err != nil {
			return err
		}
		return inTurn(out, *rounds, []command{
			{"zgrep", []string{"sh", "-c", "zgrep -hF '" + someone + "' " + dir + "/*.jsonl*"}},
			{"zcat -f, grep", []string{"sh", "-c", "zcat -f " + dir + "/*.jsonl* | grep -F '" + someone + "'"}},
			{"gateway audit search", []string{*gateway, "audit", "search", dir, "--actor", someone, "--format", "json"}},
		})
	})
}

// verify compares verification with reading the same files.
func verify(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	records := flags.Int("records", 1_750_000, "how many records to verify; the default makes about 1 GB")
	gateway := flags.String("gateway", "./gateway", "the built program")
	rounds := flags.Int("rounds", 3, "how often each is run, in turn")
	parent := flags.String("dir", "", "where the log is made; default: the system's folder for temporary files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return withFolder(*parent, func(dir string) error {
		if err := describe(out, dir, *records, false); err != nil {
			return err
		}
		return inTurn(out, *rounds, []command{
			{"cat", []string{"sh", "-c", "cat " + dir + "/*.jsonl* >/dev/null"}},
			{"sha256sum", []string{"sh", "-c", "cat " + dir + "/*.jsonl* | sha256sum"}},
			{"gateway audit verify", []string{*gateway, "audit", "verify", dir}},
		})
	})
}

// describe generates a log and says what it is.
func describe(out io.Writer, dir string, records int, zip bool) error {
	began := time.Now()
	if err := generate(dir, records, zip); err != nil {
		return err
	}
	packed, plain, files, err := sizes(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d records in %d files, %d MiB compressed and %d MiB plain, made in %.0f s\n\n| | wall | CPU | memory | lines |\n|---|---|---|---|---|\n",
		records, len(files), packed>>20, plain>>20, time.Since(began).Seconds())
	return nil
}

type command struct {
	name string
	args []string
}

func inTurn(out io.Writer, rounds int, commands []command) error {
	for range rounds {
		for _, c := range commands {
			if err := c.measure(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure runs a command and prints how long it took, its memory and how many lines it printed.
func (c command) measure(out io.Writer) error {
	run := exec.Command(c.args[0], c.args[1:]...)
	printed, err := run.StdoutPipe()
	if err != nil {
		return err
	}
	run.Stderr = os.Stderr
	began := time.Now()
	if err := run.Start(); err != nil {
		return err
	}
	peak := make(chan int64)
	ended := make(chan struct{})
	go func() { peak <- peakMemory(run.Process.Pid, ended) }()
	text, err := io.ReadAll(printed)
	close(ended)
	mebibytes := fmt.Sprint(<-peak, " MiB")
	if filepath.Base(c.args[0]) == "sh" {
		mebibytes = "" // the shell's own
	}
	if err != nil {
		return err
	}
	if err := run.Wait(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	fmt.Fprintf(out, "| `%s` | %.2f s | %.2f s | %s | %d |\n", c.name, time.Since(began).Seconds(),
		(run.ProcessState.UserTime() + run.ProcessState.SystemTime()).Seconds(), mebibytes, strings.Count(string(text), "\n"))
	return nil
}

// peakMemory watches a process until ended is closed and returns the most it had resident, in MiB. The kernel's own figure
// for an ended child would count the memory of the process that started it.
func peakMemory(pid int, ended <-chan struct{}) (mebibytes int64) {
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil {
			mebibytes = max(mebibytes, field(string(status), "VmHWM:")>>10)
		}
		select {
		case <-ended:
			return mebibytes
		case <-time.After(20 * time.Millisecond):
		}
	}
}
