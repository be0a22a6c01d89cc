package rig

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"sync"
)

// Connect opens so many connections and sends a request on each. Where answered is set it reads each answer; otherwise it
// leaves them waiting. What was opened is returned with an error too.
func Connect(address string, request []byte, n int, answered bool) ([]net.Conn, error) {
	var clients []net.Conn
	for range n {
		c, err := dial(address)
		if err != nil {
			return clients, fmt.Errorf("connection %d: %w", len(clients)+1, err)
		}
		clients = append(clients, c.Conn) // not its reader: the load's memory is not what is measured, but it is finite
		if _, err := c.Write(request); err != nil {
			return clients, err
		}
		if !answered {
			continue
		}
		if _, err := c.answer(); err != nil {
			return clients, fmt.Errorf("connection %d: %w", len(clients), err)
		}
	}
	return clients, nil
}

// Wait opens so many connections for each path, whose quota must be spent, with a request on each, and returns once all of
// them wait in the gateway's queues. What was opened is returned with an error too.
func Wait(g *Gateway, token string, paths []string, each int) ([]net.Conn, error) {
	var clients []net.Conn
	for _, path := range paths {
		some, err := Connect(g.Address, Request(path, token), each, false)
		clients = append(clients, some...)
		if err != nil {
			return clients, err
		}
	}
	return clients, g.AwaitQueued(len(clients))
}

// CloseAll closes connections; those that are closed already do not matter.
func CloseAll(clients []net.Conn) {
	for _, c := range clients {
		_ = c.Close()
	}
}

// Exactly sends one request so many times.
func Exactly(address string, request []byte, n int) error {
	return Each(address, slices.Repeat([][]byte{request}, n))
}

// Each sends every request once, over the usual number of connections.
func Each(address string, requests [][]byte) error {
	var workers sync.WaitGroup
	faults := make([]error, Connections)
	for i := range Connections {
		workers.Go(func() {
			c, err := dial(address)
			if err != nil {
				faults[i] = err
				return
			}
			defer c.Close()
			for n := i; n < len(requests); n += Connections {
				if _, faults[i] = c.Write(requests[n]); faults[i] != nil {
					return
				}
				if _, faults[i] = c.answer(); faults[i] != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(faults...) // the first says enough
}
