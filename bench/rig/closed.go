package rig

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Connections is how many keep-alive connections the load uses, as in the figures it is compared with.
const Connections = 64

// warmUp is how long load runs before it is measured: connections are made, caches and branch predictors filled.
const warmUp = 200 * time.Millisecond

// Cost is what a server spent under load.
type Cost struct {
	Requests int64         // answered in the measured time
	Elapsed  time.Duration // the measured time
	CPU      time.Duration // the server's, in it
	Body     int64         // bytes of one answer's body
}

// Add adds what was spent in another turn.
func (c *Cost) Add(other Cost) {
	c.Requests += other.Requests
	c.Elapsed += other.Elapsed
	c.CPU += other.CPU
	c.Body = other.Body
}

// PerRequest is the server's processor time for one request.
func (c Cost) PerRequest() time.Duration { return c.CPU / time.Duration(max(c.Requests, 1)) }

// Rate is how many requests a second were answered.
func (c Cost) Rate() float64 { return float64(c.Requests) / c.Elapsed.Seconds() }

// Closed sends one request after the other on each connection for a time, each as soon as the last one's answer is there,
// and measures what that costs the server. requests are sent in turn. An answer other than 200 is an error.
func Closed(server *Process, address string, requests [][]byte, length time.Duration) (Cost, error) {
	var (
		answered atomic.Int64
		body     atomic.Int64
		stop     atomic.Bool
		workers  sync.WaitGroup
		faults   = make([]error, Connections)
	)
	for i := range Connections {
		c, err := dial(address)
		if err != nil {
			stop.Store(true)
			workers.Wait()
			return Cost{}, err
		}
		workers.Go(func() {
			defer c.Close()
			for n := i; !stop.Load(); n += Connections {
				if _, err := c.Write(requests[n%len(requests)]); err != nil {
					faults[i] = err
					return
				}
				size, err := c.answer()
				if err != nil {
					faults[i] = err
					return
				}
				answered.Add(1)
				body.Store(size)
			}
		})
	}
	cost, err := during(server, &answered, length)
	stop.Store(true)
	workers.Wait()
	cost.Body = body.Load()
	if err := cmp.Or(append(faults, err)...); err != nil { // the first says enough
		return Cost{}, fmt.Errorf("load on %s: %w", address, err)
	}
	return cost, nil
}

func during(server *Process, answered *atomic.Int64, length time.Duration) (Cost, error) {
	time.Sleep(warmUp)
	began, before := time.Now(), answered.Load()
	cpuBefore, err := server.CPU()
	if err != nil {
		return Cost{}, err
	}
	time.Sleep(length)
	cpuAfter, err := server.CPU()
	return Cost{Requests: answered.Load() - before, Elapsed: time.Since(began), CPU: cpuAfter - cpuBefore}, err
}
