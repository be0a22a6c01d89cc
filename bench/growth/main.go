// Command growth measures what one request costs the gateway as things become many, and draws it: teams, grants, stored
// answers, waiting requests, projects of a list, replicas. Each figure is the median of a few turns, on a core of its own.
//
//	make growth
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"corp.example/gateway/bench/rig"
)

func main() {
	folder := flag.String("folder", "docs/performance", "folder for the plots and the table")
	turn := flag.Duration("turn", time.Second, "how long one turn is")
	turns := flag.Int("turns", 5, "how many turns the median is of")
	only := flag.String("only", "", "measure the plots whose name matches this regular expression alone")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err == nil {
		err = run(*folder, meter{*turn, *turns}, chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// meter is how long is measured.
type meter struct {
	turn  time.Duration
	turns int
}

func run(folder string, m meter, chosen *regexp.Regexp) error {
	dir, err := os.MkdirTemp("", "gateway-growth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "gateway")
	if out, err := exec.Command("make", "--silent", "build", "OUTPUT="+binary).CombinedOutput(); err != nil {
		return fmt.Errorf("building the gateway: %w: %s", err, out)
	}
	if err := rig.Pin(); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, g := range growths {
		if !chosen.MatchString(g.name) {
			continue
		}
		p := plot{title: g.title, across: g.across}
		for _, n := range g.points {
			at := place{binary, filepath.Join(dir, fmt.Sprintf("%s-%d", g.name, n))}
			values, err := g.measure(m, at, n)
			if err != nil {
				return fmt.Errorf("%s at %d: %w", g.name, n, err)
			}
			fmt.Printf("%s, %d: %s\n", g.name, n, strings.Join(words(values), ", "))
			p.add(float64(n), values)
		}
		if err := os.WriteFile(filepath.Join(folder, g.name+".svg"), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// place is where one gateway is made.
type place struct{ binary, dir string }

// value is one line's value at a point.
type value struct {
	line   string
	micros float64
}

func words(values []value) []string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf("%s %.1f µs", v.line, v.micros))
	}
	return all
}

// cost is the median of a gateway's processor time for one of the requests, in microseconds.
func (m meter) cost(g *rig.Gateway, requests ...[]byte) (float64, error) {
	var all []float64
	for range m.turns {
		cost, err := rig.Closed(g.Process, g.Address, requests, m.turn)
		if err != nil {
			return 0, err
		}
		all = append(all, float64(cost.PerRequest().Nanoseconds())/1000)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
