package proxy

import (
	"context"
	"net"
)

// DialWith has connections to upstream made by dial: tests inside a synctest bubble have no sockets.
func (u *Upstream) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	u.transport.DialContext = dial
}
