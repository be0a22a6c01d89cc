package main

import (
	"flag"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"corp.example/gateway/bench/rig"
)

// The two logs that are compared. Standard output is /dev/null here: encoding, handing over, chaining and signing are in
// both, but writing, syncing and compressing files are not.
const (
	toFiles  = "[{file: {dir: audit, max_total: 256MiB}, required: true}]"
	toNobody = "[{stdout: true, required: true}]"
)

// changes is how often the two change within a round, so that what else the machine does falls on both.
const changes = 8

// cachedRead measures what the log costs a cached read in two ways: the file's part as a ratio of processor time between
// two gateways, and all of it as the share of the samples of a CPU profile.
func cachedRead(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("read", flag.ContinueOnError)
	binary := flags.String("gateway", "./gateway", "the built program")
	rounds := flags.Int("rounds", 7, "how often each is measured, in turn")
	turn := flags.Duration("turn", 2*time.Second, "how long one measurement takes")
	length := flags.Duration("profile", 30*time.Second, "how long the CPU profile takes: 10 s hold some 300 samples, 50 of them the log's")
	parent := flags.String("dir", "", "a folder on the disk to measure; default: the system's for temporary files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return withFolder(*parent, func(dir string) error {
		if err := rig.Pin(); err != nil {
			return err
		}
		path := "/v1/projects/" + rig.Ref(0) + "/functions"
		neighbours, err := rig.NewNeighbours(map[string][]byte{path: rig.Functions(2 << 10)})
		if err != nil {
			return err
		}
		defer neighbours.Close()
		request := rig.Request(path, neighbours.JWT())
		var gateways []*rig.Gateway
		for i, sinks := range []string{toFiles, toNobody} {
			g, err := neighbours.Gateway(*binary, filepath.Join(dir, strconv.Itoa(i)), rig.Options{Audit: sinks})
			if g != nil && g.Process != nil {
				defer g.Stop()
			}
			if err != nil {
				return err
			}
			gateways = append(gateways, g)
		}
		micros := make([][]float64, len(gateways))
		for range *rounds {
			spent := make([]rig.Cost, len(gateways))
			for range changes {
				if err := rig.TouchMemory(); err != nil {
					return err
				}
				for i, g := range gateways {
					cost, err := rig.Polled(g.Process, g.Address, request, nil, *turn/changes)
					if err != nil {
						return err
					}
					spent[i].Add(cost)
				}
			}
			for i := range spent {
				micros[i] = append(micros[i], float64(spent[i].PerRequest().Nanoseconds())/1000)
			}
		}
		var ratios []float64
		for i := range micros[0] {
			ratios = append(ratios, micros[0][i]/micros[1][i])
		}
		fmt.Fprintf(out, "Processor time of a cached read, median of rounds (range): %s µs to files, %s µs to /dev/null, files / /dev/null %s.\n",
			spread(micros[0], "%.1f"), spread(micros[1], "%.1f"), spread(ratios, "%.3f"))
		return profiled(out, gateways[0], request, *length, filepath.Join(dir, "cpu.pprof"))
	})
}

// spread prints a median and its range.
func spread(values []float64, format string) string {
	values = slices.Sorted(slices.Values(values))
	return fmt.Sprintf(format+" ("+format+" to "+format+")", values[len(values)/2], values[0], values[len(values)-1])
}

// accounted is how pprof tells the share of the samples that it was asked for.
var accounted = regexp.MustCompile(`accounting for .*, *([0-9.]+)% of`)

// profiled prints the log's share of all processor time under load. What its garbage costs is not in it.
func profiled(out io.Writer, g *rig.Gateway, request []byte, length time.Duration, path string) error {
	if err := rig.TouchMemory(); err != nil {
		return err
	}
	fetched := make(chan error, 1)
	go func() {
		fetched <- rig.Fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", g.Admin, length.Seconds()), path)
	}()
	if _, err := rig.Polled(g.Process, g.Address, request, nil, length+time.Second); err != nil {
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
