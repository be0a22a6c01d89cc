package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"corp.example/gateway/bench/rig"
)

// parts are those of a round. Memory is touched before each.
const parts = 3

// cachedRead measures what the log costs a cached read in two ways: against a gateway whose log takes no reads, by turns of
// milliseconds, both started anew in every round, since where a program comes to lie in memory makes a percent or two; and as
// the share of the samples of a CPU profile, which tells of what it consists.
func cachedRead(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("read", flag.ContinueOnError)
	rounds := flags.Int("rounds", 20, "how often both are started and measured")
	each := flags.Duration("each", 6*time.Second, "how long one round measures")
	length := flags.Duration("profile", 30*time.Second, "how long the CPU profile takes: 10 s hold some 300 samples, 50 of them the log's")
	parent := flags.String("dir", "", "a folder on the disk to measure; default: the system's for temporary files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 2 {
		return fmt.Errorf("-rounds %d: at least 2, since the error is told from how they differ", *rounds)
	}
	return withFolder(*parent, func(dir string) error {
		binaries, err := buildBoth(dir)
		if err != nil {
			return err
		}
		if err := rig.Pin(); err != nil {
			return err
		}
		path := "/v1/projects/" + rig.Ref(0) + "/functions"
		neighbours, err := rig.NewNeighbours(map[string][]byte{path: rig.Functions(2 << 10)})
		if err != nil {
			return err
		}
		defer neighbours.Close()
		m := readMeasurement{dir: dir, request: rig.Request(path, neighbours.JWT())}
		for i, binary := range binaries {
			g, err := neighbours.Gateway(binary, filepath.Join(dir, strconv.Itoa(i)), rig.Options{})
			if g != nil && g.Process != nil {
				defer func() { g.Stop() }() // whichever process is the last: rounds start new ones
			}
			if err != nil {
				return err
			}
			m.gateways[i] = g
		}
		if err := m.warmUp(); err != nil {
			return err
		}
		if err := m.compare(*rounds, *each, out); err != nil {
			return err
		}
		return m.profile(*length, out)
	})
}

// buildBoth builds the gateway of the working tree as it is released, and the same with a log that takes no reads: nothing
// less tells what taking them costs.
func buildBoth(dir string) (binaries [2]string, err error) {
	const source, begin = "internal/audit/audit.go", "func (l *Log) Outcome(ctx context.Context, r *Record) error {\n"
	text, err := os.ReadFile(source)
	if err != nil {
		return binaries, fmt.Errorf("run this at the top of the repository: %w", err)
	}
	if !bytes.Contains(text, []byte(begin)) {
		return binaries, fmt.Errorf("%s has no %q: tell bench/audit how Outcome begins now", source, begin)
	}
	text = bytes.Replace(text, []byte(begin), []byte(begin+"\tif !r.intended {\n\t\treturn nil\n\t}\n"), 1)
	changed, overlay := filepath.Join(dir, "audit.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		return binaries, err
	}
	if err := errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return binaries, err
	}
	for i, flags := range []string{"", "-overlay=" + overlay} {
		binaries[i] = filepath.Join(dir, fmt.Sprintf("gateway-%d", i))
		build := exec.Command("make", "--silent", "build", "OUTPUT="+binaries[i])
		build.Env = append(os.Environ(), "GOFLAGS="+flags)
		if text, err := build.CombinedOutput(); err != nil {
			return binaries, fmt.Errorf("building a gateway: %w: %s", err, text)
		}
	}
	return binaries, nil
}

// readMeasurement is what both measurements need.
type readMeasurement struct {
	gateways [2]*rig.Gateway // with the log, and without
	dir      string
	request  []byte
}

// warmUp reads until the log has removed files, as any does that has its cap: the kernel then uses their memory again, where a
// virtual machine's host would have to provide more.
func (m *readMeasurement) warmUp() error {
	first := filepath.Join(m.dir, "0", "audit", "*-000001-*")
	for range 60 {
		if left, err := filepath.Glob(first); err != nil || len(left) == 0 {
			return err
		}
		if _, err := m.load(0, time.Second); err != nil {
			return err
		}
	}
	return errors.New("the log has all its files after a minute of reads")
}

// load is that of one gateway.
func (m *readMeasurement) load(i int, length time.Duration) (rig.Cost, error) {
	return rig.Polled(m.gateways[i].Process, m.gateways[i].Address, m.request, nil, length)
}

// compare prints what a read costs with the log and without, and how many a second there are.
func (m *readMeasurement) compare(rounds int, each time.Duration, out io.Writer) error {
	var micros [2][]float64
	var dearer, fewer []float64
	for range rounds {
		spent, err := m.round(each)
		if err != nil {
			return err
		}
		for i := range spent {
			micros[i] = append(micros[i], float64(spent[i].PerRequest().Nanoseconds())/1000)
		}
		dearer = append(dearer, float64(spent[0].PerRequest())/float64(spent[1].PerRequest()))
		fewer = append(fewer, 100*(1-spent[0].Rate()/spent[1].Rate()))
	}
	fmt.Fprintf(out, "Processor time of a cached read, mean of %d rounds ± its standard error: %s µs with the log in files, %s µs without a log, %s times.\n",
		rounds, mean(micros[0], "%.1f"), mean(micros[1], "%.1f"), mean(dearer, "%.3f"))
	fmt.Fprintf(out, "The log takes %s %% of the throughput.\n", mean(fewer, "%.1f"))
	return nil
}

// round starts both anew and measures them by turns.
func (m *readMeasurement) round(each time.Duration) (spent [2]rig.Cost, err error) {
	var ending sync.WaitGroup
	for _, g := range m.gateways {
		ending.Go(func() { g.Stop() })
	}
	ending.Wait()
	for _, g := range m.gateways {
		if err := g.Launch(); err != nil {
			return spent, err
		}
	}
	for range parts {
		if err := rig.TouchMemory(); err != nil {
			return spent, err
		}
		costs, err := rig.Alternated(m.gateways[:], m.request, each/parts)
		if err != nil {
			return spent, err
		}
		for i, cost := range costs {
			spent[i].Add(cost)
		}
	}
	return spent, nil
}

// mean prints that of values and its standard error.
func mean(values []float64, format string) string {
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	n := float64(len(values))
	average := sum / n
	for _, v := range values {
		squares += (v - average) * (v - average)
	}
	return fmt.Sprintf(format+" ± "+format, average, math.Sqrt(squares/(n-1)/n))
}

// accounted is how pprof tells the share of the samples that it was asked for.
var accounted = regexp.MustCompile(`accounting for .*, *([0-9.]+)% of`)

// profile prints the log's share of all processor time under load. What its garbage costs is not in it.
func (m *readMeasurement) profile(length time.Duration, out io.Writer) error {
	path := filepath.Join(m.dir, "cpu.pprof")
	if err := rig.TouchMemory(); err != nil {
		return err
	}
	fetched := make(chan error, 1)
	go func() {
		fetched <- rig.Fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", m.gateways[0].Admin, length.Seconds()), path)
	}()
	if _, err := m.load(0, length+time.Second); err != nil {
		return err
	}
	if err := <-fetched; err != nil {
		return err
	}
	for _, part := range []struct{ name, stack string }{
		{"the log, all of it", `internal/audit\.`},
		{"taking a line on", `audit\.\(\*Log\)`},
		{"chaining, writing and syncing", `audit\.\(\*queue\)\.work`},
		{"compressing complete files", `audit\.\(\*keeper\)`},
	} {
		text, err := exec.Command("go", "tool", "pprof", "-top", "-nodefraction=0", "-nodecount=1000000", "-focus", part.stack, path).CombinedOutput()
		if err != nil {
			return fmt.Errorf("reading the profile: %w: %s", err, text)
		}
		share := accounted.FindSubmatch(text)
		if share == nil {
			return fmt.Errorf("reading the profile: no share in %.300q", text)
		}
		fmt.Fprintf(out, "%s: %s %% of the processor time\n", part.name, share[1])
	}
	return nil
}
