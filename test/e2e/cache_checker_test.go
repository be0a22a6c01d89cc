package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"corp.example/gateway/test/harness"
	"corp.example/gateway/test/redis"
)

// register is an upstream of one number: a write raises it, a read tells it. It takes its time before and after it looks.
type register struct{ value atomic.Int64 }

func (g *register) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plenty(w)
	w.Header().Set("Content-Type", "application/json")
	time.Sleep(rand.N(3 * time.Millisecond))
	var value int64
	if r.Method == http.MethodGet {
		value = g.value.Load()
	} else {
		value = g.value.Add(1)
	}
	time.Sleep(rand.N(10 * time.Millisecond))
	fmt.Fprintf(w, "[%d]", value)
}

// checker reads on all replicas while one writes, and knows which answers come too late.
type checker struct {
	t           *testing.T
	all         []*harness.Gateway
	token, path string

	told        atomic.Int64 // the last write whose answer has come
	reads, hits atomic.Int64
}

func (c *checker) write() {
	a := c.all[0].Do(c.token, http.MethodPost, own+"/secrets", `[{"name":"A","value":"b"}]`)
	if unlimited(c.t, a) {
		return
	}
	value, err := strconv.ParseInt(strings.Trim(a.Text, "[]\n"), 10, 64)
	if a.StatusCode != http.StatusOK || err != nil {
		c.t.Errorf("a write was answered %d %s", a.StatusCode, a.Text)
		return
	}
	c.told.Store(value)
}

func (c *checker) read(replica int) {
	floor := c.told.Load()
	a := c.all[replica].Get(c.token, c.path)
	if unlimited(c.t, a) {
		return
	}
	got, err := strconv.ParseInt(strings.Trim(a.Text, "[]\n"), 10, 64)
	switch {
	case a.StatusCode != http.StatusOK || err != nil:
		c.t.Errorf("a read was answered %d %s", a.StatusCode, a.Text)
	case got < floor:
		c.t.Errorf("a read on replica %d that began after write %d was answered told of %d (%s)", replica, floor, got, a.Header.Get("Cache-Status"))
	}
	c.reads.Add(1)
	if isHit(a) {
		c.hits.Add(1)
	}
}

// unlimited tells the limiter's refusals, which fails closed without Redis; nothing was sent to upstream.
func unlimited(t *testing.T, a harness.Answer) bool {
	return a.StatusCode == http.StatusServiceUnavailable && a.Problem(t).Code == "limiter_unavailable"
}

// run reads and writes until the faults are over.
func (c *checker) run(faults func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			c.write()
			time.Sleep(rand.N(60 * time.Millisecond))
		}
	})
	for i := range 8 {
		group.Go(func() {
			for ctx.Err() == nil {
				c.read(i % len(c.all))
				time.Sleep(rand.N(4 * time.Millisecond))
			}
		})
	}
	faults()
	cancel()
	group.Wait()
	c.t.Logf("%d writes, %d reads, %d of them hits", c.told.Load(), c.reads.Load(), c.hits.Load())
	if c.hits.Load() < c.reads.Load()/20 {
		c.t.Error("hardly any hits: the test tests nothing")
	}
}

// TestNoReadBehindAWriteReturnsTheOlderState: writes on one replica, reads on it and the other, and a Redis that is
// flushed, paused and killed meanwhile. A read that starts after a write's answer never returns an older state, and no
// request fails because of the cache.
func TestNoReadBehindAWriteReturnsTheOlderState(t *testing.T) {
	for name, faults := range map[string]func(*redis.Server){
		"Redis works": func(*redis.Server) { time.Sleep(3 * time.Second) },
		"Redis is flushed": func(s *redis.Server) {
			for range 3 {
				time.Sleep(700 * time.Millisecond)
				s.Flush()
			}
			time.Sleep(time.Second)
		},
		"Redis is paused": func(s *redis.Server) {
			for _, pause := range []time.Duration{400 * time.Millisecond, 1200 * time.Millisecond, 2500 * time.Millisecond} {
				time.Sleep(time.Second)
				s.Pause()
				time.Sleep(pause)
				s.Resume()
			}
			time.Sleep(2 * time.Second)
		},
		"Redis is killed": func(s *redis.Server) {
			time.Sleep(time.Second)
			s.Kill()
			time.Sleep(3 * time.Second)
			s.Restart()
			time.Sleep(3 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			all, server := replicas(t, 2, harness.Options{Front: func(http.Handler) http.Handler { return &register{} }})
			c := &checker{t: t, all: all, token: all[0].JWT("ada"), path: own + "/functions"}
			c.write()
			c.run(func() { faults(server) })
			trusting(t, all...)
			warm(t, all[1], c.token, c.path)
		})
	}
}
