// Command growth measures what one request costs the gateway as things become many, and draws it: teams, grants, stored
// answers, waiting requests, projects of a list, replicas. All points of a plot are set up first and then take turns, each
// on the servers' core alone, so that what else the machine does falls on all of them; a point is its median turn.
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
	"time"

	"corp.example/gateway/bench/rig"
)

func main() {
	var o options
	flag.StringVar(&o.folder, "folder", "docs/performance", "folder for the plots and the table")
	flag.DurationVar(&o.turn, "turn", time.Second, "how long one turn is")
	flag.IntVar(&o.turns, "turns", 5, "how many turns each point has")
	flag.IntVar(&o.most, "most", 0, "leave out the points beyond this; 0: none")
	only := flag.String("only", "", "measure the plots whose name matches this regular expression alone, and write no table")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

type options struct {
	folder string
	turn   time.Duration
	turns  int
	most   int
	only   *regexp.Regexp
}

func run(o options) error {
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
	if err := os.MkdirAll(o.folder, 0o755); err != nil {
		return err
	}
	var all []*plot
	for _, g := range growths {
		if !o.only.MatchString(g.name) {
			continue
		}
		began := time.Now()
		p, err := g.draw(o, binary, filepath.Join(dir, g.name))
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", g.name, time.Since(began).Round(time.Second))
		fmt.Print(p.rows())
		all = append(all, p)
		if err := os.WriteFile(filepath.Join(o.folder, g.name+".svg"), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	if len(all) < len(growths) {
		return nil
	}
	return os.WriteFile(filepath.Join(o.folder, "growth.md"), []byte(table(o, all)), 0o644)
}

// draw sets up every point of a plot and lets them take turns.
func (g *growth) draw(o options, binary, dir string) (*plot, error) {
	var stands []*stand
	var points []int
	for _, n := range g.points {
		if o.most > 0 && n > o.most {
			break
		}
		s := &stand{binary: binary, dir: filepath.Join(dir, fmt.Sprint(n))}
		defer s.close()
		if err := g.setUp(s, n); err != nil {
			return nil, fmt.Errorf("setting up %d: %w", n, err)
		}
		stands, points = append(stands, s), append(points, n)
	}
	p := &plot{title: g.title, across: g.across, claim: g.claim}
	for turn := range 1 + o.turns {
		for i, s := range stands {
			for _, line := range s.lines {
				micros, err := line.turn(o.turn)
				if err != nil {
					return nil, fmt.Errorf("at %d: %w", points[i], err)
				}
				if turn > 0 { // the first warms up: heaps grow, limiters learn
					p.add(line.name, float64(points[i]), micros)
				}
			}
		}
	}
	return p, nil
}
