package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"corp.example/gateway/bench/rig"
)

// growth is one plot: what is counted along its axis, what is claimed, and how a point of it is set up.
type growth struct {
	name, title, across string
	claim               claim
	points              []int
	setUp               func(s *stand, n int) error
}

var growths = []growth{
	{"teams", "A cached read, as the policy has more teams", "teams of 5 grants each", flat, []int{10, 100, 1000, 10_000}, teams},
	{"grants", "A cached read, as the caller's team has more grants", "grants of the team", flat, []int{10, 100, 1000, 10_000}, grants},
	{"answers", "A cached read, as the cache holds more answers", "answers in the cache, read evenly", logarithmic, []int{1000, 10_000, 100_000, 1_000_000}, answers},
	{"waiting", "A cached read, while requests wait in queues", "waiting requests", flat, []int{10, 100, 1000, 10_000}, waiting},
	{"projects", "A list of projects, narrowed to half, and a plain answer of its size", "projects upstream lists", linear, []int{10, 1000, 2500, 5000}, projects},
	{"replicas", "A forwarded read, as replicas share the limiter", "replicas under load at once", linear, []int{1, 2, 3}, replicas},
}

const (
	list = "/v1/projects"
	read = "a cached read"
)

func functionsOf(i int) string { return "/v1/projects/" + rig.Ref(i) + "/functions" }

func typesOf(i int) string { return "/v1/projects/" + rig.Ref(i) + "/types/typescript" }

// cachedRead measures the read of 2 KB that most of these have in common.
func cachedRead(s *stand, bodies map[string][]byte, o rig.Options) (*rig.Gateway, string, error) {
	bodies[functionsOf(0)] = rig.Functions(2 << 10)
	g, token, err := s.gateway(bodies, o)
	if err == nil {
		s.cached(read, g, rig.Request(functionsOf(0), token))
	}
	return g, token, err
}

func teams(s *stand, n int) error {
	_, _, err := cachedRead(s, map[string][]byte{}, rig.Options{Policy: rig.Policy(n, 5)})
	return err
}

func grants(s *stand, n int) error {
	_, _, err := cachedRead(s, map[string][]byte{}, rig.Options{Policy: rig.PolicyOfOne(n)})
	return err
}

// answers differ in their query, since upstream's quota is counted by project.
func answers(s *stand, n int) error {
	g, token, err := s.gateway(map[string][]byte{functionsOf(0): rig.Functions(300)}, rig.Options{Memory: "4GiB"})
	if err != nil {
		return err
	}
	requests := make([][]byte, n)
	for i, number := range rand.Perm(n) { // neighbours in time are none in memory
		requests[i] = rig.Request(fmt.Sprintf("%s?n=%d", functionsOf(0), number), token)
	}
	if err := rig.Each(g.Address, requests); err != nil { // fill it
		return err
	}
	s.cached(read, g, requests...)
	return nil
}

// waiting spreads the waiters over twenty projects: a queue is bounded.
func waiting(s *stand, n int) error {
	queues := min(n, 20)
	bodies := map[string][]byte{}
	var paths []string
	for i := range queues {
		paths = append(paths, typesOf(i+1))
		bodies[paths[i]] = nil
	}
	g, token, err := cachedRead(s, bodies, rig.Options{Policy: rig.PolicyOfAll()})
	if err != nil {
		return err
	}
	clients, err := rig.Wait(g, token, paths, n/queues)
	s.closeLater(func() { rig.CloseAll(clients) })
	return err
}

func projects(s *stand, n int) error {
	half := rig.Numbers(n, 2)
	bodies := map[string][]byte{list: rig.Projects(rig.Numbers(n, 1)...), functionsOf(0): rig.Functions(len(rig.Projects(half...)))}
	g, token, err := s.gateway(bodies, rig.Options{Policy: rig.PolicyOfProjects(half)})
	if err != nil {
		return err
	}
	s.cached("the narrowed list", g, rig.Request(list, token))
	s.cached("a plain answer", g, rig.Request(functionsOf(0), token))
	return nil
}

// replicas are loaded all at once; they share the servers' core, which does not matter to the time that each spends.
func replicas(s *stand, n int) error {
	redis, err := rig.StartRedis(filepath.Join(s.dir, "redis"))
	if err != nil {
		return err
	}
	s.closeLater(redis.Stop)
	neighbours, err := rig.NewNeighbours(map[string][]byte{typesOf(0): rig.Functions(2 << 10)}, typesOf(0))
	if err != nil {
		return err
	}
	s.closeLater(neighbours.Close)
	all := make([]*rig.Gateway, n)
	for i := range all {
		if all[i], err = neighbours.Gateway(s.binary, filepath.Join(s.dir, fmt.Sprint("replica-", i)), rig.Options{Redis: redis.URL}); err != nil {
			return err
		}
		s.closeLater(all[i].Kill)
	}
	token, err := all[0].Token(rig.Team)
	if err != nil {
		return err
	}
	s.measure("a forwarded read", func(length time.Duration) (float64, error) {
		micros, faults := make([]float64, n), make([]error, n)
		var loads sync.WaitGroup
		for i, g := range all {
			loads.Go(func() { micros[i], faults[i] = cost(g, length, rig.Request(typesOf(0), token)) })
		}
		loads.Wait()
		return mean(micros), cmp.Or(faults...)
	})
	return nil
}
