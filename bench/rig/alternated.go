package rig

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// turn is so short that what else the machine does falls on all gateways alike: how fast it is changes within seconds.
	turn = 20 * time.Millisecond
	// resting is how long a gateway's processor time stands still when it has nothing to do any more.
	resting = 100 * time.Microsecond
)

// Alternated is Polled for several gateways, which take turns on connections that stay. A gateway's turn ends, and its time, when it
// has done all that its requests have left it to do; its processor time is all that it used, in the turns of the others too.
func Alternated(gateways []*Gateway, request []byte, length time.Duration) ([]Cost, error) {
	clients := make([]polledClients, len(gateways))
	for i, g := range gateways {
		var err error
		if clients[i], err = pollClients(g.Address); err != nil {
			return nil, err
		}
		defer clients[i].close()
	}
	if _, err := alternate(gateways, clients, request, warmUp); err != nil {
		return nil, err
	}
	return alternate(gateways, clients, request, length)
}

func alternate(gateways []*Gateway, clients []polledClients, request []byte, length time.Duration) ([]Cost, error) {
	costs := make([]Cost, len(gateways))
	for i, g := range gateways {
		used, err := g.CPU()
		if err != nil {
			return nil, err
		}
		costs[i].CPU = -used
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, i := range rand.Perm(len(gateways)) { // what one has left to the kernel falls on each of the others
			cost, err := gateways[i].takeTurn(clients[i], request)
			if err != nil {
				return nil, fmt.Errorf("load on %s: %w", gateways[i].Address, err)
			}
			costs[i].Add(cost)
		}
	}
	for i, g := range gateways {
		used, err := g.CPU()
		if err != nil {
			return nil, err
		}
		costs[i].CPU += used
	}
	return costs, nil
}

// takeTurn is one gateway's. What it cost the processor is not told.
func (g *Gateway) takeTurn(clients polledClients, request []byte) (Cost, error) {
	var answered atomic.Int64
	began := time.Now()
	if err := clients.poll(request, nil, func() bool { return time.Since(began) > turn }, &answered); err != nil {
		return Cost{}, err
	}
	if err := g.awaitRest(); err != nil {
		return Cost{}, err
	}
	return Cost{Requests: answered.Load(), Elapsed: time.Since(began) - resting, Body: clients[0].size}, nil
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
