package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"corp.example/gateway/bench/rig"
)

// stand is what stands ready to be measured at one point of a plot: gateways, their neighbours, and clients that wait.
type stand struct {
	binary string
	dir    string
	asked  func() int64 // how often upstream was
	lines  []line
	closes []func()
}

// line is one thing that is measured at the point.
type line struct {
	name string
	turn func(length time.Duration) (micros float64, err error)
}

func (s *stand) measure(name string, turn func(length time.Duration) (float64, error)) {
	s.lines = append(s.lines, line{name, turn})
}

func (s *stand) closeLater(what func()) { s.closes = append(s.closes, what) }

// close ends everything, in the reverse order.
func (s *stand) close() {
	for _, what := range slices.Backward(s.closes) {
		what()
	}
}

// gateway starts a gateway before an upstream with some bodies. The token is one of Team.
func (s *stand) gateway(bodies map[string][]byte, o rig.Options) (*rig.Gateway, string, error) {
	neighbours, err := rig.NewNeighbours(bodies)
	if err != nil {
		return nil, "", err
	}
	s.closeLater(neighbours.Close)
	g, err := neighbours.Gateway(s.binary, filepath.Join(s.dir, "gateway"), o)
	if err != nil {
		return nil, "", err
	}
	s.closeLater(g.Kill) // it has been measured; nobody needs its farewell
	s.asked = neighbours.Asked.Load
	token, err := g.Token(rig.Team)
	return g, token, err
}

// cached measures requests that the cache answers, sent in their order from anywhere on. It is an error where upstream is
// asked meanwhile.
func (s *stand) cached(name string, g *rig.Gateway, requests ...[]byte) {
	s.measure(name, func(length time.Duration) (float64, error) {
		from := rand.IntN(len(requests))
		turned := slices.Concat(requests[from:], requests[:from])
		if err := rig.Exactly(g.Address, requests[from], 1); err != nil { // it may not be stored yet
			return 0, err
		}
		before := s.asked()
		micros, err := cost(g, length, turned...)
		if asked := s.asked() - before; asked > 0 && err == nil {
			return 0, fmt.Errorf("upstream was asked %d times for what should be in the cache", asked)
		}
		return micros, err
	})
}

// cost is a gateway's processor time for one of the requests, in microseconds.
func cost(g *rig.Gateway, length time.Duration, requests ...[]byte) (float64, error) {
	cost, err := rig.Closed(g.Process, g.Address, requests, length)
	return float64(cost.PerRequest().Nanoseconds()) / 1000, err
}

func mean(values []float64) (sum float64) {
	for _, value := range values {
		sum += value / float64(len(values))
	}
	return sum
}
