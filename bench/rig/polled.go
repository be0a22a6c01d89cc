package rig

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Polled is Closed by one thread that never sleeps: it looks at its connections in turn. Load that sleeps has to be woken by
// the server, whose kernel pays for that: several microseconds on a virtual machine, and the more often, the more time the
// server leaves the load to sleep. Over a real network the interface does it. The same thread is the upstream of a server that
// asks one; nil for a server that does not.
func Polled(server *Process, address string, request []byte, upstream *PolledUpstream, length time.Duration) (Cost, error) {
	clients, err := pollClients(address)
	if err != nil {
		return Cost{}, err
	}
	defer clients.close()
	var (
		answered atomic.Int64
		stop     atomic.Bool
		ended    = make(chan error, 1)
	)
	go func() {
		runtime.LockOSThread()
		ended <- clients.poll(request, upstream, stop.Load, &answered)
	}()
	cost, err := during(server, &answered, length)
	stop.Store(true)
	if err := cmp.Or(<-ended, err); err != nil {
		return Cost{}, fmt.Errorf("load on %s: %w", address, err)
	}
	cost.Body = clients[0].size
	return cost, nil
}

// polledClients are the connections of one thread to one server.
type polledClients []*polledClient

func pollClients(address string) (clients polledClients, err error) {
	for range Connections {
		c, err := pollClient(address)
		if err != nil {
			clients.close()
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

func (clients polledClients) close() {
	for _, c := range clients {
		c.Close()
	}
}

// poll sends requests on all connections until it is ending, and returns when all are answered: a client that leaves is another
// measurement.
func (clients polledClients) poll(request []byte, upstream *PolledUpstream, ending func() bool, answered *atomic.Int64) error {
	for open := true; open; {
		ending := ending()
		open = !ending
		for _, c := range clients {
			came, err := c.turn(request, ending)
			if err != nil {
				return err
			}
			if came {
				answered.Add(1)
			}
			open = open || c.asked
		}
		if upstream != nil {
			if err := upstream.serve(); err != nil {
				return err
			}
		}
		runtime.Gosched() // who measures is to be woken
	}
	return nil
}

// polledClient is one connection, whose descriptor is read and written past Go's own poller.
type polledClient struct {
	*connection
	fd      int
	asked   bool // and not answered
	patient bool // reads wait for more to come
	size    int64
}

func pollClient(address string) (*polledClient, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &polledClient{}
	c.connection = &connection{conn, bufio.NewReaderSize(c, 16<<10)}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	return c, raw.Control(func(fd uintptr) { c.fd = int(fd) })
}

// turn reads an answer where one has begun to come, and sends the next request unless the load is ending.
func (c *polledClient) turn(request []byte, ending bool) (answered bool, err error) {
	if c.asked {
		c.patient = false
		if _, err := c.reader.Peek(1); errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		c.patient = true
		if c.size, err = c.answer(); err != nil {
			return false, err
		}
	}
	if answered, c.asked = c.asked, !ending; ending {
		return answered, nil
	}
	for len(request) > 0 {
		n, err := unix.Write(c.fd, request)
		if err != nil && err != unix.EAGAIN {
			return false, err
		}
		request = request[max(n, 0):]
	}
	return answered, nil
}

// Read implements io.Reader for the connection's buffer.
func (c *polledClient) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		switch {
		case err == nil && n == 0:
			return 0, io.ErrUnexpectedEOF
		case err == nil:
			return n, nil
		case err != unix.EAGAIN || !c.patient:
			return 0, err
		}
	}
}
