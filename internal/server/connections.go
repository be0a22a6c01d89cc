package server

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"corp.example/gateway/internal/clientaddr"
)

// connections bounds how many connections a listener has at a time. Where there are as many as there may be, the next wait in
// the kernel. One client (an address, or a /64 of IPv6) may have half of them and finds its next ones closed, or it could
// shut everybody out; a trusted proxy stands for many clients and is not counted.
type connections struct {
	net.Listener
	places    chan struct{} // one is taken by each connection, and by the next
	perClient int
	proxies   clientaddr.Trusted
	log       *slog.Logger
	closed    chan struct{}
	once      sync.Once

	mu      sync.Mutex
	open    int
	of      map[netip.Addr]int // open connections by client; none of zero
	refused int                // for there being too many of their client
	warned  time.Time          // when a refusal was last logged
}

func newConnections(inner net.Listener, most int, proxies clientaddr.Trusted, log *slog.Logger) *connections {
	return &connections{Listener: inner, places: make(chan struct{}, most), perClient: max(most/2, 1), proxies: proxies, log: log,
		closed: make(chan struct{}), of: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.places
			return nil, err
		}
		if client := clientOf(conn, l.proxies); l.enter(client) {
			return &counted{Conn: conn, leave: func() { l.leave(client) }}, nil
		}
		conn.Close()
	}
}

// Close implements net.Listener. Connections that are open stay so.
func (l *connections) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// register registers how many connections there are and how many were refused.
func (l *connections) register(registry prometheus.Registerer) {
	locked := func(value *int) func() float64 {
		return func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(*value)
		}
	}
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gateway_connections",
			Help: "Connections to the public listener."}, locked(&l.open)),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gateway_connections_refused_total",
			Help: "Connections closed at once because their client had half of server.max_connections."}, locked(&l.refused)))
}

// refusalsLogged is how often refusals are spoken of: they come by the thousand.
const refusalsLogged = time.Minute

// enter counts a connection of client in, unless it has too many. The zero Addr is nobody's and not counted.
func (l *connections) enter(client netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if client.IsValid() && l.of[client] >= l.perClient {
		l.refused++
		if now := time.Now(); now.Sub(l.warned) >= refusalsLogged {
			l.warned = now
			l.log.Warn("a client has half of server.max_connections; further ones are closed", "client", client.String(), "connections", l.perClient)
		}
		return false
	}
	l.open++
	if client.IsValid() {
		l.of[client]++
	}
	return true
}

func (l *connections) leave(client netip.Addr) {
	l.mu.Lock()
	l.open--
	if n := l.of[client]; n > 1 {
		l.of[client] = n - 1
	} else {
		delete(l.of, client)
	}
	l.mu.Unlock()
	<-l.places
}

// clientOf returns whom a connection counts for, the zero Addr for a trusted proxy.
func clientOf(conn net.Conn, proxies clientaddr.Trusted) netip.Addr {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	if proxies.Contains(peer.Addr()) {
		return netip.Addr{}
	}
	return clientaddr.Network(peer.Addr())
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}

// WriteBuffers writes several pieces in one call: package net does so for its own connections alone.
func (c *counted) WriteBuffers(pieces *net.Buffers) (int64, error) { return pieces.WriteTo(c.Conn) }

// CloseWrite ends this side alone, so that a client that still sends can read why it was refused.
func (c *counted) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() } // *net.TCPConn has it
