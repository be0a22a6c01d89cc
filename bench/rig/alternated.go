package rig

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"
)

// Served is a server under load and where it listens.
type Served struct {
	*Process
	Address string
}

const (
	// turn is so short that what else the machine does falls on all servers alike: how fast it is changes within seconds.
	turn = 20 * time.Millisecond
	// resting is how long a server's processor time stands still when it has nothing to do any more.
	resting = 100 * time.Microsecond
)

// Alternated is Polled for several servers, which take turns on connections that stay. A server's turn ends, and its time, when it
// has done all that its requests have left it to do; its processor time is all that it used, in the turns of the others too.
func Alternated(servers []Served, request []byte, length time.Duration) ([]Cost, error) {
	clients := make([][]*polledClient, len(servers))
	for i, s := range servers {
		for range Connections {
			c, err := pollClient(s.Address)
			if err != nil {
				return nil, err
			}
			defer c.Close()
			clients[i] = append(clients[i], c)
		}
	}
	if _, err := alternate(servers, clients, request, warmUp); err != nil {
		return nil, err
	}
	return alternate(servers, clients, request, length)
}

func alternate(servers []Served, clients [][]*polledClient, request []byte, length time.Duration) ([]Cost, error) {
	costs := make([]Cost, len(servers))
	for i, s := range servers {
		used, err := s.CPU()
		if err != nil {
			return nil, err
		}
		costs[i].CPU = -used
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, i := range rand.Perm(len(servers)) { // what one has left to the kernel falls on each of the others
			began := time.Now()
			answered, err := pollUntil(began.Add(turn), clients[i], request)
			if err == nil {
				err = servers[i].awaitRest()
			}
			if err != nil {
				return nil, fmt.Errorf("load on %s: %w", servers[i].Address, err)
			}
			costs[i].Requests += answered
			costs[i].Elapsed += time.Since(began) - resting
		}
	}
	for i, s := range servers {
		used, err := s.CPU()
		if err != nil {
			return nil, err
		}
		costs[i].CPU += used
	}
	return costs, nil
}

// pollUntil sends requests until then, and returns when all are answered.
func pollUntil(then time.Time, clients []*polledClient, request []byte) (answered int64, err error) {
	for open := true; open; {
		ending := time.Now().After(then)
		open = !ending
		for _, c := range clients {
			if ending && !c.asked {
				continue
			}
			came, err := c.turn(request, ending)
			if err != nil {
				return answered, err
			}
			if came {
				answered++
			}
			open = open || c.asked
		}
		runtime.Gosched() // the neighbours are in this process
	}
	return answered, nil
}

// awaitRest waits until the process has nothing to do.
func (p *Process) awaitRest() error {
	for before := time.Duration(-1); ; {
		used, err := p.CPU()
		if err != nil || used == before {
			return err
		}
		before = used
		for began := time.Now(); time.Since(began) < resting; {
		}
	}
}
