package main

import (
	"fmt"
	"path/filepath"
	"sync"

	"corp.example/gateway/bench/rig"
)

// growth is one plot: what is counted along its axis, and how a point is measured.
type growth struct {
	name, title, across string
	points              []int
	measure             func(m meter, at place, n int) ([]value, error)
}

var growths = []growth{
	{"teams", "A cached read, as the policy has more teams", "teams of 5 grants each", []int{10, 100, 1000, 10_000}, teams},
	{"grants", "A cached read, as the caller's team has more grants", "grants of the team", []int{10, 100, 1000, 10_000}, grants},
	{"answers", "A cached read, as the cache holds more answers", "answers in the cache, read evenly", []int{1000, 10_000, 100_000}, answers},
	{"waiting", "A cached read, while requests wait in queues", "waiting requests", []int{10, 100, 1000, 10_000}, waiting},
	{"projects", "A list of projects, narrowed to half, and a plain answer of its size", "projects upstream lists", []int{10, 100, 1000, 5000}, projects},
	{"replicas", "A forwarded read, as replicas share the limiter", "replicas under load at once", []int{1, 2, 3}, replicas},
}

const (
	list = "/v1/projects"
	read = "a cached read"
)

func functionsOf(i int) string { return "/v1/projects/" + rig.Ref(i) + "/functions" }

func typesOf(i int) string { return "/v1/projects/" + rig.Ref(i) + "/types/typescript" }

// withGateway runs a gateway before an upstream with some bodies.
func withGateway(at place, bodies map[string][]byte, o rig.Options, measure func(g *rig.Gateway, token string) ([]value, error)) ([]value, error) {
	var passing []string
	for path := range bodies {
		if filepath.Base(path) == "typescript" {
			passing = append(passing, path)
		}
	}
	neighbours, err := rig.NewNeighbours(bodies, passing...)
	if err != nil {
		return nil, err
	}
	defer neighbours.Close()
	g, err := neighbours.Gateway(at.binary, at.dir, o)
	if err != nil {
		return nil, err
	}
	defer g.Stop()
	token, err := g.Token(rig.Team)
	if err != nil {
		return nil, err
	}
	return measure(g, token)
}

// cachedRead measures the read of 2 KB that all of these have in common.
func cachedRead(m meter, at place, o rig.Options) ([]value, error) {
	return withGateway(at, map[string][]byte{functionsOf(0): rig.Functions(2 << 10)}, o, func(g *rig.Gateway, token string) ([]value, error) {
		micros, err := m.cost(g, rig.Request(functionsOf(0), token))
		return []value{{read, micros}}, err
	})
}

func teams(m meter, at place, n int) ([]value, error) {
	return cachedRead(m, at, rig.Options{Policy: rig.Policy(n, 5)})
}

func grants(m meter, at place, n int) ([]value, error) {
	return cachedRead(m, at, rig.Options{Policy: rig.PolicyOfOne(n)})
}

// answers differ in their query, since upstream's quota is counted by project.
func answers(m meter, at place, n int) ([]value, error) {
	bodies, requests := map[string][]byte{functionsOf(0): rig.Functions(300)}, make([][]byte, n)
	return withGateway(at, bodies, rig.Options{Memory: "2GiB"}, func(g *rig.Gateway, token string) ([]value, error) {
		for i := range requests {
			requests[i] = rig.Request(fmt.Sprintf("%s?n=%d", functionsOf(0), i), token)
		}
		if err := rig.Each(g.Address, requests); err != nil { // fill it
			return nil, err
		}
		micros, err := m.cost(g, requests...)
		return []value{{read, micros}}, err
	})
}

// waiting spreads the waiters over twenty projects: a queue is bounded.
func waiting(m meter, at place, n int) ([]value, error) {
	const queues = 20
	bodies := map[string][]byte{functionsOf(0): rig.Functions(2 << 10)}
	for i := range queues {
		bodies[typesOf(i+1)] = nil
	}
	each := (n + queues - 1) / queues
	return withGateway(at, bodies, rig.Options{Policy: rig.PolicyOfAll()}, func(g *rig.Gateway, token string) ([]value, error) {
		var paths []string
		for i := range queues {
			paths = append(paths, typesOf(i+1))
		}
		clients, err := rig.Wait(g, token, paths, each)
		defer rig.CloseAll(clients)
		if err != nil {
			return nil, err
		}
		micros, err := m.cost(g, rig.Request(functionsOf(0), token))
		return []value{{read, micros}}, err
	})
}

func projects(m meter, at place, n int) ([]value, error) {
	half := rig.Numbers(n, 2)
	bodies := map[string][]byte{list: rig.Projects(rig.Numbers(n, 1)...), functionsOf(0): rig.Functions(len(rig.Projects(half...)))}
	return withGateway(at, bodies, rig.Options{Policy: rig.PolicyOfProjects(half)}, func(g *rig.Gateway, token string) ([]value, error) {
		narrowed, err := m.cost(g, rig.Request(list, token))
		if err != nil {
			return nil, err
		}
		plain, err := m.cost(g, rig.Request(functionsOf(0), token))
		return []value{{"the narrowed list", narrowed}, {"a plain answer", plain}}, err
	})
}

// replicas loads all of them at once; they share the servers' core, which does not matter to the time that each spends.
func replicas(m meter, at place, n int) ([]value, error) {
	redis, err := rig.StartRedis(filepath.Join(at.dir, "redis"))
	if err != nil {
		return nil, err
	}
	defer redis.Stop()
	neighbours, err := rig.NewNeighbours(map[string][]byte{typesOf(0): rig.Functions(2 << 10)}, typesOf(0))
	if err != nil {
		return nil, err
	}
	defer neighbours.Close()
	var all []*rig.Gateway
	defer func() {
		for _, g := range all {
			g.Stop()
		}
	}()
	for i := range n {
		g, err := neighbours.Gateway(at.binary, filepath.Join(at.dir, string(rune('a'+i))), rig.Options{Redis: redis.URL})
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	token, err := all[0].Token(rig.Team)
	if err != nil {
		return nil, err
	}
	micros, faults := make([]float64, n), make([]error, n)
	var loads sync.WaitGroup
	for i, g := range all {
		loads.Go(func() { micros[i], faults[i] = m.cost(g, rig.Request(typesOf(0), token)) })
	}
	loads.Wait()
	var sum float64
	for i := range all {
		if faults[i] != nil {
			return nil, faults[i]
		}
		sum += micros[i] / float64(n)
	}
	return []value{{"a forwarded read", sum}}, nil
}
