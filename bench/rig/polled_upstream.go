package rig

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PolledUpstream is an upstream that the load serves in the same thread, between two looks at its connections, for the reason
// that Polled never sleeps. It answers every request alike, and only while Polled runs.
type PolledUpstream struct {
	URL      string
	listener *net.TCPListener
	fd       int // the listener's
	answer   []byte
	clients  []*asking
	looks    int
}

// asking is one connection of the server that is measured.
type asking struct {
	fd      int
	request []byte // what has come of it
}

// NewPolledUpstream listens. Its answers must not be stored.
func NewPolledUpstream(body []byte) (*PolledUpstream, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	u := &PolledUpstream{URL: "http://" + listener.Addr().String(), listener: listener}
	u.answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nCache-Control: no-store\r\nDate: Mon, 23 Nov 2026 04:28:51 GMT\r\n\r\n%s", len(body), body)
	raw, err := listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	return u, raw.Control(func(fd uintptr) { u.fd = int(fd) })
}

// Close ends it.
func (u *PolledUpstream) Close() {
	u.listener.Close()
	for _, c := range u.clients {
		unix.Close(c.fd)
	}
}

// acceptEvery is how many looks at the connections there are for one at the listener: servers keep their connections.
const acceptEvery = 32

// serve answers what has come.
func (u *PolledUpstream) serve() error {
	if u.looks++; u.looks%acceptEvery == 0 {
		if fd, _, err := unix.Accept4(u.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
				return err
			}
			u.clients = append(u.clients, &asking{fd: fd})
		}
	}
	var space [4 << 10]byte
	for i := 0; i < len(u.clients); i++ {
		c := u.clients[i]
		n, err := unix.Read(c.fd, space[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n == 0: // the server has closed it
			unix.Close(c.fd)
			u.clients[i] = u.clients[len(u.clients)-1]
			u.clients = u.clients[:len(u.clients)-1]
			continue
		}
		if c.request = append(c.request, space[:n]...); !bytes.HasSuffix(c.request, []byte("\r\n\r\n")) {
			continue
		}
		c.request = c.request[:0]
		if n, err := unix.Write(c.fd, u.answer); err != nil || n < len(u.answer) {
			return fmt.Errorf("answering the server: %d of %d bytes, %w", n, len(u.answer), err)
		}
	}
	return nil
}
