package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"corp.example/gateway/bench/rig"
)

// figure is a row that is no ratio of two servers under load.
type figure struct {
	what, unit   string
	bar, stretch float64
	rounds       int
	measure      func(dir string, p programs) (float64, error)
}

var figures = []figure{
	{"allocations of a cached read beyond the bare handler's", "", 12, 5, 3, allocations},
	{"10,000 idle keep-alive clients, resident", "MiB", 400, 250, 1, idleClients},
	{"5,000 requests waiting in queues, resident", "MiB", 150, 80, 3, queuedRequests},
	{"the same that wait at the net/http handler", "MiB", 0, 0, 1, heldByTheHandler},
	{"5,000 waiting requests freed when their clients leave", "s", 1, 0.3, 3, cancelledRequests},
	{"start to ready, 1,000 teams, 20,000 grants", "ms", 1000, 300, 5, startToReady},
	{"binary, stripped", "MiB", 45, 30, 1, binarySize},
}

// measureFigures adds the chosen figures, each measured with a gateway of its own.
func measureFigures(r *report, o options, dir string, p programs) error {
	for i, f := range figures {
		if !o.only.MatchString(f.what) {
			continue
		}
		fmt.Fprintln(os.Stderr, f.what)
		rounds, err := f.repeat(filepath.Join(dir, fmt.Sprintf("figure-%d", i)), p)
		if err != nil { // the other rows are worth having
			r.add(row{What: f.what, Unit: f.unit, Bar: f.bar, Stretch: f.stretch, Verdict: "not measured: " + err.Error()})
			continue
		}
		r.add(newRow(f.what, "", f.unit, rounds, f.bar, f.stretch))
	}
	return nil
}

func (f figure) repeat(dir string, p programs) (rounds []float64, err error) {
	for round := range f.rounds {
		value, err := f.measure(filepath.Join(dir, strconv.Itoa(round)), p)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, value)
	}
	return rounds, nil
}

const mebibyte = 1 << 20

// spent are paths of ten projects, whose quota somebody else has spent.
func spent() (paths []string) {
	for i := range 10 {
		paths = append(paths, "/v1/projects/"+rig.Ref(i)+"/types/typescript")
	}
	return paths
}

// withGateway measures one thing of one gateway.
func withGateway(dir string, p programs, o rig.Options, measure func(g *rig.Gateway, token string) (float64, error)) (float64, error) {
	bodies := map[string][]byte{small: rig.Functions(2 << 10)}
	for _, path := range spent() {
		bodies[path] = nil
	}
	neighbours, err := rig.NewNeighbours(bodies)
	if err != nil {
		return 0, err
	}
	defer neighbours.Close()
	g, err := neighbours.Gateway(p.gateway, dir, o)
	if err != nil {
		return 0, err
	}
	defer g.Stop()
	token, err := g.Token(rig.Team)
	if err != nil {
		return 0, err
	}
	return measure(g, token)
}

// allocations counts what the runtimes of both processes say they allocated while they answered.
func allocations(dir string, p programs) (float64, error) {
	ours, err := withGateway(dir, p, rig.Options{}, func(g *rig.Gateway, token string) (float64, error) {
		return perRequest(g.Process, g.Address, rig.Request(small, token), "http://"+g.Admin+"/metrics", mallocs)
	})
	if err != nil {
		return 0, err
	}
	theirs, err := withHandler(dir, p, func(bare *rig.Process, address string) (float64, error) {
		return perRequest(bare, address, rig.Request("/small", strings.Repeat("x", 40)), "http://"+address+"/mallocs", number)
	})
	return ours - theirs, err
}

var number = regexp.MustCompile(`^(\d+)`)

// withHandler measures one thing of the bare handler.
func withHandler(dir string, p programs, measure func(bare *rig.Process, address string) (float64, error)) (float64, error) {
	answers := filepath.Join(dir, "answers")
	if err := os.MkdirAll(answers, 0o700); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(answers, "small"), rig.Functions(2<<10), 0o600); err != nil {
		return 0, err
	}
	f := &field{}
	defer f.close()
	bare, address, err := f.peer(p, "handler", answers)
	if err != nil {
		return 0, err
	}
	return measure(bare, address)
}

var mallocs = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)

func perRequest(server *rig.Process, address string, request []byte, url string, counter *regexp.Regexp) (float64, error) {
	if _, err := rig.Closed(server, address, [][]byte{request}, 200*time.Millisecond); err != nil { // connections and pools exist
		return 0, err
	}
	before, err := rig.Told(url, counter)
	if err != nil {
		return 0, err
	}
	n := 500 * rig.Connections
	if err := rig.Exactly(address, request, n); err != nil {
		return 0, err
	}
	after, err := rig.Told(url, counter)
	return (after - before) / float64(n), err
}

// idleClients is what the gateway holds once each of many clients has had an answer and keeps its connection.
func idleClients(dir string, p programs) (float64, error) {
	return withGateway(dir, p, rig.Options{}, func(g *rig.Gateway, token string) (float64, error) {
		clients, err := rig.Connect(g.Address, rig.Request(small, token), 10_000, true)
		defer rig.CloseAll(clients)
		if err != nil {
			return 0, err
		}
		resident, err := g.Resident()
		return float64(resident) / mebibyte, err
	})
}

// waiting is how many requests wait.
const waiting = 5000

// withQueue has them wait in the queues of ten projects, each on a connection of its own; no other connection is
// open. Upstream has answered 429 to the first of each project, which waits like the others.
func withQueue(dir string, p programs, measure func(g *rig.Gateway, clients []net.Conn) (float64, error)) (float64, error) {
	return withGateway(dir, p, rig.Options{}, func(g *rig.Gateway, token string) (float64, error) {
		clients, err := rig.Wait(g, token, spent(), waiting/len(spent()))
		defer rig.CloseAll(clients)
		if err != nil {
			return 0, err
		}
		return measure(g, clients)
	})
}

// queuedRequests is all that the gateway holds then: what it holds with nothing to do is part of it, and so is what the
// collector has not freed yet.
func queuedRequests(dir string, p programs) (float64, error) {
	return withQueue(dir, p, func(g *rig.Gateway, _ []net.Conn) (float64, error) {
		resident, err := g.Resident()
		return float64(resident) / mebibyte, err
	})
}

// heldByTheHandler is what net/http alone holds for as many requests: the gateway cannot hold less.
func heldByTheHandler(dir string, p programs) (float64, error) {
	return withHandler(dir, p, func(bare *rig.Process, address string) (float64, error) {
		clients, err := rig.Connect(address, rig.Request("/wait", strings.Repeat("x", 40)), waiting, false)
		defer rig.CloseAll(clients)
		if err != nil {
			return 0, err
		}
		if err := rig.AwaitTold("http://"+address+"/waiting", number, waiting); err != nil {
			return 0, err
		}
		resident, err := bare.Resident()
		return float64(resident) / mebibyte, err
	})
}

// cancelledRequests is how long the queue takes to be empty once all clients have left at the same moment.
func cancelledRequests(dir string, p programs) (float64, error) {
	return withQueue(dir, p, func(g *rig.Gateway, clients []net.Conn) (float64, error) {
		began := time.Now()
		rig.CloseAll(clients)
		err := g.AwaitQueued(0)
		return time.Since(began).Seconds(), err
	})
}

func startToReady(dir string, p programs) (float64, error) {
	return withGateway(dir, p, rig.Options{Policy: rig.Policy(1000, 20)}, func(g *rig.Gateway, _ string) (float64, error) {
		g.Stop()
		began := time.Now()
		if err := g.Launch(); err != nil {
			return 0, err
		}
		return float64(time.Since(began).Microseconds()) / 1000, nil
	})
}

func binarySize(_ string, p programs) (float64, error) {
	info, err := os.Stat(p.gateway)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / mebibyte, nil
}
