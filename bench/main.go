// Command bench measures the gateway, as it is shipped and with everything on, beside its peers: a bare net/http handler
// and a bare httputil.ReverseProxy, which are what Go allows, nginx and Caddy. All run on one core in turn, the load on
// the other; what is compared is the server's processor time for one request, always within one round. It prints a table
// of ratios against the bars, writes it to a folder as Markdown and JSON, and leaves a row unjudged whose rounds disagree.
//
//	make bench
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
	if len(os.Args) > 1 && os.Args[1] == peerCommand {
		fmt.Fprintln(os.Stderr, "bench:", servePeer(os.Args[2:]))
		os.Exit(1)
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "how often each server has its turn")
	flag.DurationVar(&o.turn, "turn", 2*time.Second, "how long one turn is")
	flag.StringVar(&o.results, "results", "bench/results", "folder for the results; empty: none are written")
	flag.StringVar(&o.profiles, "profiles", "", "folder for a CPU profile of each gateway row; empty: none are taken")
	flag.StringVar(&o.programs, "programs", "", "folder where the built programs are kept for the next run; empty: they are not")
	only := flag.String("only", "", "measure the rows whose name matches this regular expression alone")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds   int
	turn     time.Duration
	results  string
	profiles string
	programs string
	only     *regexp.Regexp
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "gateway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.programs == "" {
		o.programs = dir
	}
	built, err := build(o.programs)
	if err != nil {
		return err
	}
	if err := rig.Pin(); err != nil {
		return err
	}
	r := newReport(o)
	for _, measure := range []func(*report, options, string, programs) error{measureRounds, measureFigures} {
		if err := measure(r, o, dir, built); err != nil {
			return err
		}
	}
	r.print(os.Stdout)
	if o.results == "" {
		return nil
	}
	return r.write(o.results)
}

// programs are the paths of what is run.
type programs struct{ gateway, caddy, nginx, self string }

// build makes the gateway as it is released, and Caddy, which has a module file of its own.
func build(dir string) (p programs, err error) {
	p = programs{gateway: filepath.Join(dir, "gateway"), caddy: filepath.Join(dir, "caddy")}
	if p.self, err = os.Executable(); err != nil {
		return p, err
	}
	if p.nginx, err = exec.LookPath("nginx"); err != nil {
		return p, fmt.Errorf("%w; install it (on Debian: apt-get install nginx-light)", err)
	}
	for _, command := range [][]string{
		{"make", "--silent", "build", "OUTPUT=" + p.gateway},
		{"go", "build", "-modfile=test/tools/caddy.mod", "-o", p.caddy, "github.com/caddyserver/caddy/v2/cmd/caddy"},
	} {
		fmt.Fprintln(os.Stderr, "building", command[len(command)-1])
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return p, fmt.Errorf("%q: %w: %s", command, err, out)
		}
	}
	return p, nil
}
